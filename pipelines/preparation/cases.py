"""The cases that an inference is asked for."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.errors import PipelinesError, SeriesError
from pipelines.preparation.case_list import CaseList
from pipelines.readers import Found, look_through
from pipelines.readers.dicom_series import series_token

_LONGEST = 200  # bytes of a part of a case's name


def cases_to_segment(
    source: str | Path | None, dataset_dir: str | Path, datalist: str, *, section: str = "test", truth: bool = False
) -> list[dict[str, Any]]:
    """Items ``{"image": path, "case": name}`` of a file or a folder; without a source, those of a datalist's section.

    A case's name is its path below the folder without its extension; where two files would share it, with it. What
    looks like a case and cannot be read as one is left out (`look_for_cases` tells it).

    Args:
        source: a file or folder, or None.
        dataset_dir, datalist, section: where cases come from without a source; "all" is every section.
        truth: items of a datalist also have ``patient`` and ``label_file``, the path of the true mask; in a list with
            classes ``label``, the true one's number, and ``subtype`` where the list has it.

    Raises:
        UnreadableFileError: there is nothing to read at ``source``.
        DatalistError: there is no source and no usable datalist.
    """
    if source is None:
        from pipelines.preparation.datalist import files
        from pipelines.preparation.sections import SECTIONS

        sections = SECTIONS if section == "all" else (section,)
        items = [item for each in sections for item in files(dataset_dir, datalist, each)]
        more = (_truth(item) if truth else {} for item in items)
        return [{"image": i["image"], "case": i["case"], **known} for i, known in zip(items, more, strict=True)]
    return look_for_cases(source)[0]


def look_for_cases(
    source: str | Path, series: str | None = None, base: Path | None = None, *, keep_identifiers: bool = False
) -> tuple[list[dict[str, Any]], list[Found]]:
    """Items as `cases_to_segment` gives them, and what looks like a case and cannot be one, with its fault.

    A series of a folder that holds several is called ``FOLDER/series-NUMBER``. Parts of a path that hold what a DICOM
    header says of the patient, a date or a UID have a pseudonym in the name (`Telling.hidden`).

    Args:
        series: only DICOM series with this SeriesInstanceUID or SeriesNumber.
        keep_identifiers: names are the paths as they are.
        base: the folder, which the source lies in, that names begin in; None for the source.

    Raises:
        UnreadableFileError: there is nothing to read at ``source``.
        SeriesError: there is no such series.
    """
    root = Path(source)
    found = look_through(root)
    if series is not None:
        found = _of_series(found, series, root)
    if base is None:
        base = _own_base(root, found)
    return _items([(each, *_name(each, base, found)) for each in found], root.resolve().name, keep_identifiers)


def look_for_listed(
    cases: CaseList, series: str | None = None, *, keep_identifiers: bool = False
) -> tuple[list[dict[str, Any]], list[Found]]:
    """The same of what a list names, each file once. What cannot be read, or is not there, is passed with its fault.

    A case is called as the list says; without, after its path below the list's folder, or of a file elsewhere after its
    whole path: so its name does not depend on what else is listed. Paths are told as `look_for_cases` tells them, names
    that the list gives as they are given.

    Args:
        series: only DICOM series with this SeriesInstanceUID or SeriesNumber.
        keep_identifiers: names that are paths are the paths as they are.
    """
    named: list[tuple[Found, str, str]] = []
    faulty: list[Found] = []
    seen: set[Path] = set()
    as_given: set[Path] = set()
    for entry in cases.entries:
        try:
            found = look_through(entry.path)
            found = found if series is None else _of_series(found, series, entry.path)
        except PipelinesError as error:
            found = [Found(entry.path, entry.path, fault=error)]
        for each in found:
            if each.path in seen:
                continue
            seen.add(each.path)
            if each.fault is not None:
                faulty.append(each)
            elif entry.name is not None and len(found) == 1:
                as_given.add(each.path)
                named.append((each, _bounded(entry.name), _bounded(entry.name)))
            elif entry.name is not None:
                short, whole = _name(each, _own_base(entry.path, found), found)
                named.append((each, _bounded(f"{entry.name}/{short}"), _bounded(f"{entry.name}/{whole}")))
            else:
                home = cases.path.parent
                base = home if each.file.is_relative_to(home) else Path(each.file.anchor)
                named.append((each, *_name(each, base, found)))
    items, _ = _items(named, "case", keep_identifiers, as_given)
    return items, faulty


def _own_base(root: Path, found: list[Found]) -> Path:
    """The folder that names of cases begin in: the source, or that of a single file."""
    return root if root.is_dir() and [each.file for each in found] != [root] * len(found) else root.parent


def _items(
    named: list[tuple[Found, str, str]], nameless: str, keep: bool, as_given: Container[Path] = ()
) -> tuple[list[dict[str, Any]], list[Found]]:
    """Items of what was found with a short and a whole name, and what is faulty. What a header says of the patient is
    hidden in names but where it is to be kept, and in those that somebody gave."""
    said = Counter(name for _, *both in named for name in set(both))  # a short one may be another case's whole one
    items: list[dict[str, Any]] = []
    taken: set[str] = set()
    for each, short, whole in named:
        if each.fault is None:
            name = short if said[short] == 1 else whole
            name = nameless or "case" if name in ("", ".") else name
            name = name if keep or each.path in as_given else each.telling.hidden(name)
            while name in taken:  # results never write over one another
                name += "-again"
            taken.add(name)
            items.append({"image": str(each.path), "case": name})
    return items, [each for each, *_ in named if each.fault is not None]


def _of_series(found: list[Found], series: str, root: Path) -> list[Found]:
    chosen = [
        each for each in found if each.series and {series, series_token(series)} & {each.series, str(each.number)}
    ]
    if chosen:
        parts = Counter(each.series for each in chosen)  # of several, naming the series does not say which is meant
        return [
            replace(each, fault=None) if isinstance(each.fault, SeriesError) and parts[each.series] == 1 else each
            for each in chosen
        ]
    there = [
        f"{'' if each.number is None else f'{each.number}: '}{each.series} ({each.slices} files)"
        for each in found
        if each.series
    ]
    raise SeriesError(
        f"there is no series {series}",
        where=root,
        how=f"choose one of {', '.join(there[:12])}" if there else "there is no DICOM series here",
    )


def _name(each: Found, base: Path, found: list[Found]) -> tuple[str, str]:
    """A case's name, and a longer one for where two cases would share it."""
    whole = each.file.relative_to(base)
    parts, longer = [_stem(whole) if each.file.is_file() else str(whole)], [str(whole)]
    if each.inside not in ("", "."):
        parts.append(_stem(Path(each.inside)) if each.file_inside else each.inside)
        longer.append(each.inside)
    if each.several:
        beside = [other.number for other in found if (other.file, other.inside) == (each.file, each.inside)]
        token = str(each.series)
        parts.append(f"series-{each.number}" if beside.count(each.number) == 1 and each.number is not None else token)
        longer.append(token)
    return _bounded("/".join(parts)), _bounded("/".join(longer))


def _bounded(name: str) -> str:
    """A name whose parts leave room for what writers put behind it: a file's name has at most 255 bytes."""
    parts = []
    for part in name.split("/"):
        raw = os.fsencode(part)
        if len(raw) > _LONGEST:
            mark = hashlib.sha256(raw).hexdigest()[:8]
            part = f"{raw[: _LONGEST - 10].decode(errors='ignore')}-{mark}"
        parts.append(part)
    return "/".join(parts)


def _truth(item: dict[str, Any]) -> dict[str, Any]:
    known = {"patient": item["patient"]}
    if isinstance(item["label"], int):
        return known | {key: item[key] for key in ("label", "subtype") if key in item}
    return known | {"label_file": item["label"]}


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".nii.gz", ".img.gz", ".tar.gz", ".tar.bz2", ".tar.xz", path.suffix.lower()):
        if ending and name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
            break
    return str(path.with_name(name))
