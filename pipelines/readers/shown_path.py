"""A case's path as reports may say it: without what points to a patient."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import PipelinesError
from pipelines.files import without_uids
from pipelines.readers.address import locate
from pipelines.readers.dicom_file import looks_like_dicom
from pipelines.readers.identifiers import telling


def shown_path(path: Path) -> str:
    """The path, with pseudonyms in the place of parts that hold UIDs, or what the DICOM headers at it say of the
    patient and of dates (`Telling.hidden`)."""
    text = str(path)
    try:
        place = locate(path).path
        files = sorted(each for each in place.iterdir() if each.is_file()) if place.is_dir() else [place]
    except (OSError, PipelinesError):  # an image in memory has a name that is no path
        return without_uids(text)
    found = [each for each in files if not each.name.startswith(".") and looks_like_dicom(each)]
    for file in dict.fromkeys([*found[:1], *found[-1:]]):  # of several series perhaps two
        text = telling(file).hidden(text)
    return text
