"""DICOM series of CT slices as one volume in Hounsfield units.

MONAI's ITKReader and PydicomReader are silent about missing, duplicate and mixed slices, drop truncated files and
gantry tilt, and sort by InstanceNumber (docs/reference/series-faults.md); this loader sorts along the slice normal and
refuses the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.errors import SeriesError, UnreadableFileError
from pipelines.files import without_uids
from pipelines.readers.burned_in import SAYS_TEXT, says_text
from pipelines.readers.dicom_file import SUFFIXES
from pipelines.readers.dicom_header import judge, numbers_of
from pipelines.readers.dicom_objects import (
    BESIDE,
    BROKEN,
    DERIVED,
    DOCUMENT,
    SCOUT,
    DicomObject,
    describe,
    list_series_files,
)
from pipelines.readers.kinds import kind_of
from pipelines.readers.raw import RawImage, check_volume_shape
from pipelines.readers.series_geometry import Stack, order_slices
from pipelines.readers.slice_header import SliceHeader
from pipelines.readers.slice_pixels import read_slices

__all__ = ["SUFFIXES", "read_series", "series_token", "sort_out", "stack_of"]

_WORDS = {SCOUT: "scout views", DOCUMENT: "objects without pixels", DERIVED: "captures or derived objects"}
_ORIENTATION_TOLERANCE = 0.1


def series_token(uid: str) -> str:
    """What names a series in a path and in a report: a hash of its UID, which points to a patient."""
    return f"series-{hashlib.sha256(uid.encode(errors='replace')).hexdigest()[:12]}"


def read_series(path: Path, series: str | None = None) -> RawImage:
    """Read one series: a folder of its files, or a single file (one slice, or the frames of an enhanced CT).

    Peak memory is the float32 volume and a slice or two, of several frames in a file too; headers are judged before a
    pixel is read.

    Args:
        series: `series_token` of the one that is meant, or its UID, where a folder holds several.

    Returns:
        Hounsfield units (columns, rows, slices), slices in ascending order along row x column direction.

    Raises:
        UnreadableFileError: a file is missing, empty, truncated, no DICOM, or compressed in a way nothing here decodes.
        UnsupportedImageError: another modality, colour, MONOCHROME1, several frames that do not say where they lie.
        SeriesError: missing, duplicate or mixed slices, two acquisitions or kernels, localizers alone, or positions
            that are missing or no numbers.
        GeometryError: tilt, directions not at right angles, impossible spacing.
        IntensityError: the rescale to Hounsfield units is missing or no number.
    """
    stack, notes = stack_of(path, series)
    return RawImage(_read_stack(stack, path, notes), stack.affine, tuple(notes))


# the agent is not named: the tag is free text, and anything may stand in it
SAYS_CONTRAST = (
    "the DICOM header says that a contrast agent was given: vessels are brighter than in scans without, and what takes "
    "brightness for lesion may be misled"
)


def stack_of(path: Path, series: str | None = None) -> tuple[Stack, list[str]]:
    """The slices of a series in the order in which `read_series` stacks them, and notes; no pixel is read.

    Args, raises: as `read_series`, what concerns pixels apart.
    """
    notes: list[str] = []
    if path.is_dir():
        listed = list_series_files(path)
        if not listed.files:
            raise UnreadableFileError(
                "the folder holds no DICOM files", where=path, how="give the folder of one series"
            )
        own = [name for name in listed.others if kind_of(path / name) is not None]
        others = [name for name in listed.others if name not in own]
        if others:
            notes.append(f"{len(others)} files beside the series were passed over: {_few(others)}")
        if own:
            notes.append(f"{len(own)} files beside the series are no part of it, but cases of their own: {_few(own)}")
        objects, beside = sort_out([describe(file) for file in listed.files])
        if series is not None:
            objects = [
                each for each in objects if each.kind == BROKEN or series in (series_token(each.series), each.series)
            ]
            if not objects:
                raise SeriesError("there is no such series in the folder", where=path, how=f"{series} is not among it")
        for kind, words in _WORDS.items():
            names = [each.path.name for each in beside if each.kind == kind]
            if names:
                notes.append(f"{len(names)} {words} beside the slices were passed over: {_few(names)}")
    else:
        objects = [describe(path)]
    stack = order_slices(_headers(objects), path)
    notes += stack.notes
    if any(each.dataset is not None and says_text(each.dataset) for each in objects):
        notes.append(SAYS_TEXT)
    if any(each.dataset is not None and str(each.dataset.get("ContrastBolusAgent") or "").strip() for each in objects):
        notes.append(SAYS_CONTRAST)
    return stack, notes


def sort_out(objects: Sequence[DicomObject]) -> tuple[list[DicomObject], list[DicomObject]]:
    """What must be read and what may be passed over: scouts, captures, reports and the like beside slices.

    A scout or derived object that lies as the slices of its own series do is one of them, wrongly marked; it is not
    passed over. Where there is no slice at all, only objects without pixels are, beside others.
    """
    kept = [each for each in objects if each.kind not in BESIDE]
    beside = [each for each in objects if each.kind in BESIDE]
    if all(each.kind == BROKEN for each in kept):
        kept += [each for each in beside if each.kind != DOCUMENT]
        return (kept, [each for each in beside if each.kind == DOCUMENT]) if kept else (beside, [])
    doubtful = [
        each
        for each in beside
        if each.kind in (SCOUT, DERIVED)
        and any(each.series == other.series and _parallel(each, other) for other in kept)
    ]
    return [*kept, *doubtful], [each for each in beside if each not in doubtful]


def _parallel(one: DicomObject, other: DicomObject) -> bool:
    if one.dataset is None or other.dataset is None:
        return False
    try:
        first, second = (
            np.array(numbers_of(each.dataset, "ImageOrientationPatient", 6, each.path))
            for each in (one, other)
            if each.dataset is not None
        )
    except SeriesError:
        return False
    return bool(np.abs(first - second).max() < _ORIENTATION_TOLERANCE)


def _headers(objects: Sequence[DicomObject]) -> list[SliceHeader]:
    for each in objects:
        if each.error is not None:
            raise each.error
    return [header for each in objects if each.dataset is not None for header in judge(each.dataset, each.path)]


def _read_stack(stack: Stack, path: Path, notes: list[str]) -> np.ndarray:
    headers = stack.headers
    shape = (headers[0].columns, headers[0].rows, len(headers))
    check_volume_shape(shape, path)
    array = np.empty(shape, dtype=np.float32, order="F")
    padded, dropped = 0, False
    for k, pixels in enumerate(read_slices(headers)):
        array[:, :, k] = pixels.hounsfield.T
        padded += pixels.padded
        dropped = dropped or pixels.dropped_bits
    if padded:
        notes.append(f"{padded} voxels marked as padding were set to -1024 HU")
    if dropped:
        notes.append("what unused high bits of the pixels held was dropped (PS3.5 8.1.1)")
    return array


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(without_uids, names[:5])) + (" and others" if len(names) > 5 else "")
