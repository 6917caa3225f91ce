"""A case's path, and the fault of one, as reports may say them: without what points to a patient."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.errors import PipelinesError
from pipelines.files import without_uids
from pipelines.readers.address import locate
from pipelines.readers.dicom_file import looks_like_dicom
from pipelines.readers.identifiers import Telling, telling

_FILE = re.compile(r"[^\s/]+[./]\S*\w")  # a word of a sentence that may be the name of a file


def shown_path(path: Path) -> str:
    """The path, with pseudonyms in the place of parts that hold UIDs, or what the DICOM headers at it say of the
    patient and of dates (`Telling.hidden`)."""
    text = str(path)
    for each in _tellings(path):
        text = each.hidden(text)
    return text


def shown_fault(path: Path, fault: str) -> str:
    """What is wrong at a path, as `PipelinesError` says it, with pseudonyms in names of folders and files as in
    `shown_path`."""
    for each in _tellings(path):
        where, colon, what = fault.partition(": ")
        where = each.hidden(where) if colon and "/" in where else _FILE.sub(lambda word: each.hidden(word[0]), where)  # noqa: B023
        fault = where + colon + _FILE.sub(lambda word: each.hidden(word[0]), what)  # noqa: B023
    return without_uids(fault)


def _tellings(path: Path) -> list[Telling]:
    try:
        place = locate(path).path
        files = sorted(each for each in place.iterdir() if each.is_file()) if place.is_dir() else [place]
    except (OSError, PipelinesError):  # an image in memory has a name that is no path
        files = []
    found = [each for each in files if not each.name.startswith(".") and looks_like_dicom(each)]
    return [telling(file) for file in dict.fromkeys([*found[:1], *found[-1:]])] or [Telling()]  # of two series perhaps
