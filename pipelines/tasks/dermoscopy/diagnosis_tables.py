"""Tables of what the pictures of a dataset show: diagnosis, and the patient where a table has it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import DatalistError
from pipelines.preparation.csv_tables import NOT_KNOWN, bad_line, csv_rows, table_text
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.picture_pairs import PICTURES
from pipelines.preparation.raw_case import hidden_patient

_ISIC = {"benign": "benign", "malignant": "malignant", "0.0": "benign", "1.0": "malignant"}
_PH2 = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}


@dataclass(frozen=True)
class Known:
    """What a table says of a picture; None where it says nothing. `patient` is a hash."""

    diagnosis: str | None = None
    patient: str | None = None


def read_diagnoses(path: Path) -> dict[str, Known]:
    """A CSV file with the header ``image,diagnosis`` and perhaps a column ``patient``; other columns are passed over.

    Returns:
        By `picture_key` of the image: the diagnosis in lower case, the patient as a hash.

    Raises:
        UnreadableFileError: no text, or above 16 MiB. DatalistError: another header, a line that is too short or
            names no image, or an image twice with different entries.
    """
    rows = csv_rows(path)
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if "image" not in header or "diagnosis" not in header or len(set(header)) < len(header):
        raise DatalistError(
            f"the header is {','.join(header)[:100]!r}", where=path, how="image,diagnosis or image,diagnosis,patient"
        )
    found = []
    one_spelling = Spellings()
    for line, row in rows[1:]:
        if len(row) < len(header):
            raise bad_line(path, line, f"{len(row)} cells, {len(header)} are due")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        given = cells.get("patient", "")
        patient = None if given.lower() in NOT_KNOWN else hidden_patient(one_spelling(given))
        known = Known(_worded(cells["diagnosis"]), patient)
        found.append((line, cells["image"], known))
    return _by_name(found, path)


def read_isic_truth(path: Path) -> dict[str, Known]:
    """``ISBI2016_ISIC_Part3_*_GroundTruth.csv``: image and "benign", "malignant", 0.0 or 1.0, without a header.

    Raises:
        UnreadableFileError, DatalistError: as `read_diagnoses`; also another word.
    """
    found = []
    for line, row in csv_rows(path):
        word = row[1].strip().lower() if len(row) == 2 else None
        if word not in _ISIC:
            raise bad_line(path, line, "a name with benign, malignant, 0.0 or 1.0 is due")
        found.append((line, row[0], Known(_ISIC[word])))
    return _by_name(found, path)


def read_ph2_table(path: Path) -> dict[str, Known]:
    """``PH2_dataset.txt``: lines of cells between bars, of which Name and Clinical Diagnosis (0, 1, 2) are read.

    Raises:
        UnreadableFileError, DatalistError: as `read_diagnoses`; also a table without these columns.
    """
    columns: tuple[int, int] | None = None
    found = []
    for line, text in enumerate(table_text(path).splitlines(), start=1):
        if not text.lstrip().startswith("||"):  # the legend below the table
            continue
        cells = [cell.strip() for cell in re.split(r"\|\|?", text.lstrip())[1:]]
        if columns is None:
            words = [cell.lower() for cell in cells]
            if "name" in words and "clinical diagnosis" in words:
                columns = words.index("name"), words.index("clinical diagnosis")
        else:
            code = cells[columns[1]] if len(cells) > max(columns) else None
            if code not in _PH2:
                raise bad_line(path, line, "a clinical diagnosis of 0, 1 or 2 is due")
            found.append((line, cells[columns[0]], Known(_PH2[code])))
    if columns is None:
        raise DatalistError("there are no columns Name and Clinical Diagnosis", where=path, how="give PH2's own file")
    return _by_name(found, path)


def picture_key(name: str) -> str:
    """A picture's name as tables and files are compared: without a picture's suffix, upper and lower case alike."""
    folded = name.strip().casefold()
    ending = next((e for e in PICTURES if folded.endswith(e)), "")
    return folded[: len(folded) - len(ending)]


def _worded(text: str) -> str | None:
    """A diagnosis in lower case, harmless in paths, tables and pages; None for all that means not known."""
    text = " ".join(text.lower().split())
    return None if text in NOT_KNOWN else re.sub(r"[^\w ()/+.,-]", "_", text).lstrip("+-, ./")[:60] or None


def _by_name(found: Iterable[tuple[int, str, Known]], path: Path) -> dict[str, Known]:
    table: dict[str, Known] = {}
    for line, name, known in found:
        key = picture_key(name)
        if not key:
            raise bad_line(path, line, "no image is named")
        if table.setdefault(key, known) != known:
            raise bad_line(path, line, f"{name} is listed a second time, with other entries")
    return table
