"""The datalists that are audited, read without being refused for what the audit is to find."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import DatalistError
from pipelines.preparation.datalist import DATALIST
from pipelines.preparation.patient_names import patient_key
from pipelines.preparation.sections import SECTIONS

_HOW = "give a datalist in MONAI's Decathlon form: lists training, validation and test of entries with an image"


@dataclass(frozen=True)
class Item:
    """One entry of a datalist.

    Attributes:
        source: index of its list among those that are audited.
        patient: what the patient's name is compared by (`patient_key`); "" where it is not known.
        label: a mask's path, the number of a class, or None.
    """

    source: int
    section: str
    case: str
    patient: str
    image: Path
    label: Path | int | None


@dataclass(frozen=True)
class AuditedList:
    """One datalist: its file, what it is called, and its entries.

    Attributes:
        patients_known: whether it says whose each case is.
        names: of the classes, or of the masks' values, by number.
    """

    path: Path
    name: str
    phantom: bool
    patients_known: bool
    names: dict[int, str]
    classes: bool
    items: list[Item] = field(repr=False)

    @property
    def sections(self) -> dict[str, list[Item]]:
        """The entries by section, in the order of the list."""
        found: dict[str, list[Item]] = {}
        for item in self.items:
            found.setdefault(item.section, []).append(item)
        return found


def read_list(path: Path, source: int) -> AuditedList:
    """Read a datalist, or the `datalist.json` of a folder. A patient in two splits is no fault here, nor a file twice.

    Raises:
        DatalistError: it cannot be read, has no entries, or names a file that is not there.
    """
    path = path / DATALIST if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatalistError("there is no such datalist", where=path, how="give it, or the prepared folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatalistError(f"the datalist cannot be read ({error})", where=path, how=_HOW) from None
    if not isinstance(content, dict):
        raise DatalistError("the datalist is no JSON object", where=path, how=_HOW)
    split = content.get("split")
    said = split.get("patients_known") if isinstance(split, dict) else None
    items = [
        _item(entry, source, section, path, said)
        for section in SECTIONS
        for entry in (content[section] if isinstance(content.get(section), list) else [])
    ]
    if not items:
        raise DatalistError("the datalist has no entries", where=path, how=_HOW)
    kind = "classes" if isinstance(content.get("classes"), dict) else "labels"
    named = content.get(kind)
    names = {int(key): str(word) for key, word in named.items() if key.isdecimal()} if isinstance(named, dict) else {}
    known = bool(said) if said is not None else any(item.patient for item in items)
    name = str(content.get("name") or path.parent.name)
    return AuditedList(path, name, bool(content.get("phantom")), known, names, kind == "classes", items)


def _item(entry: Any, source: int, section: str, path: Path, patients_known: bool | None) -> Item:
    entry = {"image": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str) or not entry["image"]:
        raise DatalistError(f"an entry of {section} has no image: {str(entry)[:100]}", where=path, how=_HOW)
    image, label = _file(entry["image"], path), entry.get("label")
    mask = _file(label, path) if isinstance(label, str) else None
    number = label if isinstance(label, int) and not isinstance(label, bool) else None
    patient, case = entry.get("patient"), entry.get("case")
    case = case if isinstance(case, str) and case else image.name.split(".")[0]
    known = isinstance(patient, str) and (patients_known is not False or patient != case)  # else it is its own patient
    return Item(
        source,
        section,
        case,
        patient_key(str(patient)) if known else "",
        image,
        number if mask is None else mask,
    )


def _file(name: str, path: Path) -> Path:
    try:
        target = (path.parent / name).resolve()
        present = target.is_file()
    except (OSError, ValueError):  # NUL bytes, loops of links
        present = False
    if not present:
        raise DatalistError(f"the file {name[:200]!r} is missing", where=path, how="prepare the data again")
    return target
