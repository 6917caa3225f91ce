"""Raw folders of pictures, a folder a class, also within train, val and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UnsupportedImageError, UsageError
from pipelines.files import safe_name
from pipelines.preparation.known_layouts import matching_layouts, only_layout
from pipelines.preparation.phantom_mark import PHANTOM_MARK
from pipelines.preparation.raw_case import RawCase, RawFolder, stem
from pipelines.tasks.general.image_files import PICTURE, folders_of, image_files
from pipelines.tasks.general.tables import PATIENTS, Patients, check_names, listed, named_in_order, read_names

CLASS_NAMES = "classes.json"
KNOWN = "a folder of pictures for each class, or train/, val/ and test/ with such folders in each"
_PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_LIST = (PATIENTS, CLASS_NAMES, PHANTOM_MARK)


@dataclass(frozen=True, kw_only=True)
class RawClasses(RawFolder):
    """A raw folder of classes; `names` by number."""

    names: dict[int, str]


@dataclass(frozen=True)
class _Found:
    """A picture before it is a case; `part` is train, val, test, or "" where there are none."""

    path: Path
    label: int
    part: str

    def names(self) -> tuple[str, ...]:
        """What patients.csv may call it, the longest first, and what its case may be called, the shortest last."""
        home = self.path.parent
        short = stem(self.path)
        longest = (f"{home.parent.name}/{home.name}/{short}",) if self.part else ()
        return (*longest, f"{home.name}/{short}", short)


def find_classes(raw: Path, order: Sequence[str] | None = None) -> RawClasses:
    """The cases of a raw folder. A folder's name is that of the class; their order is `order`, that of classes.json, or
    by name. ``test/`` stays the test set, and ``val/`` the validation set.

    Raises:
        UnreadableFileError: no such folder. UsageError: no class folders, or an order that does not name each once.
        DatalistError: a single class.
        UnreadableFileError, DatalistError, LabelError: patients.csv or classes.json cannot be read.
    """
    homes = only_layout(matching_layouts(raw, (_homes,)), raw, KNOWN).homes
    faults: list[PipelinesError] = []
    folders = [(folder, part) for home, part in homes for folder in folders_of(home)]
    spelled: dict[str, str] = {}
    for folder, _ in folders:
        spelled.setdefault(folder.name.casefold(), folder.name)
    names = _ordered(list(spelled.values()), raw, order)
    numbers = {name.casefold(): number for number, name in names.items()}
    found: list[_Found] = []
    notes: list[str] = []
    for folder, part in folders:
        found += _pictures(folder, numbers[folder.name.casefold()], part, faults, notes)
    for home, _ in homes:
        loose = [each.name for each in image_files(home, []).files if each.name not in _LIST]
        if loose:
            beside = f"in {home.name}/" if home != raw else "beside the class folders"
            notes.append(f"{len(loose)} images {beside} are of no class, and were passed over: {listed(loose)}.")
    parts = [home.name for home, part in homes if part]
    if parts:
        left = [each.name for each in folders_of(raw) if each.name not in parts]
        notes += [f"Folders that were passed over: {listed(left)}."] if left else []
    layout = f"class folders in {listed(parts)}" if parts else "class folders"
    return _raw_classes(raw, layout, found, names, faults, notes)


@dataclass(frozen=True, kw_only=True)
class _Homes(RawFolder):
    """Where class folders lie, with the part of the dataset that each is."""

    homes: list[tuple[Path, str]]


def _homes(raw: Path) -> _Homes | None:
    folders = folders_of(raw)
    parts = [(each, _PARTS[each.name.casefold()]) for each in folders if each.name.casefold() in _PARTS]
    inside = [(home, part) for home, part in parts if folders_of(home)]
    if inside:
        beside = [each for each in folders if each.name.casefold() not in _PARTS and _has_pictures(each)]
        if beside:
            what = f"there are class folders ({listed([each.name for each in beside])}) beside train, val or test"
            raise UsageError(what, where=raw, how="move the ones or the others away")
        twice = [part for part, number in Counter(part for _, part in inside).items() if number > 1]
        if twice:
            raise UsageError(f"there are two folders for {twice[0]}", where=raw, how="join them")
        return _Homes("", [], False, homes=inside)
    if parts and len(parts) == len(folders) and any(_has_pictures(home) for home, _ in parts):
        what = f"{parts[0][0].name}/ holds pictures and no class folders"
        raise UsageError(what, where=raw, how="put the pictures of each class into a folder of its name")
    if {each.name.casefold() for each in folders} >= {"images", "masks"}:
        raise UsageError("holds images and masks, not classes", where=raw, how="prepare it as pairs")
    known = bool(folders) and any(_has_pictures(each) for each in folders)
    return _Homes("", [], False, homes=[(raw, "")]) if known else None


def _has_pictures(folder: Path) -> bool:
    return PICTURE in image_files(folder, []).kinds()


def _ordered(found: list[str], raw: Path, order: Sequence[str] | None) -> dict[int, str]:
    where: Path | str = "--classes"
    if order is None and (listed_names := read_names(raw / CLASS_NAMES)) is not None:
        order, where = named_in_order(listed_names), raw / CLASS_NAMES
    if order is None:
        order = sorted(found, key=str.casefold)
    else:
        check_names(order, where)
        by_key = {name.casefold(): name for name in found}
        if {name.casefold() for name in order} != by_key.keys():
            raise UsageError(
                f"the classes are {listed(list(order))}, and the folders {listed(sorted(found))}",
                where=where,
                how="name each folder once",
            )
    if len(found) == 1:
        raise DatalistError(
            f"there is a single class, {found[0]}, and nothing to tell apart",
            where=raw,
            how="add a folder with pictures of another class",
        )
    return dict(enumerate(order))


def _pictures(folder: Path, label: int, part: str, faults: list[PipelinesError], notes: list[str]) -> list[_Found]:
    inside = image_files(folder, faults)
    if inside.passed:
        notes.append(f"Files in {folder.name}/ that are no pictures were passed over: {listed(inside.passed)}.")
    for path, kind in inside.files.items():
        if kind != PICTURE:
            what = "is a volume, and classes are of pictures"
            faults.append(UnsupportedImageError(what, where=path, how="save the slice that is meant as PNG"))
    found = [_Found(path, label, part) for path, kind in inside.files.items() if kind == PICTURE]
    if not found:
        what = "the class folder holds no pictures"
        faults.append(UnreadableFileError(what, where=folder, how="add pictures, or remove it"))
    return found


def _raw_classes(
    raw: Path,
    layout: str,
    found: list[_Found],
    names: dict[int, str],
    faults: list[PipelinesError],
    notes: list[str],
) -> RawClasses:
    patients = Patients(raw, faults)
    number = Counter(name.casefold() for each in found for name in each.names())
    cases = []
    for each in found:
        called = next((n for n in reversed(each.names()) if number[n.casefold()] == 1), each.names()[0])
        ending = each.path.suffix.lstrip(".") if number[called.casefold()] > 1 else ""
        case = safe_name("_".join(filter(None, (called.replace("/", "_"), ending))))
        cases.append(
            RawCase(
                case,
                patients.of([name.casefold() for name in each.names()], case),
                each.path,
                official_test=each.part == "test",
                official_validation=each.part == "val",
                label=each.label,
            )
        )
    return RawClasses(layout, cases, patients.known, faults, [*patients.notes(), *notes], names=names)
