"""Strict reading of CT (pictures, NIfTI volumes and DICOM series), volumes of any values, chest X-rays and colour
pictures, checked until what comes out means what it says."""

from __future__ import annotations

from pipelines.readers.case import CaseImage, read_as_shown, read_case, read_volume
from pipelines.readers.colour import ColourPicture, PictureMask, read_colour, read_mask_of
from pipelines.readers.finder import Found, find_cases, look_through
from pipelines.readers.in_memory import case_in_memory, colour_in_memory, on_grid_of, volume_in_memory, xray_in_memory
from pipelines.readers.intensity import classify
from pipelines.readers.label import LabelImage, read_label, read_label_image, read_label_noted
from pipelines.readers.picture import PICTURE_AFFINE, read_picture
from pipelines.readers.xray import LIKE_A_SLICE, NOT_FRONTAL, XrayPicture, judge_xray, read_xray

__all__ = [
    "LIKE_A_SLICE",
    "NOT_FRONTAL",
    "PICTURE_AFFINE",
    "CaseImage",
    "ColourPicture",
    "Found",
    "LabelImage",
    "PictureMask",
    "XrayPicture",
    "case_in_memory",
    "classify",
    "colour_in_memory",
    "find_cases",
    "judge_xray",
    "look_through",
    "on_grid_of",
    "read_as_shown",
    "read_case",
    "read_colour",
    "read_label",
    "read_label_image",
    "read_label_noted",
    "read_mask_of",
    "read_picture",
    "read_volume",
    "read_xray",
    "volume_in_memory",
    "xray_in_memory",
]
