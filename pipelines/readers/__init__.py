"""Strict reading of CT (pictures, NIfTI volumes and DICOM series) and of grey and colour pictures, checked until what
comes out means what it says."""

from __future__ import annotations

from pipelines.readers.case import LABELS, CaseImage, find_cases, read_case, read_label
from pipelines.readers.colour import ColourPicture, PictureMask, read_colour, read_mask_of
from pipelines.readers.intensity import classify
from pipelines.readers.picture import PICTURE_AFFINE, read_picture

__all__ = [
    "LABELS",
    "PICTURE_AFFINE",
    "CaseImage",
    "ColourPicture",
    "PictureMask",
    "classify",
    "find_cases",
    "read_case",
    "read_colour",
    "read_label",
    "read_mask_of",
    "read_picture",
]
