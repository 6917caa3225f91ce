"""Lists of images: a datalist with its splits, or paths as JSON, CSV or text."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pipelines.errors import DatalistError, UnreadableFileError, UsageError
from pipelines.preparation.csv_tables import csv_rows, table_text
from pipelines.preparation.sections import SECTIONS

SPLITS = (*SECTIONS, "all")
_DEFAULT = "test"
_COLUMNS = ("image", "path", "file")  # of a table, whichever is there
_MOST_BYTES = 2**28  # of a JSON list: a datalist has 300 bytes a case
_FORMS = "a datalist.json, JSON with a list of paths, CSV with a column `image`, or text with a path a line"


@dataclass(frozen=True)
class Listed:
    """An entry of a list.

    Attributes:
        path: a file, a DICOM series folder, an archive or a folder of many, absolute; it need not be there.
        name: that the list gives the case; None where it gives none.
    """

    path: Path
    name: str | None = None


@dataclass(frozen=True)
class CaseList:
    """Images that a list names, each once.

    Attributes:
        path: of the list, absolute.
        entries: in its order.
    """

    path: Path
    entries: tuple[Listed, ...]


def read_case_list(path: str | os.PathLike[str], split: str | None = None) -> CaseList:
    """Read a list: a datalist that ``data prepare`` wrote, or any with such splits; a JSON list of paths or of
    ``{"image": path, "case": name}``; CSV with a column ``image`` (``path``, ``file``), and ``case`` if there is one;
    or text with a path a line.

    Paths are relative to the list's folder. Whether they are there is not looked at.

    Args:
        split: "training", "validation", "test" or "all" of a list that has splits; None for "test".

    Raises:
        UnreadableFileError: there is no such file, or it is no text.
        UsageError: there is no such split, or the list has none.
        DatalistError: it is no list, is empty, or gives a name twice or one that leads out of the folder of results.
    """
    where = Path(path).absolute()
    if split is not None and split not in SPLITS:
        raise UsageError(f"there is no split {split!r}", where=where, how=f"choose one of {', '.join(SPLITS)}")
    if not where.is_file():
        raise UnreadableFileError("there is no such list", where=where, how=f"give a file: {_FORMS}")
    ending = where.suffix.lower()
    if ending == ".json":
        entries = _of_json(where, split)
    elif split is not None:
        raise UsageError("a plain list of paths has no splits", where=where, how="leave out --split")
    elif ending == ".csv":
        entries = _of_table(where)
    else:
        lines = table_text(where).splitlines()
        entries = [(f"line {number}", line.strip(), None) for number, line in enumerate(lines, 1) if line.strip()]
    listed: dict[Path, Listed] = {}
    names: dict[str, Path] = {}
    for place, image, name in entries:
        each = Listed(_located(where, place, image), _harmless(where, place, name))
        if listed.setdefault(each.path, each) != each:
            what = f"{place}: {image} is listed twice, as {listed[each.path].name} and as {each.name}"
            raise DatalistError(what, where=where, how="give each file one name")
        if each.name is not None and names.setdefault(each.name, each.path) != each.path:
            what = f"{place}: two files are called {each.name}"
            raise DatalistError(what, where=where, how="give each a name of its own")
    if not listed:
        raise DatalistError("the list is empty", where=where, how=f"give {_FORMS}")
    return CaseList(where, tuple(listed.values()))


_Entry = tuple[str, Any, Any]  # where in the list; the path; the case's name or None


def _of_json(path: Path, split: str | None) -> list[_Entry]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UnreadableFileError("the list is absurdly large", where=path, how="give it in parts")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatalistError(f"the list cannot be read ({error})", where=path, how="correct it") from None
    if isinstance(content, list):
        if split is not None:
            raise UsageError("a plain list of paths has no splits", where=path, how="leave out --split")
        return [_of_item(f"entry {number}", item) for number, item in enumerate(content, 1)]
    there = [name for name in SECTIONS if isinstance(content, dict) and isinstance(content.get(name), list)]
    if not there:
        raise DatalistError("this JSON is neither a datalist nor a list of paths", where=path, how=f"give {_FORMS}")
    split = split or _DEFAULT
    chosen = there if split == "all" else [split]
    found = [
        _of_item(f"{name} {number}", item)
        for name in chosen
        for number, item in enumerate(content.get(name) or [], 1)
    ]  # fmt: skip
    if not found:
        others = [name for name in there if content[name]]
        raise DatalistError(
            f"the {split} split is empty", where=path, how=f"choose --split {' or '.join([*others, 'all'])}"
        )
    return found


def _of_item(place: str, item: Any) -> _Entry:
    return (place, item.get("image"), item.get("case")) if isinstance(item, dict) else (place, item, None)


def _of_table(path: Path) -> list[_Entry]:
    rows = csv_rows(path)
    head = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    column = next((head.index(name) for name in _COLUMNS if name in head), None)
    if column is None:
        if any(len(row) > 1 for _, row in rows):
            what = f"the table has no column {' or '.join(_COLUMNS)}, but {', '.join(head)[:200]}"
            raise DatalistError(what, where=path, how="name the column of paths `image` in the first line")
        return [(f"line {number}", row[0].strip(), None) for number, row in rows]
    names = head.index("case") if "case" in head else None
    return [
        (f"line {number}", _cell(row, column), None if names is None else _cell(row, names) or None)
        for number, row in rows[1:]
    ]


def _cell(row: Sequence[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def _located(where: Path, place: str, image: Any) -> Path:
    if not isinstance(image, str) or not image or "\0" in image:
        raise DatalistError(f"{place} names no image: {str(image)[:100]!r}", where=where, how="give a path")
    if "://" in image:
        what = f"{place}: {image[:100]} is an address, and files are read"
        raise DatalistError(what, where=where, how="mount the bucket, and give the path")
    path = where.parent / image
    return path.resolve() if ".." in path.parts else path


def _harmless(where: Path, place: str, name: Any) -> str | None:
    if name is None:
        return None
    parts = PurePath(name).parts if isinstance(name, str) else ()
    if not parts or "\0" in name or PurePath(name).is_absolute() or any(part.startswith(".") for part in parts):
        what = f"{place}: {str(name)[:100]!r} cannot be the name of a case"
        raise DatalistError(what, where=where, how="give a word, or words with / between them")
    return str(PurePath(name))
