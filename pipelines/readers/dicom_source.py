"""The DICOM instances that a case was read from, in the order of its slices: what is written of it refers to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from pipelines.readers import kinds
from pipelines.readers.address import locate, told_of
from pipelines.readers.dicom_file import open_dataset
from pipelines.readers.dicom_objects import PICTURE, describe
from pipelines.readers.dicom_series import stack_of
from pipelines.readers.kinds import is_folder, kind_of


@dataclass(frozen=True, eq=False)
class DicomSource:
    """A series, or one picture, without pixels.

    Attributes:
        instances: a data set a file, in the order of the slices of what `read_case` reads.
        frames: of an enhanced CT, whose one file is the only instance: the frame (from 0) of each slice; else None.
        picture: an X-ray or a photograph, which lies nowhere in space.
        affine: 4x4, from (column, row, slice) to RAS millimetres; None of a picture.
    """

    instances: tuple[pydicom.FileDataset, ...]
    frames: tuple[int, ...] | None = None
    picture: bool = False
    affine: np.ndarray | None = None


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
            return DicomSource((_header(place.path),), picture=True)
        headers, affine, _ = stack_of(place.path, place.series)[0]
        files = list(dict.fromkeys(header.path for header in headers))
        instances = tuple(_header(file) for file in files)
    several = len(files) == 1 and "NumberOfFrames" in instances[0]
    return DicomSource(instances, tuple(header.frame for header in headers) if several else None, affine=affine)


def _header(path: Path) -> pydicom.FileDataset:
    dataset = open_dataset(path, pixels=False)
    if not dataset.get("SpecificCharacterSet", "x"):  # said to be nothing, which is no name of one
        del dataset.SpecificCharacterSet
    return dataset
