"""What a log may say: series by a digest of their UIDs, faults without what points to a patient."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import pydicom

from pipelines.errors import PipelinesError
from pipelines.readers.dicom_file import open_dataset

_PERSONAL = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientBirthDate", "PatientBirthTime", "PatientAddress", "AccessionNumber", "StudyID", "StudyDate", "SeriesDate",
    "AcquisitionDate", "ContentDate", "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "InstitutionName", "StationName",
    "StudyDescription", "SeriesDescription", "ProtocolName", "PatientComments", "ImageComments",
)  # fmt: skip
_UID = re.compile(r"\b\d+(?:\.\d+){3,}\b")
_DATE = re.compile(r"\b(?:19|20)\d{6}(?:\d{6}(?:\.\d+)?)?\b")
_LONGEST = 500
_SEEN = 4  # files whose headers are looked at


def digest(*parts: str) -> str:
    """16 hexadecimal digits that stand for UIDs: the same for the same, safe as a name of a folder or file."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


def without_identifiers(text: str, files: Iterable[Path] = ()) -> str:
    """A text on one line, without UIDs, dates, and what the headers of the files say of patient, staff and study."""
    text = " ".join(text.split())
    for value in sorted(_personal(files), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "[removed]", text)
    text = _UID.sub(lambda found: f"uid-{digest(found[0])[:8]}", text)
    return _DATE.sub("[removed]", text)[:_LONGEST]


def _personal(files: Iterable[Path]) -> set[str]:
    """The values of the elements that point to somebody, in each spelling that a message may have."""
    found: set[str] = set()
    chosen = list(files)
    for path in [*chosen[: _SEEN // 2], *chosen[-_SEEN // 2 :]]:
        try:
            dataset = open_dataset(path, [*_PERSONAL, "SpecificCharacterSet"])
        except PipelinesError:
            continue
        for keyword in _PERSONAL:
            found |= _spellings(dataset, keyword)
    return {value for value in found if value}


def _spellings(dataset: pydicom.Dataset, keyword: str) -> set[str]:
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom raises nearly anything on a value that is none
        return set()
    if value is None:
        return set()
    whole = str(value).strip()
    each = value if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else [value]
    parts = {str(part).strip() for part in each} | {repr(part).strip("'") for part in each}
    names = {name for part in parts for name in re.split(r"[\^=]", part)} if "Name" in keyword else set()
    return {whole, *parts, *(name for name in names if len(name) > 2)}
