"""What logs, reports and names of files may say: series by a digest of UIDs, nothing that points to a patient."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom

from pipelines.errors import PipelinesError
from pipelines.files import without_uids
from pipelines.readers.dicom_file import open_dataset

_PERSONAL = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientBirthDate", "PatientBirthTime", "PatientAddress", "AccessionNumber", "StudyID", "StudyDate", "SeriesDate",
    "AcquisitionDate", "ContentDate", "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "InstitutionName", "StationName",
    "StudyDescription", "SeriesDescription", "ProtocolName", "PatientComments", "ImageComments",
)  # fmt: skip
_UID = re.compile(r"\b\d+(?:\.\d+){3,}\b")
# What may stand in the name of a file or folder, and of it, which are names of people.
_TELLING = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientBirthDate", "AccessionNumber", "StudyID", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
)  # fmt: skip
_LEAST_WORD, _LEAST_WITHIN, _LEAST_NUMBER = 3, 5, 4  # letters of a name as a word, or anywhere; of an ID
_DATE = re.compile(r"\b(?:19|20)\d{6}(?:\d{6}(?:\.\d+)?)?\b")
_LONGEST = 500
_SEEN = 4  # files whose headers are looked at


def digest(*parts: str) -> str:
    """16 hexadecimal digits that stand for UIDs: the same for the same, safe as a name of a folder or file."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True)
class Telling:
    """What the header of a case says that may stand in a name: to find it there, and to put a pseudonym in its place.

    Attributes:
        words: parts of names of people, in lower case.
        numbers: IDs and dates, letters and digits alone.
        key: what pseudonyms are made with: a UID of the study, which nobody guesses.
    """

    words: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    key: str = ""

    def hidden(self, name: str) -> str:
        """A path's name, every part of it that tells who or when replaced by `hidden-` and eight digits: the same for
        the same part in the same study. UIDs tell; what a header with PatientIdentityRemoved says does not."""
        return "/".join(self._part(part) for part in name.split("/"))

    def _part(self, part: str) -> str:
        words = re.findall(r"[^\W_]+", _folded(part))
        squeezed = "".join(words)
        tells = (
            without_uids(part) != part
            or any(word in self.words for word in words)
            or any(word in squeezed for word in self.words if len(word) >= _LEAST_WITHIN)
            or any(number in squeezed for number in self.numbers)
        )
        return f"hidden-{digest(self.key, part)[:8]}" if tells else part


def telling(path: Path) -> Telling:
    """What the header of a DICOM file says that may stand in a name; nothing where it cannot be read, or says that the
    identity was removed."""
    try:
        dataset = open_dataset(
            path, [*_TELLING, "SpecificCharacterSet", "PatientIdentityRemoved", "StudyInstanceUID", "SeriesInstanceUID"]
        )
        key = str(dataset.get("StudyInstanceUID") or dataset.get("SeriesInstanceUID") or "")
        removed = str(dataset.get("PatientIdentityRemoved") or "").strip().upper() == "YES"
    except Exception:  # pydicom raises nearly anything on a value that is none
        return Telling()
    words: set[str] = set()
    numbers: set[str] = set()
    for keyword in () if removed else _TELLING:
        for value in _spellings(dataset, keyword):
            if "Name" in keyword:
                words |= {word for word in re.findall(r"[^\W_]+", _folded(value)) if len(word) >= _LEAST_WORD}
            else:
                number = "".join(re.findall(r"[^\W_]+", _folded(value)))
                numbers |= {number} if len(number) >= _LEAST_NUMBER else set()
                if keyword.endswith("Date") and re.fullmatch(r"\d{8}", number):  # also as 31.12.1999
                    numbers.add(number[6:] + number[4:6] + number[:4])
    return Telling(frozenset(words), frozenset(numbers), key)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


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
