"""The size and shape of what a mask outlines, in a few numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_LEAST = 1e-4  # of the image: smaller parts are specks


@dataclass(frozen=True)
class MaskShape:
    """Of the highest label, the innermost of what is outlined.

    Attributes:
        share: of all that is labelled where there are further labels (lesion of lung), else of the image; 0..1.
        specks: of a picture, connected parts below a ten-thousandth of it.
        roundness: of a picture's largest part, 4 pi area over the square of the number of pixels at its rim, at most 1
            (a disc); None for volumes and without one.
        values: the labels that there are.
    """

    share: float
    specks: int
    roundness: float | None
    values: tuple[int, ...]


def mask_shape(mask: NDArray) -> MaskShape:
    """Measure a mask (X, Y, Z). Its label is counted as it is stored: 255 is one label, as 1 is."""
    values = [int(value) for value in _values(mask) if value != 0]
    if not values:
        return MaskShape(0.0, 0, None, ())
    inner = mask == values[-1]
    share = int(np.count_nonzero(inner)) / (int(np.count_nonzero(mask)) if len(values) > 1 else mask.size)
    if mask.shape[2] > 1:
        return MaskShape(share, 0, None, tuple(values))
    found, _ = ndimage.label(inner[:, :, 0])
    sizes = np.bincount(found.ravel())[1:]
    largest = np.pad(found == int(np.argmax(sizes)) + 1, 1)
    middle = largest[1:-1, 1:-1]
    within = largest[:-2, 1:-1] & largest[2:, 1:-1] & largest[1:-1, :-2] & largest[1:-1, 2:]
    rim = int(np.count_nonzero(middle & ~within))
    roundness = min(4 * math.pi * int(sizes.max()) / max(rim, 1) ** 2, 1.0)
    return MaskShape(share, int(np.count_nonzero(sizes < _LEAST * mask.size)), roundness, tuple(values))


def _values(mask: NDArray) -> list[int]:
    if mask.dtype == np.uint8:
        return np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    return np.unique(mask).tolist()
