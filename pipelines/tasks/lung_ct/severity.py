"""The rule of severity: how much of the lung is lesion, and which class that is.

Extent = lesion area / (lung and lesion area), of a slice or of a whole volume. A class begins at its threshold. This is
the extent of what is seen on CT, not how ill a person is: the clinical scales weigh breathing, oxygen and organ
failure. See docs/explanation/extent-is-not-severity.md for sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ConfigError

LUNG_FLOOR_ML = 100.0  # an adult's lungs hold litres; below this the ratio would divide by noise
LUNG_FLOOR_SHARE = 0.01  # of a slice's area: apex, abdomen, neck
UNRATED = -1  # the class of a slice with too little lung
MASK_LABELS = {0: "background", 1: "lung", 2: "lesion"}  # of the masks that slices are rated by


@dataclass(frozen=True)
class SeverityScale:
    """Names of the classes and the extents at which they begin.

    Attributes:
        names: of the classes, from the least to the most severe.
        thresholds: extents (0..1), ascending, one fewer than names: class k + 1 begins at ``thresholds[k]``. A
            threshold of 0 means any lesion at all.

    Raises:
        ConfigError: thresholds that do not ascend within 0..1, or do not fit the names.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        try:
            object.__setattr__(self, "thresholds", tuple(float(each) for each in self.thresholds))
        except (TypeError, ValueError):
            raise ConfigError(
                f"thresholds {self.thresholds!r} are not numbers", how="give extents from 0 to 1"
            ) from None
        bounds = self.thresholds
        if len(bounds) != len(self.names) - 1 or len(set(self.names)) != len(self.names):
            raise ConfigError(
                f"{len(bounds)} thresholds do not fit the classes {', '.join(self.names)}",
                how="give one threshold fewer than classes, each class a name of its own",
            )
        if not all(0 <= bound < 1 for bound in bounds) or any(a >= b for a, b in pairwise(bounds)):
            raise ConfigError(
                f"thresholds {list(bounds)} do not ascend within 0..1", how="give extents as fractions, 0.25 for 25 %"
            )

    def index(self, extent: float) -> int:
        """The class of an extent (0..1).

        Raises:
            ValueError: the extent is no number from 0 to 1.
        """
        if not 0 <= extent <= 1:
            raise ValueError(f"an extent lies in 0..1, got {extent}")
        return sum(extent >= bound if bound > 0 else extent > 0 for bound in self.thresholds)

    def name(self, extent: float | None) -> str | None:
        """The name of an extent's class; None where there is no extent."""
        return None if extent is None or np.isnan(extent) else self.names[self.index(extent)]

    def is_borderline(self, low: float, high: float) -> bool:
        """Whether an interval of the extent reaches into more than one class."""
        return self.index(low) != self.index(high)

    def __str__(self) -> str:
        """The rule in words, to be printed with each result."""
        lower = [f"{name} < {100 * bound:g} %" for name, bound in zip(self.names, self.thresholds, strict=False)]
        if self.thresholds and self.thresholds[0] == 0:
            lower[0] = f"{self.names[0]}: no lesion"
        return f"{', '.join(lower)}, {self.names[-1]} from there (extent = lesion / lung with lesion)"


# CT-0 to CT-4: Morozov et al., MosMedData (https://arxiv.org/abs/2005.06465), quarters of the lung.
SCALES = {
    "normal_mild_severe": SeverityScale(("normal", "mild", "severe"), (0.001, 0.25)),
    "ct0_ct4": SeverityScale(("CT-0", "CT-1", "CT-2", "CT-3", "CT-4"), (0.0, 0.25, 0.5, 0.75)),
}


def scale(name: str = "normal_mild_severe", thresholds: Sequence[float] | None = None) -> SeverityScale:
    """A scale by its name, with its own thresholds or others.

    Raises:
        ConfigError: an unknown name, or thresholds that do not fit.
    """
    if name not in SCALES:
        raise ConfigError(f"there is no severity scale {name!r}", how=f"choose one of {', '.join(SCALES)}")
    known = SCALES[name]
    return known if thresholds is None else SeverityScale(known.names, tuple(thresholds))


def slice_counts(mask: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lesion pixels, and lung pixels with the lesion's among them, of each slice.

    Args:
        mask: (X, Y, Z): 0 background, 1 lung, 2 lesion.
    """
    return (mask == 2).sum(axis=(0, 1)).astype(np.int64), (mask > 0).sum(axis=(0, 1)).astype(np.int64)


def slice_extents(
    lesion: NDArray, lung: NDArray, area: int, floor_share: float = LUNG_FLOOR_SHARE
) -> NDArray[np.float64]:
    """Extent of each slice, 0..1; NaN where its lung with lesion is below the floor, so that nothing divides by it.

    Args:
        lesion, lung: (Z,) pixels, see ``slice_counts``.
        area: pixels of a slice.
        floor_share: part of that area.
    """
    enough = np.asarray(lung) >= max(floor_share * area, 1)
    return np.where(enough, np.asarray(lesion) / np.maximum(lung, 1), np.nan)


def volume_floor(voxels: int, spacing: Sequence[float] | None) -> float:
    """The lung voxels below which a case gets no extent: 1 % of the case, and no more than 100 mL.

    Args:
        voxels: of the whole case. spacing: millimetres along each axis; None for a picture.
    """
    share = max(LUNG_FLOOR_SHARE * voxels, 1.0)
    return share if spacing is None else max(min(share, LUNG_FLOOR_ML * 1000.0 / float(np.prod(spacing))), 1.0)


def volume_extent(lesion: float, lung: float, floor: float) -> float | None:
    """Extent of a case, 0..1; None below the floor (``volume_floor``)."""
    return float(lesion) / float(lung) if lung >= floor else None
