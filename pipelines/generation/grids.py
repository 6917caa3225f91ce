"""Pictures side by side: samples of a generator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_GAP = 2  # pixels between pictures
_GREY = 64  # between them


def grey_pictures(pictures: Tensor) -> NDArray[np.uint8]:
    """Network pictures, N x 1 x W x H of -1..1, as they are seen: uint8 (N, rows, columns)."""
    scaled = (pictures[:, 0].detach().float().cpu() + 1) * 127.5
    return np.ascontiguousarray(scaled.clamp(0, 255).round().numpy().astype(np.uint8).transpose(0, 2, 1))


def grid(pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], columns: int | None = None) -> NDArray[np.uint8]:
    """Pictures of one size, uint8 (N, rows, columns), as one, row by row; ``columns`` default to a square's."""
    shown = np.asarray(pictures)
    across = columns or math.ceil(math.sqrt(len(shown)))
    down = math.ceil(len(shown) / across)
    height, width = shown.shape[1] + _GAP, shown.shape[2] + _GAP
    canvas = np.full((down * height - _GAP, across * width - _GAP), _GREY, np.uint8)
    for index, picture in enumerate(shown):
        row, column = divmod(index, across)
        top, left = row * height, column * width
        canvas[top : top + shown.shape[1], left : left + shown.shape[2]] = picture
    return canvas
