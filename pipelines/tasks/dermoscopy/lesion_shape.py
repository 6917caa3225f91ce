"""What a mask says of a skin lesion: how large it is and where; and a picture with its outline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

OUTLINE = (0, 255, 255)  # cyan: a colour that no skin, lesion or ink in these pictures has
OVERLAY_SIDE = 1600  # pixels; an overlay is for looking at


def measure_lesion(mask: NDArray) -> dict[str, Any]:
    """Size and place of what a mask covers, in pixels: a picture alone does not say how large a pixel is.

    Args:
        mask: (W, H), above 0 where there is lesion.

    Returns:
        ``area_px``; ``area_share`` of the picture, 0..1; ``parts``, bodies that do not touch (8-neighbourhood);
        ``diameter_px``, the largest distance between two of its pixels' outer edges (Feret's), and
        ``equivalent_diameter_px`` of a disc of the same area; ``box_px``: left, top, width, height; ``touches_border``.
        Sizes are 0 and the box is None where there is no lesion.
    """
    found = np.asarray(mask) > 0
    area = int(np.count_nonzero(found))
    measured: dict[str, Any] = {
        "area_px": area,
        "area_share": round(area / found.size, 6),
        "parts": int(ndimage.label(found, np.ones((3, 3)))[1]),
        "diameter_px": round(_feret(found), 1),
        "equivalent_diameter_px": round(float(np.sqrt(4 * area / np.pi)), 1),
        "box_px": None,
        "touches_border": False,
    }
    if area:
        left, right = np.flatnonzero(found.any(axis=1))[[0, -1]].tolist()
        top, bottom = np.flatnonzero(found.any(axis=0))[[0, -1]].tolist()
        measured["box_px"] = {"left": left, "top": top, "width": right - left + 1, "height": bottom - top + 1}
        measured["touches_border"] = (
            left == 0 or top == 0 or right == found.shape[0] - 1 or bottom == found.shape[1] - 1
        )
    return measured


def _feret(found: NDArray[np.bool_]) -> float:
    """The largest distance between two corners of pixels of the mask: of the first and last ones of each column, which
    are all that its convex hull can have. (skimage's ``feret_diameter_max`` compares all points of the contour, and a
    camera's picture has too many.)"""
    columns = np.flatnonzero(found.any(axis=1))
    if not columns.size:
        return 0.0
    inside = found[columns]
    first = inside.argmax(axis=1)
    last = found.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    corners = np.concatenate(
        [np.stack([columns + x, ends], axis=1) for x in (0, 1) for ends in (first, last + 1)]
    ).astype(np.float64)
    return float(pdist(corners[ConvexHull(corners).vertices]).max())


def outlined(picture: NDArray[np.uint8], mask: NDArray) -> NDArray[np.uint8]:
    """A picture with the lesion's outline, made smaller if its longer side is above ``OVERLAY_SIDE``.

    Args:
        picture: (3, W, H) RGB.
        mask: (W, H), above 0 where there is lesion.

    Returns:
        uint8 (H, W, 3), rows and columns as a person sees them.
    """
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(2, 1, 0)))
    drawn = Image.fromarray(np.ascontiguousarray(np.asarray(mask).T > 0).astype(np.uint8) * 255)
    factor = OVERLAY_SIDE / max(image.size)
    if factor < 1:
        size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
        image, drawn = image.resize(size, Image.Resampling.BOX), drawn.resize(size, Image.Resampling.NEAREST)
    pixels, inside = np.array(image), np.asarray(drawn) > 0
    width = max(1, round(max(image.size) / 500))
    edge = inside & ~ndimage.binary_erosion(inside)  # also along the border of the picture
    if width > 1:
        edge = ndimage.binary_dilation(edge, iterations=width - 1)
    around = ndimage.binary_dilation(edge, iterations=1) & ~edge
    pixels[around] = 0  # a dark seam, so that the line shows on light skin and in grey too
    pixels[edge] = OUTLINE
    return pixels
