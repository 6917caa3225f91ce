"""The DICOM instances that a case was read from, in the order of its slices: what is written of it refers to them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, TM

from pipelines.readers import kinds
from pipelines.readers.address import locate, told_of
from pipelines.readers.dicom_file import open_dataset
from pipelines.readers.dicom_objects import PICTURE, describe
from pipelines.readers.dicom_series import stack_of
from pipelines.readers.kinds import is_folder, kind_of

# Of patient and study, which whatever is written of a source repeats. DICOM lets them be empty, and not missing.
_REPEATED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_DUE = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, eq=False)
class DicomSource:
    """A series, or one picture, without pixels.

    Attributes:
        instances: a data set a file, in the order of the slices of what `read_case` reads.
        frames: of an enhanced CT, whose one file is the only instance: the frame (from 0) of each slice; else None.
        picture: an X-ray or a photograph, which lies nowhere in space.
        emptied: what the headers say of patient and study that is not well-formed: it is empty in ``instances``.
        affine: 4x4, from (column, row, slice) to RAS millimetres; None of a picture.
    """

    instances: tuple[pydicom.FileDataset, ...]
    frames: tuple[int, ...] | None = None
    picture: bool = False
    affine: np.ndarray | None = None
    emptied: tuple[str, ...] = ()

    @property
    def lacks(self) -> list[str]:
        """What no object can be written without, and the headers do not say."""
        due = _DUE if self.picture else (*_DUE, "FrameOfReferenceUID")
        return [keyword for keyword in due if not all(each.get(keyword) for each in self.instances)]


def read_source(path: Path) -> DicomSource | None:
    """The instances of a case that was read before; None where its input is no DICOM.

    Raises:
        UnreadableFileError, UnsupportedImageError, SeriesError, GeometryError: the input changed since, as `read_case`.
    """
    try:
        place = locate(path)
        if not is_folder(place.path) and (not place.path.is_file() or kind_of(place.path) != kinds.DICOM):
            return None
    except OSError:  # an image in memory has a name that is no path
        return None
    with told_of(place, path):
        if not is_folder(place.path) and describe(place.path).kind == PICTURE:
            header, emptied = _header(place.path)
            return DicomSource((header,), picture=True, emptied=tuple(emptied))
        headers, affine, _ = stack_of(place.path, place.series)[0]
        files = list(dict.fromkeys(header.path for header in headers))
        read = [_header(file) for file in files]
    instances = tuple(header for header, _ in read)
    spoilt = tuple(dict.fromkeys(keyword for _, own in read for keyword in own))
    several = len(files) == 1 and "NumberOfFrames" in instances[0]
    frames = tuple(header.frame for header in headers) if several else None
    return DicomSource(instances, frames, affine=affine, emptied=spoilt)


def _header(path: Path) -> tuple[pydicom.FileDataset, list[str]]:
    """A header whose texts are Unicode, with all that is repeated of it; and the keywords of what was not well-formed.

    The character sets of a source are no matter to what is written, which is in UTF-8.
    """
    dataset = open_dataset(path, pixels=False)
    emptied = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, which quote values
        try:
            dataset.decode()
        except Exception:  # pydicom raises nearly anything on a character set that is none
            dataset.SpecificCharacterSet = "ISO_IR 100"  # what cannot be told is at least shown
        for keyword in _REPEATED:
            if not _well_formed(dataset, keyword):
                emptied.append(keyword)
                delattr(dataset, keyword)  # pydicom would look at the old value first, and raise
                setattr(dataset, keyword, "")
            elif keyword not in dataset:
                setattr(dataset, keyword, "")
        dataset.SpecificCharacterSet = "ISO_IR 192"
    return dataset, emptied


def _well_formed(dataset: pydicom.Dataset, keyword: str) -> bool:
    """Whether an element can be repeated: one value, and a date or time that is one."""
    try:
        value = dataset.get(keyword)
        if not value:
            return True
        if isinstance(value, MultiValue):
            return False
        if keyword.endswith(("Date", "Time")):
            (DA if keyword.endswith("Date") else TM)(str(value))
        return isinstance(str(value), str)
    except Exception:  # pydicom raises nearly anything on a value that is none
        return False
