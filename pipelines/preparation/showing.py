"""How images and their labels are shown: the colours of labels, and the values between black and white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), told apart with any colour vision, in the order of the
# labels; after the last the first comes again. Their black would not be seen.
LABEL_COLOURS = (
    (86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0), (0, 114, 178),
)  # fmt: skip
_FEW = 10**6  # voxels that a window is estimated from


def colour_of(label: int) -> tuple[int, int, int]:
    """The colour of a label, from 1 on."""
    return LABEL_COLOURS[(label - 1) % len(LABEL_COLOURS)]


def value_window(image: NDArray) -> tuple[float, float]:
    """The values shown as black and as white: the 1st and the 99th percentile; the extremes where these are equal."""
    few = image.ravel(order="K")[:: max(1, image.size // _FEW)]
    low, high = (float(value) for value in np.percentile(few, (1, 99)))
    if low == high:
        low, high = float(image.min()), float(image.max())
    return low, high if high > low else low + 1.0


def windowed(image: NDArray, window: tuple[float, float]) -> NDArray[np.float32]:
    """Values as 0..1 between those of a window."""
    low, high = window
    return np.clip((image.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
