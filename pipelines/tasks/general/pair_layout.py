"""Raw folders of images with masks, of any organ: in two folders, or side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import PipelinesError, UnreadableFileError, UnsupportedImageError, UsageError
from pipelines.files import safe_name
from pipelines.preparation.corrected import KNOWN as CORRECTED
from pipelines.preparation.known_layouts import matching_layouts, only_layout
from pipelines.preparation.phantom_mark import PHANTOM_MARK
from pipelines.preparation.raw_case import RawCase, RawFolder, stem
from pipelines.tasks.general.corrected_pairs import find_corrected
from pipelines.tasks.general.image_files import ImageFiles, folders_of, image_files
from pipelines.tasks.general.tables import PATIENTS, Patients, listed, read_names

MASK = "mask"  # the kind of mask
LABEL_NAMES = "labels.json"
ENDINGS = ("_mask", "_segmentation", "_seg", "_label", "_labels", "_gt")
KNOWN = (
    "images/ with masks/ or labels/, or imagesTr/ with labelsTr/, a mask having its image's name, perhaps with a word "
    f"behind it; or images and masks side by side, the masks with one of {', '.join(ENDINGS)} behind the image's name; "
    f"{CORRECTED}"
)
_FOLDERS = {"images": ("masks", "labels"), "imagestr": ("labelstr",)}
_FIRST_CHANNEL, _HOW = "_0000", "complete the dataset, or leave the case out"  # nnU-Net numbers channels


@dataclass(frozen=True, kw_only=True)
class RawPairs(RawFolder):
    """A raw folder of images with masks: all are of one `kind`, picture or volume; `names` of the masks' values are
    those of labels.json."""

    kind: str
    names: Mapping[int, str] | None


def find_pairs(raw: Path) -> RawPairs:
    """The one layout that a raw folder has.

    Raises:
        UnreadableFileError: no such folder. UsageError: no pairs, two folders of masks, or pictures beside volumes.
        UnreadableFileError, DatalistError, LabelError: patients.csv or labels.json cannot be read.
    """
    return only_layout(matching_layouts(raw, (_in_folders, _side_by_side, _corrected)), raw, KNOWN)


def _in_folders(raw: Path) -> RawPairs | None:
    by_name = {folder.name.casefold(): folder for folder in folders_of(raw)}
    for name, others in _FOLDERS.items():
        masks = [by_name[other] for other in others if other in by_name]
        if name not in by_name or not masks:
            continue
        if len(masks) > 1:
            shown = " and ".join(f"{each.name}/" for each in masks)
            raise UsageError(f"there are two folders of masks, {shown}", where=raw, how="move one of them away")
        faults: list[PipelinesError] = []
        images = image_files(by_name[name], faults)
        if not images.files and not faults:
            faults.append(UnreadableFileError("no image lies here", where=by_name[name], how="add the images"))
        known = image_files(masks[0], faults)
        notes = _passed(images, by_name[name]) + _passed(known, masks[0])
        left = [each.name for each in by_name.values() if each not in (by_name[name], masks[0])]
        notes += [f"Folders that were passed over: {listed(left)}."] if left else []
        ending = _own_ending([_key(path) for path in images.files], [_key(path) for path in known.files])
        pairs = _pair(list(images.files), list(known.files), masks[0], faults, ending)
        return _raw_pairs(raw, f"{by_name[name].name}/ and {masks[0].name}/", pairs, images, faults, notes)
    return None


def _side_by_side(raw: Path) -> RawPairs | None:
    if _in_folders_are_there(raw):
        return None
    faults: list[PipelinesError] = []
    found = image_files(raw, faults, flat=False)
    keys = {_key(path) for path in found.files}
    masks = [path for path in found.files if (base := _without_ending(_key(path))) is not None and base in keys]
    if not masks:
        return None
    orphans = [path for path in found.files if path not in masks and _without_ending(_key(path)) is not None]
    images = [path for path in found.files if path not in masks and path not in orphans]
    notes = _passed(found, raw)
    left = [each.name for each in folders_of(raw)]
    notes += [f"Folders that were passed over: {listed(left)}."] if left else []
    pairs = _pair(images, [*masks, *orphans], raw, faults)
    kept = ImageFiles({path: found.files[path] for path in images})
    return _raw_pairs(raw, "images and masks side by side", pairs, kept, faults, notes)


def _corrected(raw: Path) -> RawPairs | None:
    found = find_corrected(raw, MASK)
    if found is None:
        return None
    layout, cases, kinds, names, faults, notes = found
    _check_kinds(kinds, raw)
    return RawPairs(layout, cases, False, faults, notes, kind=next(iter(kinds), "picture"), names=names)


def _check_kinds(kinds: set[str], raw: Path) -> None:
    if len(kinds) > 1:
        how = "prepare each from a folder of its own"
        raise UsageError("pictures and volumes lie in one folder", where=raw, how=how)


def _in_folders_are_there(raw: Path) -> bool:
    names = {folder.name.casefold() for folder in folders_of(raw)}
    return any(name in names and names & set(others) for name, others in _FOLDERS.items())


def _pair(
    images: list[Path], masks: list[Path], home: Path, faults: list[PipelinesError], ending: str = ""
) -> list[tuple[str, Path, Path]]:
    """(name, image, mask) of each image that has one mask; `ending` is one that all masks have beside `ENDINGS`."""
    keys = {_key(path) for path in masks} | {_without_ending(_key(path), ending) for path in masks}
    by_key: dict[str, tuple[str, Path]] = {}
    for path in images:
        name, key = stem(path), _key(path)
        channel = key[-5:] if key[-5:-4] == "_" and key[-4:].isdecimal() else ""
        if channel and key not in keys:
            if channel != _FIRST_CHANNEL:
                what = "is one of several channels of an image, and images have one here"
                faults.append(UnsupportedImageError(what, where=path, how=f"keep the channel {_FIRST_CHANNEL} alone"))
                continue
            name, key = name[:-5], key[:-5]
        if key in by_key:
            faults.append(UnreadableFileError("another image has the same name", where=path, how=_HOW))
        else:
            by_key[key] = (name, path)
    by_image: dict[str, list[Path]] = {}
    for path in masks:
        key = _key(path)
        base = _without_ending(key, ending)
        by_image.setdefault(base if key not in by_key and base is not None else key, []).append(path)
    if by_key and by_image and not by_key.keys() & by_image.keys():
        what = f"no mask has the name of an image ({listed([path.name for path in images])})"
        how = "give each mask the name of its image, or that with _mask behind it"
        faults.append(UnreadableFileError(what, where=home, how=how))
        return []
    pairs = []
    for key, (name, path) in by_key.items():
        found = by_image.pop(key, [])
        if len(found) == 1:
            pairs.append((name, path, found[0]))
        elif found:
            what = f"two masks have this name (another is {found[0]})"
            faults.append(UnreadableFileError(what, where=found[1], how="keep one of them"))
        else:
            faults.append(UnreadableFileError(f"it has no mask in {home}", where=path, how=_HOW))
    for found in by_image.values():
        faults.extend(UnreadableFileError("the mask has no image", where=path, how="add the image") for path in found)
    return pairs


def _raw_pairs(
    raw: Path,
    layout: str,
    pairs: list[tuple[str, Path, Path]],
    images: ImageFiles,
    faults: list[PipelinesError],
    notes: list[str],
) -> RawPairs:
    _check_kinds(images.kinds(), raw)
    patients = Patients(raw, faults)
    cases = []
    for name, image, mask in pairs:
        case = safe_name(name)
        cases.append(RawCase(case, patients.of((name.casefold(),), case), image, {MASK: mask}))
    notes = [*patients.notes(), *notes]
    kind = next(iter(images.kinds()), "picture")
    return RawPairs(layout, cases, patients.known, faults, notes, kind=kind, names=read_names(raw / LABEL_NAMES))


def _key(path: Path) -> str:
    return stem(path).casefold()


def _without_ending(key: str, own: str = "") -> str | None:
    """The image's key in that of a mask; None where it has none of the endings."""
    endings = (own, *ENDINGS) if own else ENDINGS
    ending = next((each for each in endings if key.endswith(each) and len(key) > len(each)), None)
    return None if ending is None else key[: -len(ending)]


def _own_ending(images: list[str], masks: list[str]) -> str:
    """What all masks have behind their images' names, such as ``_lesion``; "" where there is nothing such."""
    if not masks:
        return ""
    known = set(images)
    found = (masks[0][len(key) :] for key in sorted(images, key=len) if masks[0].startswith(key))
    return next(
        (
            each
            for each in found
            if each[:1] in ("_", "-", " ", ".") and all(m.endswith(each) and m[: -len(each)] in known for m in masks)
        ),
        "",
    )


def _passed(found: ImageFiles, folder: Path) -> list[str]:
    names = [name for name in found.passed if name not in (PATIENTS, LABEL_NAMES, PHANTOM_MARK)]
    return [f"Files in {folder.name}/ that are no images were passed over: {listed(names)}."] if names else []
