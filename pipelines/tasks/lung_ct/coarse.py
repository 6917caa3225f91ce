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
    short = [-side % step for side in mask.shape[:2]]
    padded = np.pad(mask, [(0, short[0]), (0, short[1]), (0, 0)]) if any(short) else mask
    x, y, z = padded.shape
    return np.asarray(padded.reshape(x // step, step, y // step, step, z).any(axis=(1, 3)))


def part_sizes(parts: NDArray[np.int32], count: int) -> NDArray[np.intp]:
    """How many voxels each part of a volume (X, Y, Z) has, 0 to ``count``: ``np.bincount``, which would copy the volume
    in eight bytes a voxel, slice by slice."""
    sizes = np.zeros(count + 1, dtype=np.intp)
    for plane in np.moveaxis(parts, 2, 0):
        few = np.bincount(plane.ravel())
        sizes[: len(few)] += few
    return sizes


def finer(plane: NDArray[np.bool_], step: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A coarse plane (or planes, Z last) at its first size (X, Y)."""
    return plane.repeat(step, axis=0).repeat(step, axis=1)[: shape[0], : shape[1]]
