"""What phantoms and looks are drawn with: smooth noise, and discs with smooth rims."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Plane = NDArray[np.float32]
Pair = tuple[int, int]  # rows and columns

_STAMPED_AT_ONCE = 1 << 20  # pixels; bounds the memory of large pictures


def smooth_noise(rng: Generator, shape: Pair, length: float) -> Plane:
    """Noise (rows, columns) of mean 0 and standard deviation 1 that changes over about ``length`` pixels."""
    coarse = [max(round(n / max(length, 1.0)) + 2, 3) for n in shape]
    noise = rng.standard_normal(coarse, dtype=np.float32)
    zoom = [n / c for n, c in zip(shape, coarse, strict=True)]
    noise = ndimage.zoom(noise, zoom, order=3 if length > 4 else 1, grid_mode=True, mode="nearest")
    noise -= noise.mean()
    noise /= max(float(noise.std()), 1e-6)
    return noise


def stamp_discs(shape: Pair, centres: ArrayLike, radii: ArrayLike, opacities: ArrayLike) -> Plane:
    """Cover (rows, columns), 0..1, of discs with smooth rims; where they overlap, the most opaque one counts.

    Args:
        shape: rows and columns.
        centres: (N, 2) in pixels, row and column; what lies outside is left out.
        radii: (N,) or one, in pixels; below half a pixel a disc pales instead of shrinking.
        opacities: (N,) or one, 0..1.
    """
    centres = np.asarray(centres, np.float32).reshape(-1, 2)
    radii, opacities = (np.broadcast_to(np.asarray(each, np.float32), len(centres)) for each in (radii, opacities))
    reach = int(np.ceil(radii.max(initial=0) + 0.5))
    seen = ((centres > -reach) & (centres < np.array(shape) - 1 + reach)).all(axis=1)
    centres, radii, opacities = centres[seen], radii[seen], opacities[seen]
    width = shape[1] + 4 * reach + 2
    canvas = np.zeros((shape[0] + 4 * reach + 2) * width, np.float32)  # with a rim, so that no index needs a check
    offsets = np.arange(-reach, reach + 1)
    step = max(_STAMPED_AT_ONCE // offsets.size**2, 1)
    for i in range(0, len(centres), step):
        part = slice(i, i + step)
        pixel = np.rint(centres[part]).astype(np.int64)
        away = ((pixel - centres[part])[:, :, None] + offsets) ** 2
        cover = soft_rim(radii[part, None, None], np.sqrt(away[:, 0, :, None] + away[:, 1, None, :]))
        cover *= opacities[part, None, None]
        row, column = np.moveaxis(pixel[:, :, None] + offsets + 2 * reach, 1, 0)
        index = row[:, :, None] * width + column[:, None]
        drawn = cover > 0
        np.maximum.at(canvas, index[drawn], cover[drawn].astype(np.float32))
    framed = canvas.reshape(-1, width)[2 * reach :, 2 * reach :]
    return framed[: shape[0], : shape[1]].copy()


def soft_rim(radius: Plane | np.float32, distance: Plane) -> Plane:
    """Cover of a pixel so far from the middle of a stroke of this half width; below half a pixel it pales instead."""
    return np.clip(radius + 0.5 - distance, 0, np.minimum(2 * radius, 1))
