"""The frame in which the networks see a slice: the box of the lungs in a scan, the body in a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage

from pipelines.tasks.lung_ct.lungs import body_mask, derive_lung_mask

MARGIN = 0.04  # of the box's side, added on each side: the pleura stays in the frame
MIN_LUNG_BOX = 0.5  # of the box of the body: one lung alone, a trachea or bowel gas is no ground to crop by
PLANE = 256  # the masks are made at no more than this many pixels a side: a box needs no more
SLICES = 64  # and on no more than this many slices


def select_chest(image: torch.Tensor) -> torch.Tensor:
    """What to keep, for ``CropForegroundd(select_fn=select_chest)``: one box in the plane, the same for all slices.

    A volume is framed by its lungs, so that it fills the frame as the pictures of the training set do. A single slice
    whose lungs are cut by the picture's edge is framed by its body, which is the whole picture then.

    Args:
        image: (1, X, Y, Z) in the lung window, 0..1, any orientation in the plane.

    Returns:
        (1, X, Y, Z) bool, True inside the box; all True where nothing is found.
    """
    array = np.asarray(image)[0]
    step = max(1, -(-max(array.shape[:2]) // PLANE))
    z_step = max(1, -(-array.shape[2] // SLICES))
    small = array[::step, ::step, ::z_step]
    body = _box(body_mask(small).any(axis=2))
    keep = torch.zeros((*image.shape[:3], 1), dtype=torch.bool)  # of one slice, seen as all: a long volume is large
    if body is None:
        return (~keep).expand(image.shape)
    box = _lung_box(small, body) or body
    (x0, x1), (y0, y1) = (
        (max(0, low * step - _margin(low, high, step)), min(side, high * step + _margin(low, high, step)))
        for (low, high), side in zip(box, array.shape[:2], strict=True)
    )
    keep[:, x0:x1, y0:y1] = True
    return keep.expand(image.shape)


def _margin(low: int, high: int, step: int) -> int:
    return round(MARGIN * (high - low) * step)


def _lung_box(small: np.ndarray, body: list[tuple[int, int]]) -> list[tuple[int, int]] | None:
    lungs = derive_lung_mask(small)
    if small.shape[2] > 2:  # what appears in one slice only is gas or noise
        lungs = ndimage.binary_opening(lungs, structure=np.ones((1, 1, 2), dtype=bool))
    box = _box(lungs.any(axis=2))
    if box is None:
        return None
    touches = any(low == 0 or high == side for (low, high), side in zip(box, small.shape[:2], strict=True))
    large = all(b - a >= MIN_LUNG_BOX * (d - c) for (a, b), (c, d) in zip(box, body, strict=True))
    return box if large and not touches else None


def _box(mask: Any) -> list[tuple[int, int]] | None:
    """(first, last + 1) along each axis of a 2D mask, or None where it is empty."""
    if not mask.any():
        return None
    ends = [np.flatnonzero(mask.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    return [(int(low), int(high) + 1) for low, high in ends]
