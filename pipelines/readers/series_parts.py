"""Whether two sets of slices are parts of one scan that was torn apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.readers.slice_header import SliceHeader

_TOLERANCE = 0.05  # of the spacing, or millimetres in the plane
_SAME = 0.01  # millimetres


class SeriesPart(NamedTuple):
    """Slices of one series: `first` of them, and where they lie along their normal (mm, ascending)."""

    first: SliceHeader
    heights: np.ndarray
    aside: np.ndarray

    @classmethod
    def of(cls, headers: Sequence[SliceHeader]) -> SeriesPart:
        first = headers[0]
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        heights = np.sort([float(np.dot(header.position, normal)) for header in headers])
        place = np.array(first.position)
        return cls(first, heights, place - normal * (place @ normal))

    @property
    def step(self) -> float:
        """Usual distance of its slices; of a single one its thickness, 0 where that is not known."""
        return float(np.median(np.diff(self.heights))) if len(self.heights) > 1 else self.first.thickness or 0.0


def goes_on(one: SeriesPart, other: SeriesPart) -> bool:
    """Whether both make one even stack of the same patient, size, place and kernel, and neither is a whole scan beside
    the other: one lies above the other, fills the other's gaps, or is of the same series, shares slices with it and has
    others besides."""
    a, b = one.first, other.first
    alike = (
        a.patient == b.patient
        and (a.frame_of_reference == b.frame_of_reference or not a.frame_of_reference or not b.frame_of_reference)
        and (a.rows, a.columns) == (b.rows, b.columns)
        and a.marks.get("ConvolutionKernel") == b.marks.get("ConvolutionKernel")
        and np.allclose(a.pixel_spacing, b.pixel_spacing, rtol=1e-3)
        and np.allclose(a.orientation, b.orientation, atol=1e-3)
        and np.allclose(one.aside, other.aside, atol=0.5)
    )
    if not alike or a.instance == b.instance != "":
        return False
    low, high = sorted((one.heights, other.heights), key=lambda heights: float(heights[0]))
    step = max(one.step, other.step)
    if high[0] > low[-1]:
        return bool(high[0] - low[-1] <= 1.5 * step)
    together = np.sort(np.concatenate([low, high]))
    apart = together[np.diff(together, prepend=-np.inf) > _SAME]
    if a.series == b.series and len(apart) < len(together):
        return _even(apart) and len(apart) > max(len(low), len(high))
    return bool(_even(together) and not (_even(one.heights) and _even(other.heights)))


def _even(heights: np.ndarray) -> bool:
    gaps = np.diff(heights)
    return not gaps.size or bool(gaps.min() > _SAME and np.ptp(gaps) <= max(0.1, _TOLERANCE * float(np.median(gaps))))
