"""Which of the layouts that are known a raw folder has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pipelines.errors import UnreadableFileError, UsageError
from pipelines.preparation.raw_case import RawFolder

F = TypeVar("F", bound=RawFolder)


def matching_layouts(raw: Path, finders: Sequence[Callable[[Path], F | None]]) -> list[F]:
    """What each finder that knows a raw folder's layout makes of it.

    Raises:
        UnreadableFileError: no such folder. UsageError: the layout is that of a folder further in.
    """
    if not raw.is_dir():
        raise UnreadableFileError(
            "there is no such folder", where=raw, how="give the folder that the dataset was unpacked in"
        )
    found = [folder for folder in (find(raw) for find in finders) if folder is not None]
    if not found:
        inner = [d for d in sorted(raw.iterdir()) if d.is_dir() and any(find(d) is not None for find in finders)]
        if inner:
            raise UsageError("the dataset lies in a folder further in", where=raw, how=f"give {inner[0]}")
    return found


def only_layout(found: Sequence[F], raw: Path, known: str) -> F:
    """The one layout that was found; `known` says which there are.

    Raises:
        UsageError: none, or more than one.
    """
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError("the folder holds two datasets", where=raw, how="prepare each from a folder of its own")
    raise UsageError("the folder has none of the layouts that are known", where=raw, how=f"these are: {known}")
