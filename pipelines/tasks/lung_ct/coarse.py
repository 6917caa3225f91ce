"""Volumes looked at coarsely in the plane: what hangs together shows at 256 pixels a side, in a quarter of the room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PLANE = 256  # pixels a side that suffice to tell lungs from what is none


def step_of(shape: tuple[int, ...]) -> int:
    """How many pixels (X, Y) of a volume make one, so that no more than ``PLANE`` are left a side."""
    return max(1, -(-max(shape[:2]) // PLANE))


def coarser(mask: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """A mask (X, Y, Z) in pixels of ``step`` by ``step``, True where any of them is."""
    if step == 1:
        return mask
    padded = np.pad(mask, [(0, -mask.shape[0] % step), (0, -mask.shape[1] % step), (0, 0)])
    x, y, z = padded.shape
    return np.asarray(padded.reshape(x // step, step, y // step, step, z).any(axis=(1, 3)))


def finer(plane: NDArray[np.bool_], step: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A coarse plane (or planes, Z last) at its first size (X, Y)."""
    return plane.repeat(step, axis=0).repeat(step, axis=1)[: shape[0], : shape[1]]
