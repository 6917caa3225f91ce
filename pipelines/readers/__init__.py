"""Strict reading of CT: pictures, NIfTI volumes and DICOM series, checked until what comes out means what it says."""

from __future__ import annotations

from pipelines.readers.case import LABELS, CaseImage, find_cases, read_case, read_label
from pipelines.readers.intensity import classify

__all__ = ["LABELS", "CaseImage", "classify", "find_cases", "read_case", "read_label"]
