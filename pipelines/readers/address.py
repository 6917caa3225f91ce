"""Where a case's path leads: to a file or folder, to one series of a folder, or into an archive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import PipelinesError, SeriesError, UnreadableFileError
from pipelines.readers import archive
from pipelines.readers.finder import SEPARATOR, look_through
from pipelines.readers.kinds import is_folder


class Place(NamedTuple):
    """The file or folder that is read, which of its series, and the folder of an archive that it was unpacked to."""

    path: Path
    series: str | None = None
    unpacked: Path | None = None


def locate(path: Path) -> Place:
    """The place of a case's path as `look_through` gives it.

    Raises:
        UnreadableFileError, OutputError: an archive cannot be unpacked, or holds no such thing.
        SeriesError: an archive holds several cases, and the path does not say which.
    """
    if os.path.lexists(path) or SEPARATOR not in str(path):
        if not archive.is_archive(path) or not path.is_file():
            return Place(path)
        return _only_case(path)
    container, inside = _parted(path)
    if container.is_dir():
        return Place(container, inside)
    if not archive.is_archive(container):
        return Place(path)
    folder = archive.unpack(container)
    inner, _, series = inside.partition(SEPARATOR)
    place = folder / inner
    if not place.exists() or not place.resolve().is_relative_to(folder.resolve()):
        raise UnreadableFileError(f"the archive holds no {inner}", where=container, how="check the path")
    return Place(place, series or None, folder)


def is_address(path: Path) -> bool:
    """Whether a path leads to a series of a folder, ``FOLDER::SERIES``, or into an archive, ``ARCHIVE::INSIDE``."""
    if SEPARATOR not in str(path):
        return False
    container = _parted(path)[0]
    return container != path and (is_folder(container) or archive.is_archive(container))


@contextmanager
def told_of(place: Place, path: Path) -> Iterator[None]:
    """Faults found in an archive tell the path that was given, and not where it was unpacked to."""
    try:
        yield
    except PipelinesError as error:
        if place.unpacked is None or error.where is None:
            raise
        inside = os.path.relpath(error.where, place.unpacked)
        container = str(path).split(SEPARATOR, 1)[0]
        where = container if inside == "." else f"{container}{SEPARATOR}{inside}"
        raise type(error)(error.what, where=where, how=error.how) from None


def _only_case(path: Path) -> Place:
    found = look_through(path)
    if found[0].fault is not None and len(found) == 1:
        raise found[0].fault
    if len(found) > 1:
        raise SeriesError(
            f"the archive holds {len(found)} cases", where=path, how=f"give one of them, such as {found[0].path}"
        )
    folder = archive.unpack(path)
    (inner,) = look_through(folder)
    return Place(inner.file, inner.series if inner.several else None, folder)


def _parted(path: Path) -> tuple[Path, str]:
    """The longest beginning of a path that exists before a separator, and what comes behind it."""
    text = str(path)
    place = text.rfind(SEPARATOR)
    best = (path, "")
    while place > 0:
        if os.path.lexists(text[:place]):
            best = (Path(text[:place]), text[place + len(SEPARATOR) :])
            break
        place = text.rfind(SEPARATOR, 0, place)
    return best
