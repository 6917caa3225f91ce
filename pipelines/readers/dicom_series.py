"""DICOM series of CT slices as one volume in Hounsfield units.

MONAI's ITKReader and PydicomReader are silent about missing, duplicate and mixed slices, drop truncated files and
gantry tilt, and sort by InstanceNumber (measured in design/bad-inputs.md); this loader sorts along the slice normal and
refuses the rest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pipelines.errors import (
    GeometryError,
    IntensityError,
    PipelinesError,
    SeriesError,
    UnreadableFileError,
    UnsupportedImageError,
)
from pipelines.readers.raw import RawImage, check_volume_shape, file_size
from pipelines.readers.series_geometry import SliceHeader, order_slices
from pipelines.readers.slice_pixels import read_hounsfield

SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_SIDE = 4096

_TAGS = [
    "Modality",
    "ImageType",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
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
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
]
_AGAIN = "copy or export it again"
_SERIES_AGAIN = "export the series again"
_DECODERS = {
    "JPEG-LS": "pyjpegls",
    "JPEG 2000": "pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg-openjpeg",
    "RLE": "pylibjpeg-rle",
    "JPEG": "python-gdcm",
}


def has_dicom_prefix(path: Path) -> bool:
    """Whether the file begins as DICOM files do: 128 bytes of anything, then DICM. False where it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def list_series_files(folder: Path) -> tuple[list[Path], list[str]]:
    """DICOM files directly in a folder, sorted by name, and the names of those that were passed over.

    Passed over without a word: hidden files, DICOMDIR and subfolders. Named: files that are no DICOM and do not claim
    to be, and symbolic links that leave the folder. A file with a DICOM suffix is listed whatever it holds, so that
    reading refuses it.

    Raises:
        UnreadableFileError: the folder cannot be listed.
    """
    try:
        entries = sorted(folder.iterdir())
        inside = folder.resolve()
    except OSError as error:
        raise UnreadableFileError(
            f"the folder cannot be listed ({error})", where=folder, how="check the path and its rights"
        ) from None
    files, others = [], []
    for entry in entries:
        if entry.name.startswith(".") or entry.name.upper() == "DICOMDIR":
            continue
        if entry.is_symlink() and not entry.resolve().is_relative_to(inside):
            others.append(entry.name)
        elif entry.is_dir():
            continue
        elif entry.suffix.lower() in SUFFIXES or has_dicom_prefix(entry):
            files.append(entry)
        else:
            others.append(entry.name)
    return files, others


def read_series(path: Path) -> RawImage:
    """Read one series: a folder of its files, or a single file as a one-slice series.

    Peak memory is the float32 volume and one slice; headers are judged before a pixel is read.

    Returns:
        Hounsfield units (columns, rows, slices), slices in ascending order along row x column direction.

    Raises:
        UnreadableFileError: a file is missing, empty, truncated, no DICOM, or compressed in a way nothing here decodes.
        UnsupportedImageError: another modality, colour, MONOCHROME1, several frames in a file.
        SeriesError: missing, duplicate or mixed slices, localizers, or positions that are missing or no numbers.
        GeometryError: tilt, directions not at right angles, impossible spacing.
        IntensityError: the rescale to Hounsfield units is missing or no number.
    """
    notes: list[str] = []
    if path.is_dir():
        files, others = list_series_files(path)
        if not files:
            raise UnreadableFileError(
                "the folder holds no DICOM files", where=path, how="give the folder of one series"
            )
        if others:
            shown = ", ".join(others[:5]) + (" and others" if len(others) > 5 else "")
            notes.append(f"{len(others)} files beside the series were passed over: {shown}")
    else:
        files = [path]
    headers = [read_header(file) for file in files]
    ordered, affine = order_slices(headers, path)
    shape = (ordered[0].columns, ordered[0].rows, len(ordered))
    check_volume_shape(shape, path)
    array = np.empty(shape, dtype=np.float32, order="F")
    padded = 0
    for k, header in enumerate(ordered):
        slice_hu, count = read_hounsfield(header)
        array[:, :, k] = slice_hu.T
        padded += count
    if padded:
        notes.append(f"{padded} voxels marked as padding were set to -1024 HU")
    return RawImage(array, affine, tuple(notes))


def read_header(path: Path) -> SliceHeader:
    """Read and judge one file's header; no pixel is read.

    Raises:
        The errors of `read_series` that concern one file.
    """
    size = file_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns about values that are judged below
            _check_preamble(path)
            meta = pydicom.filereader.read_file_meta_info(path)
            syntax = meta.get("TransferSyntaxUID")
            if syntax is None:
                raise UnreadableFileError("the file does not state its transfer syntax", where=path, how=_AGAIN)
            check_decoder(syntax, path)
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            return _judge(dataset, path, size, syntax)
    except PipelinesError:
        raise
    except InvalidDicomError:
        raise UnreadableFileError("is not a DICOM file, whatever its name says", where=path, how=_AGAIN) from None
    except Exception as error:  # pydicom raises nearly anything on damaged files; its words may quote a patient's name
        fault = f"the DICOM header is truncated or damaged ({type(error).__name__})"
        raise UnreadableFileError(fault, where=path, how=_AGAIN) from None


def check_decoder(syntax: UID, path: Path) -> None:
    """Refuse pixel encodings that nothing installed can decode.

    Raises:
        UnreadableFileError: with the name of the encoding and of a package that decodes it.
    """
    if syntax == DeflatedExplicitVRLittleEndian:  # pydicom unpacks it whole, however large it becomes
        raise UnreadableFileError("the whole file is deflated", where=path, how="export it uncompressed")
    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError:
        raise UnreadableFileError(
            f"the transfer syntax {UID(syntax).name} is not known", where=path, how="export it uncompressed"
        ) from None
    if not decoder.is_available:
        package = next((name for words, name in _DECODERS.items() if words in UID(syntax).name), "python-gdcm")
        raise UnreadableFileError(
            f"compressed as {UID(syntax).name}, for which no decoder is installed",
            where=path,
            how=f"pip install {package}, or export the series uncompressed",
        )


def _check_preamble(path: Path) -> None:
    with path.open("rb") as file:
        preamble = file.read(128)
    # A file can be a program and DICOM at once (CVE-2019-11687); no scanner writes such.
    if preamble.startswith(
        (b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"PK\x03\x04")
    ):
        raise UnreadableFileError(
            "a program or archive hides in the DICOM preamble", where=path, how="do not open this file"
        )


def _judge(dataset: pydicom.Dataset, path: Path, size: int, syntax: UID) -> SliceHeader:
    if "Modality" not in dataset and "Rows" not in dataset:
        raise UnreadableFileError("holds no image (damaged, or not of its transfer syntax)", where=path, how=_AGAIN)
    modality = str(dataset.get("Modality") or "none")
    if modality != "CT":
        raise UnsupportedImageError(f"the modality is {modality[:16]}, not CT", where=path, how="give a CT series")
    if "LOCALIZER" in [str(value).upper() for value in _values(dataset, "ImageType")]:
        raise SeriesError("the slice is a localizer (scout view)", where=path, how="give the axial series without it")
    rows, columns = _size(dataset, path, size, syntax)
    _check_grey(dataset, path)
    _check_rescale(dataset, path)
    spacing = _numbers(dataset, "PixelSpacing", 2, path)
    if min(spacing) <= 0:
        raise GeometryError("PixelSpacing is not positive", where=path, how=_SERIES_AGAIN)
    position = _numbers(dataset, "ImagePositionPatient", 3, path)
    return SliceHeader(
        path=path,
        patient=str(dataset.get("PatientID") or ""),
        study=str(dataset.get("StudyInstanceUID") or ""),
        series=str(dataset.get("SeriesInstanceUID") or ""),
        instance=str(dataset.get("SOPInstanceUID") or ""),
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or ""),
        rows=rows,
        columns=columns,
        position=(position[0], position[1], position[2]),
        orientation=tuple(_numbers(dataset, "ImageOrientationPatient", 6, path)),
        pixel_spacing=(spacing[0], spacing[1]),
        thickness=_thickness(dataset, path),
    )


def _values(dataset: pydicom.Dataset, keyword: str) -> Sequence[Any]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]


def _numbers(dataset: pydicom.Dataset, keyword: str, count: int, path: Path) -> list[float]:
    try:
        numbers = [float(value) for value in _values(dataset, keyword)]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not numbers:
        raise SeriesError(f"{keyword} is missing", where=path, how=_SERIES_AGAIN)
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise SeriesError(f"{keyword} does not hold {count} finite numbers", where=path, how=_SERIES_AGAIN)
    return numbers


def _thickness(dataset: pydicom.Dataset, path: Path) -> float | None:
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        try:
            thickness = abs(_numbers(dataset, keyword, 1, path)[0])
        except SeriesError:
            continue
        if thickness > 0:
            return thickness
    return None


def _size(dataset: pydicom.Dataset, path: Path, size: int, syntax: UID) -> tuple[int, int]:
    try:
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        bits, frames = int(dataset.BitsAllocated), int(dataset.get("NumberOfFrames") or 1)
    except (AttributeError, TypeError, ValueError):
        raise UnreadableFileError(
            "the file does not describe an image (Rows, Columns, BitsAllocated)", where=path, how=_AGAIN
        ) from None
    if min(rows, columns, frames) < 1 or max(rows, columns) > MAX_SIDE:
        raise UnreadableFileError(
            f"an absurd size of {columns} x {rows} pixels, {frames} frames", where=path, how=_AGAIN
        )
    if not syntax.is_compressed and rows * columns * frames * bits // 8 > size:
        raise UnreadableFileError(
            f"the file is too short for {columns} x {rows} pixels, {frames} frames (truncated?)", where=path, how=_AGAIN
        )
    if frames > 1:
        raise UnsupportedImageError(
            f"{frames} frames in one file (enhanced CT)", where=path, how="convert it to one file a slice, or to NIfTI"
        )
    if bits not in (8, 16, 32):
        raise UnsupportedImageError(
            f"{bits} bits a pixel are not CT values", where=path, how="give the original series"
        )
    return rows, columns


def _check_grey(dataset: pydicom.Dataset, path: Path) -> None:
    kind = str(dataset.get("PhotometricInterpretation") or "none")
    if kind != "MONOCHROME2" or int(dataset.get("SamplesPerPixel") or 1) != 1:
        # MONOCHROME1 is no CT as scanners make it; readers disagree about negating it.
        raise UnsupportedImageError(
            f"pixels of the kind {kind[:16]}, where CT is MONOCHROME2", where=path, how="give the original series"
        )


def _check_rescale(dataset: pydicom.Dataset, path: Path) -> None:
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        try:
            number = _numbers(dataset, keyword, 1, path)[0]
        except SeriesError as error:
            raise IntensityError(
                f"{error.what}, so these are not Hounsfield units", where=path, how="give the original series"
            ) from None
        if keyword == "RescaleSlope" and number == 0:
            raise IntensityError("RescaleSlope is zero", where=path, how="give the original series")
    kind = str(dataset.get("RescaleType") or "HU").strip().upper()
    if kind not in ("HU", "US", ""):  # US: unspecified; the values themselves are judged later
        raise IntensityError(
            f"pixels are rescaled to {kind[:16]}, not to HU", where=path, how="give the original series"
        )
