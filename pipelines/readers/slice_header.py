"""What one file, or one frame of a file, says about its slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SliceHeader:
    """Lengths in millimetres, positions and directions in DICOM's LPS.

    Attributes:
        slope, intercept: from stored values to Hounsfield units.
        frame: of the file, from 0.
        number: InstanceNumber of the file; None where it has none.
        marks: what may tell two scans apart that share a SeriesInstanceUID, by keyword; "" where it is missing.
    """

    path: Path
    patient: str
    study: str
    series: str
    instance: str
    frame_of_reference: str
    rows: int
    columns: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, float]
    thickness: float | None
    slope: float
    intercept: float
    frame: int = 0
    number: int | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
