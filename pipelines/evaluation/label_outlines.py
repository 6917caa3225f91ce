"""Label maps drawn over their images: an outline a label, on a picture or on slices of a volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipelines.preparation.showing import colour_of, value_window, windowed

TILES = 12  # slices shown of a volume
OVERLAY_SIDE = 1600  # pixels of the longer side of a picture's overlay, at most
_MOST_STRETCHED = 20.0  # times that a pixel is drawn longer than it is wide
_CROSS = ndimage.generate_binary_structure(2, 1)


def outline_labels(picture: NDArray[np.uint8], labels: NDArray[np.uint8], width: int = 1) -> NDArray[np.uint8]:
    """A picture with an outline a label: the pixels of a label that touch one of a smaller value, or the border.

    Args:
        picture: (rows, columns, 3), 0..255.
        labels: (rows, columns); 0 is background.
        width: of the lines, in pixels; from 2 on they have a dark seam, to be seen on any ground.

    Returns:
        A copy, (rows, columns, 3).
    """
    drawn = picture.copy()
    edge = labels * (ndimage.minimum_filter(labels, footprint=_CROSS, mode="constant", cval=0) < labels)
    if width > 1:
        for _ in range(width - 1):
            edge = np.where(edge > 0, edge, ndimage.maximum_filter(edge, footprint=_CROSS))
        drawn[ndimage.binary_dilation(edge > 0, _CROSS) & (edge == 0)] = 0
    for label in np.unique(edge[edge > 0]).tolist():
        drawn[edge == label] = colour_of(label)
    return drawn


def outlined_picture(picture: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with outlines, made smaller if its longer side is above ``OVERLAY_SIDE``.

    Args:
        picture: (3, W, H), RGB.
        labels: (W, H).

    Returns:
        uint8 (H, W, 3), rows and columns as a person sees them.
    """
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(2, 1, 0)))
    drawn = Image.fromarray(np.ascontiguousarray(labels.T))
    factor = OVERLAY_SIDE / max(image.size)
    if factor < 1:
        size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
        image, drawn = image.resize(size, Image.Resampling.BOX), drawn.resize(size, Image.Resampling.NEAREST)
    return outline_labels(np.asarray(image), np.asarray(drawn), max(1, round(max(image.size) / 500)))


def outlined_slices(
    image: NDArray[np.float32], labels: NDArray[np.uint8], spacing: tuple[float, float, float] | None = None
) -> NDArray[np.uint8]:
    """Up to ``TILES`` slices of a volume side by side, spread evenly through the labelled part; of a volume without any
    label, through all of it.

    Args:
        image: (X, Y, Z) in LPS order, of any values: the window is that of ``value_window``.
        labels: (X, Y, Z) in the same order.
        spacing: millimetres along X, Y, Z; pixels that are not square are drawn at their true proportions.

    Returns:
        uint8 (rows, columns, 3); slices run from feet to head, left to right, top to bottom.
    """
    shown = np.flatnonzero(labels.any(axis=(0, 1)))
    if shown.size == 0:
        shown = np.arange(labels.shape[2])
    chosen = sorted(set(shown[np.linspace(0, shown.size - 1, min(TILES, shown.size)).round().astype(int)].tolist()))
    window = value_window(image)
    size = tile_size(image.shape[:2], spacing)
    tiles = []
    for z in chosen:
        grey = windowed(resized(image[:, :, z], size, 1), window) * 255
        upright = np.repeat(grey.astype(np.uint8).T[:, :, None], 3, axis=2)
        tiles.append(outline_labels(upright, np.ascontiguousarray(resized(labels[:, :, z], size, 0).T)))
    return side_by_side(tiles)


def side_by_side(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Tiles of one size in rows of four, the last row filled up with black."""
    columns = min(4, len(tiles))
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)])


def tile_size(shape: tuple[int, ...], spacing: tuple[float, float, float] | None) -> tuple[int, int]:
    """The pixels (X, Y) of a slice that is drawn: square ones, none of them larger than they were.

    Args:
        shape: (X, Y) voxels.
        spacing: millimetres along X, Y, Z; None where unknown.
    """
    x, y = shape
    if spacing is None or abs(spacing[0] / spacing[1] - 1) < 0.01:
        return x, y
    fine = min(spacing[:2])
    factors = [min(step / fine, _MOST_STRETCHED) for step in spacing[:2]]
    return max(round(x * factors[0]), 1), max(round(y * factors[1]), 1)


def resized(plane: NDArray, size: tuple[int, int], order: int) -> NDArray:
    """A plane (X, Y) at another size; order 1 interpolates, 0 takes the nearest."""
    if plane.shape == size:
        return plane
    factors = (size[0] / plane.shape[0], size[1] / plane.shape[1])
    return ndimage.zoom(plane, factors, order=order, grid_mode=True, mode="nearest")
