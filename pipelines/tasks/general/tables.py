"""What may lie beside the data: whose each case is, and what labels or classes are called."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import DatalistError, LabelError, PipelinesError, UsageError
from pipelines.preparation.csv_tables import NOT_KNOWN, bad_line, csv_rows
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, hidden_patient
from pipelines.readers import itk_volume, nifti, picture_file

PATIENTS = "patients.csv"
MAX_BYTES = 2**20  # of a list of names
_SHOWN = 5
_FILES = sorted((*picture_file.SUFFIXES, *nifti.SUFFIXES, *itk_volume.SUFFIXES), key=len, reverse=True)


def read_patients(path: Path) -> dict[str, str]:
    """``patients.csv``: a CSV file in UTF-8 with the columns ``case`` and ``patient``; others are passed over.

    Returns:
        The patient, as a hash, by `case_key` of the case; {} where there is no such file.

    Raises:
        UnreadableFileError: no text, or above 16 MiB. DatalistError: another header, a line that is too short or names
            no case, or a case twice with two patients.
    """
    if not path.is_file():
        return {}
    rows = csv_rows(path)
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if "case" not in header or "patient" not in header or len(set(header)) < len(header):
        raise DatalistError(f"the header is {','.join(header)[:100]!r}", where=path, how="case,patient is due")
    found: dict[str, str] = {}
    one_spelling = Spellings()
    for line, row in rows[1:]:
        if len(row) < len(header):
            raise bad_line(path, line, f"{len(row)} cells, {len(header)} are due")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        key = case_key(cells["case"])
        if not key:
            raise bad_line(path, line, "no case is named")
        if cells["patient"].lower() in NOT_KNOWN:
            continue
        patient = hidden_patient(one_spelling(cells["patient"]))
        if found.setdefault(key, patient) != patient:
            raise bad_line(path, line, f"{cells['case']} is listed a second time, with another patient")
    return found


def case_key(name: str) -> str:
    """A case as tables and files are compared: without the file's ending, upper and lower case alike."""
    folded = name.strip().replace("\\", "/").casefold()
    ending = next((each for each in _FILES if folded.endswith(each)), "")
    return folded[: len(folded) - len(ending)]


class Patients:
    """Whose each case is, by ``patients.csv`` of a raw folder.

    Args:
        raw: the folder.
        faults: what is wrong is added here.
    """

    def __init__(self, raw: Path, faults: list[PipelinesError]) -> None:
        self._path = raw / PATIENTS
        self._table = read_patients(self._path)
        self._faults = faults
        self._used: set[str] = set()
        self._own: list[str] = []
        self._all = 0

    def of(self, names: Iterable[str], case: str) -> str:
        """The patient of a case.

        Args:
            names: that the table may have for it (``case_key``); the first that is there counts.
            case: its own patient, where none of them is there.
        """
        self._all += 1
        key = next((name for name in names if name in self._table), None)
        if key is None:
            self._own.append(case)
            return case
        if key in self._used:
            what = f"{key} stands for more than one file"
            self._faults.append(DatalistError(what, where=self._path, how="write it with its folder: FOLDER/NAME"))
        self._used.add(key)
        return self._table[key]

    @property
    def known(self) -> bool:
        """Whether every case has a patient in the table."""
        return not self._own

    def notes(self) -> list[str]:
        """What the report says of cases that are their own patients; lines of the table without a case are a fault."""
        if left := sorted(set(self._table) - self._used):
            what = f"no case for {len(left)} of its lines ({listed(left)})"
            self._faults.append(DatalistError(what, where=self._path, how="correct the table, or add the cases"))
        if not self._own:
            return []
        if len(self._own) == self._all:
            return [PATIENTS_UNKNOWN]
        return [f"Cases without a patient in {PATIENTS} count as their own patients: {len(self._own)}."]


def read_names(path: Path) -> dict[int, str] | None:
    """Names by number of a JSON file: ``{"0": "background", "1": "organ"}`` or ``["background", "organ"]``; None where
    there is no such file.

    Raises:
        LabelError: it is no such list, or a name is there twice.
    """
    if not path.is_file():
        return None
    how = 'write {"1": "NAME", "2": "NAME"}'
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("it is absurdly large")
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise LabelError(f"the names cannot be read ({error})", where=path, how=how) from None
    if isinstance(content, list):
        content = {str(number): name for number, name in enumerate(content)}
    well_formed = isinstance(content, dict) and all(
        key.isascii() and key.isdecimal() and int(key) <= 255 and isinstance(name, str) and name.strip()
        for key, name in content.items()
    )
    if not well_formed or not content:
        raise LabelError("is no list of names by number (0 to 255)", where=path, how=how)
    names = {int(key): name.strip() for key, name in content.items()}
    check_names(list(names.values()), path)
    return names


def check_names(names: Sequence[str], where: Path | str) -> None:
    """Refuse a name that is there twice, or empty.

    Raises:
        UsageError: that.
    """
    if len({name.casefold() for name in names}) < len(names) or not all(name.strip() for name in names):
        raise UsageError(f"the names are {', '.join(names)}", where=where, how="give each a name of its own")


def listed(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def named_in_order(names: Mapping[int, str]) -> list[str]:
    """Names by their numbers' order."""
    return [names[number] for number in sorted(names)]
