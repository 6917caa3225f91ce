"""What the header of a CT file says of its slices, judged before a pixel is read: one slice, or the frames of enhanced
CT."""

from __future__ import annotations

import math
import warnings
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pipelines.errors import (
    GeometryError,
    IntensityError,
    PipelinesError,
    SeriesError,
    UnreadableFileError,
    UnsupportedImageError,
)
from pipelines.readers.raw import file_size
from pipelines.readers.slice_header import SliceHeader

MAX_SIDE = 4096
MAX_FRAMES = 10_000

# What tells two scans or reconstructions apart that share a SeriesInstanceUID (series_mixture).
MARKS = (
    "SeriesNumber",
    "SeriesDescription",
    "AcquisitionNumber",
    "AcquisitionUID",
    "ConvolutionKernel",
    "FilterType",
    "KVP",
    "SliceThickness",
    "ContrastBolusAgent",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ImageType",
)
TAGS = [
    "SOPClassUID",
    "Modality",
    "BurnedInAnnotation",
    "ContrastBolusAgent",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    *MARKS,
]
_TOLERATED = (*MARKS, "InstanceNumber")
_MEASURED = ("KVP", "SliceThickness", "NominalPercentageOfCardiacPhase")
_AGAIN = "copy or export it again"
_SERIES_AGAIN = "export the series again"
# Of enhanced CT (PS3.3 C.7.6.16): the functional groups that hold what the header of a slice holds elsewhere.
_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": ("FrameAcquisitionNumber", "FrameAcquisitionDateTime", "TemporalPositionIndex"),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTXRayDetailsSequence": ("KVP", "FilterType"),
    "CardiacSynchronizationSequence": ("NominalPercentageOfCardiacPhase",),
    "CTImageFrameTypeSequence": ("FrameType",),
}
_SAME = {"FrameAcquisitionNumber": "AcquisitionNumber", "FrameAcquisitionDateTime": "AcquisitionDateTime"}

Values = Mapping[str, Any]


def judge(dataset: pydicom.FileDataset, path: Path) -> list[SliceHeader]:
    """The slices of one file: one, or a frame each of an enhanced CT.

    Args:
        dataset: what `dicom_file.open_dataset` gives with TAGS.

    Raises:
        The errors of `dicom_series.read_series` that concern one file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns about values that are judged here
            return _judge(dataset, path)
    except PipelinesError:
        raise
    except Exception as error:  # an element whose text is none of its kind; pydicom looks at it when it is asked for
        fault = f"the DICOM header is damaged ({type(error).__name__})"
        raise UnreadableFileError(fault, where=path, how=_AGAIN) from None


def value_of(dataset: pydicom.Dataset, keyword: str) -> Any:
    """An element's value; None where it is missing or no value of its kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dataset.get(keyword)
    except Exception:
        return None


def _judge(dataset: pydicom.FileDataset, path: Path) -> list[SliceHeader]:
    if "Modality" not in dataset and "Rows" not in dataset:
        raise UnreadableFileError("holds no image (damaged, or not of its transfer syntax)", where=path, how=_AGAIN)
    modality = str(dataset.get("Modality") or "none")
    if modality != "CT":
        raise UnsupportedImageError(f"the modality is {modality[:16]}, not CT", where=path, how="give a CT series")
    if is_localizer(dataset):
        raise SeriesError("the slice is a localizer (scout view)", where=path, how="give the axial series without it")
    rows, columns, frames = _size(dataset, path)
    _check_grey(dataset, path)
    # What only tells scans apart may be spoilt; what says where and what the slice is may not.
    top = {key: value_of(dataset, key) if key in _TOLERATED else dataset.get(key) for key in TAGS}
    return [
        _slice(values, rows, columns, number, path) for number, values in enumerate(_frames(dataset, top, frames, path))
    ]


def is_localizer(dataset: pydicom.Dataset) -> bool:
    """Whether the ImageType says that this is a scout view."""
    kinds = values_of({"ImageType": value_of(dataset, "ImageType")}, "ImageType")
    return "LOCALIZER" in [str(value).upper() for value in kinds]


def values_of(values: Values | pydicom.Dataset, keyword: str) -> Sequence[Any]:
    """An element's values as a list, empty where it is missing or empty."""
    value = values.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]


def numbers_of(values: Values | pydicom.Dataset, keyword: str, count: int, path: Path) -> list[float]:
    """An element's values as finite numbers.

    Raises:
        SeriesError: it is missing, or does not hold `count` finite numbers.
    """
    try:
        numbers = [float(value) for value in values_of(values, keyword)]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not numbers:
        raise SeriesError(f"{keyword} is missing", where=path, how=_SERIES_AGAIN)
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise SeriesError(f"{keyword} does not hold {count} finite numbers", where=path, how=_SERIES_AGAIN)
    return numbers


def _frames(dataset: pydicom.Dataset, top: dict[str, Any], count: int, path: Path) -> list[Values]:
    """What each frame says: its own functional groups, the shared ones, the top of the file, in this order."""
    shared = dataset.get("SharedFunctionalGroupsSequence")
    own = dataset.get("PerFrameFunctionalGroupsSequence")
    if not shared and not own:
        if count > 1:
            raise UnsupportedImageError(
                f"{count} frames in one file, without the functional groups that say where each lies",
                where=path,
                how="convert it to one file a slice, or to NIfTI",
            )
        return [top]
    if own and len(own) != count:
        raise UnreadableFileError(f"{count} frames, and {len(own)} of them are described", where=path, how=_AGAIN)
    below = _grouped(shared[0]) if shared else {}
    return [ChainMap(_grouped(own[number]) if own else {}, below, top) for number in range(count)]


def _grouped(groups: pydicom.Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, keywords in _GROUPS.items():
        sequence = groups.get(name)
        for keyword in keywords if sequence else ():
            if keyword in sequence[0]:
                same = _SAME.get(keyword, keyword)
                found[same] = value_of(sequence[0], keyword) if same in _TOLERATED else sequence[0].get(keyword)
    return found


def _slice(values: Values, rows: int, columns: int, number: int, path: Path) -> SliceHeader:
    if "LOCALIZER" in [str(value).upper() for value in values_of(values, "FrameType")]:
        raise SeriesError("a frame is a localizer (scout view)", where=path, how="give the axial series without it")
    slope, intercept = _rescale(values, path)
    spacing = numbers_of(values, "PixelSpacing", 2, path)
    if min(spacing) <= 0:
        raise GeometryError("PixelSpacing is not positive", where=path, how=_SERIES_AGAIN)
    position = numbers_of(values, "ImagePositionPatient", 3, path)
    return SliceHeader(
        path=path,
        patient=str(values.get("PatientID") or ""),
        study=str(values.get("StudyInstanceUID") or ""),
        series=str(values.get("SeriesInstanceUID") or ""),
        instance=str(values.get("SOPInstanceUID") or ""),
        frame_of_reference=str(values.get("FrameOfReferenceUID") or ""),
        rows=rows,
        columns=columns,
        position=(position[0], position[1], position[2]),
        orientation=tuple(numbers_of(values, "ImageOrientationPatient", 6, path)),
        pixel_spacing=(spacing[0], spacing[1]),
        thickness=_thickness(values, path),
        slope=slope,
        intercept=intercept,
        frame=number,
        number=_whole(values.get("InstanceNumber")),
        marks={keyword: _mark(values, keyword) for keyword in MARKS},
    )


def _mark(values: Values, keyword: str) -> str:
    text = "\\".join(str(each) for each in values_of(values, keyword)).strip()
    if keyword in _MEASURED:
        try:
            return f"{float(text):.3g}"  # 1.25 and 1.250 are the same
        except ValueError:
            pass
    return text


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _thickness(values: Values, path: Path) -> float | None:
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        try:
            thickness = abs(numbers_of(values, keyword, 1, path)[0])
        except SeriesError:
            continue
        if thickness > 0:
            return thickness
    return None


def _size(dataset: pydicom.FileDataset, path: Path) -> tuple[int, int, int]:
    try:
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        bits, frames = int(dataset.BitsAllocated), int(dataset.get("NumberOfFrames") or 1)
    except (AttributeError, TypeError, ValueError):
        raise UnreadableFileError(
            "the file does not describe an image (Rows, Columns, BitsAllocated)", where=path, how=_AGAIN
        ) from None
    size = f"{columns} x {rows} pixels" + (f", {frames} frames" if frames != 1 else "")
    if min(rows, columns, frames) < 1 or max(rows, columns) > MAX_SIDE or frames > MAX_FRAMES:
        raise UnreadableFileError(f"an absurd size of {size}", where=path, how=_AGAIN)
    syntax = dataset.file_meta.TransferSyntaxUID
    packed = syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian
    if not packed and rows * columns * frames * bits // 8 > file_size(path):
        raise UnreadableFileError(f"the file is too short for {size} (truncated?)", where=path, how=_AGAIN)
    if bits not in (8, 16, 32):
        raise UnsupportedImageError(
            f"{bits} bits a pixel are not those of a scan", where=path, how="give the original series"
        )
    return rows, columns, frames


def _check_grey(dataset: pydicom.Dataset, path: Path) -> None:
    kind = str(dataset.get("PhotometricInterpretation") or "none")
    if kind != "MONOCHROME2" or int(dataset.get("SamplesPerPixel") or 1) != 1:
        # MONOCHROME1 is no CT as scanners make it; readers disagree about negating it.
        raise UnsupportedImageError(
            f"pixels of the kind {kind[:16]}, where CT is MONOCHROME2", where=path, how="give the original series"
        )


def _rescale(values: Values, path: Path) -> tuple[float, float]:
    found = []
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        try:
            found.append(numbers_of(values, keyword, 1, path)[0])
        except SeriesError as error:
            raise IntensityError(
                f"{error.what}, so these are not Hounsfield units", where=path, how="give the original series"
            ) from None
    if found[0] == 0:
        raise IntensityError("RescaleSlope is zero", where=path, how="give the original series")
    kind = str(values.get("RescaleType") or "HU").strip().upper()
    if kind not in ("HU", "US", ""):  # US: unspecified; the values themselves are judged later
        raise IntensityError(
            f"pixels are rescaled to {kind[:16]}, not to HU", where=path, how="give the original series"
        )
    return found[0], found[1]
