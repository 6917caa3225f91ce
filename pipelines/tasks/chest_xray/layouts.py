"""Raw chest X-rays: class folders as released by Kermany and others, a table of paths and classes, or arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UsageError
from pipelines.files import safe_name
from pipelines.preparation.csv_tables import NOT_KNOWN, bad_line, csv_rows
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.picture_pairs import PICTURES
from pipelines.preparation.raw_case import RawCase, hidden_patient, visible_files
from pipelines.tasks.chest_xray.arrays import find_arrays
from pipelines.tasks.chest_xray.source import (
    XRAY_CLASSES,
    RawXrays,
    named_patient,
    own_patients,
    read_xray_file,
    subtype_of,
)

KNOWN = (
    "train/, val/ and test/ with NORMAL/ and PNEUMONIA/ in each, or NORMAL/ and PNEUMONIA/ alone; one .npz file of "
    "PneumoniaMNIST; one CSV file with the columns path and label"
)
_INNER = "chest_xray"
_PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_ORDER = ("train", "val", "test")
_CLASSES = {name: value for value, name in XRAY_CLASSES.items()}
_LABELS = _CLASSES | {str(value): value for value in XRAY_CLASSES}
_PATHS = ("path", "image", "file")
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class _Found:
    """A picture before it is a case: `long_name` is for where another file has its name; `part` is train, val or test,
    with "official" before it where a validation set stays what it is."""

    path: Path
    label: int
    part: str
    long_name: str
    patient: str | None
    subtype: str | None


def find_chest_xray(raw: Path) -> RawXrays:
    """The one layout that a raw folder has; a file is a table (.csv) or arrays (.npz).

    Raises:
        UnreadableFileError: there is nothing, or it cannot be read. UsageError: none of the layouts, or more than one.
        PipelinesError: see `find_arrays`, `find_table`.
    """
    if raw.is_file():
        finders: dict[str, Callable[[Path], RawXrays]] = {".npz": find_arrays, ".csv": find_table}
        if raw.suffix.lower() not in finders:
            raise UsageError("is no kind of dataset that is known", where=raw, how=f"these are: {KNOWN}")
        return finders[raw.suffix.lower()](raw)
    if not raw.is_dir():
        raise UnreadableFileError(
            "there is no such file or folder", where=raw, how="give the folder that the dataset was unpacked in"
        )
    folders = find_class_folders(raw)
    arrays, tables = (visible_files(raw, (suffix,)) for suffix in (".npz", ".csv"))
    if folders is not None and not arrays:
        return folders
    if folders is not None or len(arrays) > 1:
        raise UsageError(
            "the folder holds more than one dataset", where=raw, how="give one of its .npz files, or move them away"
        )
    if arrays:
        return find_arrays(arrays[0])
    if len(tables) == 1:
        return find_table(tables[0])
    if tables:
        raise UsageError(f"the folder holds {len(tables)} tables", where=raw, how="give one of its .csv files")
    inner = [folder for folder in _folders(raw) if find_class_folders(folder) is not None]
    if inner:
        raise UsageError("the dataset lies in a folder further in", where=raw, how=f"give {inner[0]}")
    raise UsageError("the folder has none of the layouts that are known", where=raw, how=f"these are: {KNOWN}")


def find_class_folders(raw: Path) -> RawXrays | None:
    """``train/``, ``val/`` and ``test/`` with ``NORMAL/`` and ``PNEUMONIA/`` in each, in any case, also inside
    ``chest_xray/``; or the two alone. ``test/`` stays the test set, train and val are one. Patients and the subtype of
    pneumonia come from the names.

    Returns:
        None where there are no such folders.

    Raises:
        UsageError: class folders beside train, val or test.
    """
    inner = [folder for folder in _folders(raw) if folder.name.casefold() == _INNER]
    root = next((root for root in (raw, *inner) if _class_folders(root) or _parts(root)), None)
    if root is None:
        return None
    parts = _parts(root)
    if parts and _class_folders(root):
        raise UsageError(
            "there are class folders beside train, val or test", where=root, how="move the ones or the others away"
        )
    faults: list[PipelinesError] = []
    notes: list[str] = []
    found: list[_Found] = []
    others = [folder.name for folder in _folders(root) if folder not in [p for p, _ in parts]] if parts else []
    if others:
        notes.append(f"Folders that were passed over: {_listed(others)}.")
    for home, part in parts or [(root, "")]:
        classes = _class_folders(home)
        for folder in _folders(home):
            if folder not in [f for f, _ in classes]:
                faults.append(
                    DatalistError(
                        f"is no class that is known ({', '.join(_CLASSES)})", where=folder, how="rename or move it"
                    )
                )
        for folder, label in classes:
            found += _pictures(folder, label, part, faults, notes)
    layout = f"class folders in {_listed([p.name for p, _ in parts])}" if parts else "class folders"
    return _raw_xrays(layout, found, faults, notes)


def find_table(path: Path) -> RawXrays:
    """A CSV file in UTF-8 with the columns path (or image, or file) and label (normal, pneumonia, 0 or 1), perhaps
    patient, and perhaps split (train, val, test; nothing is train). Paths are relative to the file.

    A patient in the table enters as a hash; without, the name may tell.

    Raises:
        UnreadableFileError: no text, or above 16 MiB. DatalistError: another header, or a line that is too short.
    """
    rows = csv_rows(path)
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    named = [column for column in _PATHS if column in header]
    if len(named) != 1 or "label" not in header or len(set(header)) < len(header):
        raise DatalistError(
            f"the header is {','.join(header)[:100]!r}",
            where=path,
            how="path,label is due, perhaps with patient and split",
        )
    faults: list[PipelinesError] = []
    found: dict[Path, _Found] = {}
    one_spelling = Spellings()
    for line, row in rows[1:]:
        if len(row) < len(header):
            raise bad_line(path, line, f"{len(row)} cells, {len(header)} are due")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        try:
            picture = _table_line(path, line, cells[named[0]], cells, one_spelling)
            if picture.path in found:
                raise bad_line(path, line, f"{cells[named[0]]} is listed twice")
        except DatalistError as fault:
            faults.append(fault)
        else:
            found[picture.path] = picture
    return _raw_xrays(f"the table {path.name}", list(found.values()), faults, [])


def _table_line(path: Path, line: int, name: str, cells: dict[str, str], one_spelling: Spellings) -> _Found:
    label = _LABELS.get(cells["label"].lower())
    if label is None:
        raise bad_line(path, line, f"the label is {cells['label'][:40]!r}, and one of {', '.join(_LABELS)} is due")
    split = cells.get("split", "").lower()
    part = "train" if split in NOT_KNOWN else _PARTS.get(split)
    if part is None:
        raise bad_line(path, line, f"the split is {split[:40]!r}, and train, val or test is due")
    home = path.parent.resolve()
    try:
        target = (home / name).resolve()
        inside = bool(name) and target != home and target.is_relative_to(home)
    except (OSError, ValueError):  # NUL bytes, loops of links
        inside = False
    if not inside:
        raise bad_line(path, line, f"the path {name[:100]!r} is none inside the table's folder")
    given = cells.get("patient", "")
    known = given.lower() not in NOT_KNOWN
    patient = hidden_patient(one_spelling(given)) if known else named_patient(target.stem, part == "test")
    # an official validation set stays; that of Kermany's folders, with its 16 pictures, does not
    long_name = str(target.relative_to(home).with_suffix("")).replace("/", "_")
    return _Found(target, label, f"official {part}", long_name, patient, subtype_of(target, label))


def _raw_xrays(layout: str, found: list[_Found], faults: list[PipelinesError], notes: list[str]) -> RawXrays:
    short = {f.path: _short_name(f) for f in found}
    number = Counter(name.casefold() for name in short.values())
    cases, own = [], []
    for f in found:
        name = short[f.path]
        case = safe_name(f.long_name if number[name.casefold()] > 1 else name)
        if f.patient is None:
            own.append(case)
        cases.append(
            RawCase(
                case,
                f.patient or case,
                f.path,
                official_test=f.part.endswith("test"),
                official_validation=f.part == "official val",
                label=f.label,
                subtype=f.subtype,
            )
        )
    notes += own_patients(own, len(found))
    return RawXrays(layout, cases, not own, faults, notes, read=read_xray_file)


def _short_name(found: _Found) -> str:
    """The file's name; before that of a test picture whose numbers are counted anew, "test"."""
    renumbered = found.patient is not None and found.patient.startswith("test_")
    return f"test_{found.path.stem}" if renumbered else found.path.stem


def _pictures(folder: Path, label: int, part: str, faults: list[PipelinesError], notes: list[str]) -> Iterable[_Found]:
    inner = _folders(folder)
    if inner:
        faults.append(
            DatalistError("a folder lies inside a class folder", where=inner[0], how="move its pictures up, or it away")
        )
    pictures = visible_files(folder, PICTURES)
    others = [p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith(".") and p not in pictures]
    if others:
        notes.append(f"Files in {part}/{folder.name} that are no pictures were passed over: {_listed(sorted(others))}.")
    for path in pictures:
        try:
            subtype = subtype_of(path, label)
        except DatalistError as fault:
            faults.append(fault)
            continue
        long_name = f"{part}_{folder.name}_{path.stem}".lstrip("_")
        yield _Found(path, label, part, long_name, named_patient(path.stem, part == "test"), subtype)


def _parts(root: Path) -> list[tuple[Path, str]]:
    """The folders train, val and test that hold class folders, each with its part."""
    known = ((folder, _PARTS.get(folder.name.casefold())) for folder in _folders(root))
    found = [(folder, part) for folder, part in known if part is not None and _class_folders(folder)]
    return sorted(found, key=lambda each: _ORDER.index(each[1]))


def _class_folders(home: Path) -> list[tuple[Path, int]]:
    known = ((folder, _CLASSES.get(folder.name.casefold())) for folder in _folders(home))
    return [(folder, label) for folder, label in known if label is not None]


def _folders(home: Path) -> list[Path]:
    """The visible folders in a folder; not macOS's ``__MACOSX``."""
    return sorted(d for d in home.iterdir() if d.is_dir() and not d.name.startswith((".", "__")))


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more
