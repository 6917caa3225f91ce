"""Pictures in one folder and their masks in another, brought together by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.preparation.raw_case import visible_files
from pipelines.readers.picture_file import SUFFIXES

PICTURES = SUFFIXES
_HOW = "complete the dataset, or leave the picture out"


def pair_pictures(
    images: Path, masks: Path, faults: list[PipelinesError], *, endings: Sequence[str] = (), any_case: bool = False
) -> list[tuple[Path, Path]]:
    """(picture, mask) for each picture that has one mask, sorted by the picture's name.

    Args:
        images, masks: the folders; `masks` need not exist.
        faults: what is wrong is added here: no mask, two masks or pictures of one name, a mask without a picture.
        endings: what a mask's name may have behind that of its picture, in lower case.
        any_case: upper and lower case are the same.
    """
    pictures: dict[str, Path] = {}
    for path in visible_files(images, PICTURES):
        key = _key(path, any_case)
        if key in pictures:
            faults.append(UnreadableFileError("another picture has the same name", where=path, how=_HOW))
        else:
            pictures[key] = path
    by_name: dict[str, list[Path]] = {}
    for path in visible_files(masks, PICTURES) if masks.is_dir() else []:
        key = _key(path, any_case)
        if key not in pictures:
            ending = next((e for e in endings if key.lower().endswith(e)), "")
            key = key[: len(key) - len(ending)]
        by_name.setdefault(key, []).append(path)
    pairs = []
    for key, path in pictures.items():
        found = by_name.pop(key, [])
        if len(found) == 1:
            pairs.append((path, found[0]))
        elif found:
            faults.append(
                UnreadableFileError(
                    f"two masks have this name (another is {found[0]})", where=found[1], how="keep one of them"
                )
            )
        else:
            faults.append(UnreadableFileError(f"it has no mask in {masks}", where=path, how=_HOW))
    for found in by_name.values():
        faults.extend(
            UnreadableFileError("the mask has no picture", where=path, how=f"add the picture to {images}")
            for path in found
        )
    return pairs


def _key(path: Path, any_case: bool) -> str:
    return path.stem.casefold() if any_case else path.stem
