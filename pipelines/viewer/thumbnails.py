"""Small pictures of cases for the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.viewer.images import Shown

SIDE = 112  # pixels
_COLUMNS = 4  # of slices in the overlay of a volume
_COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167))  # Okabe and Ito's


def from_overlay(overlay: Image.Image, report: Mapping[str, Any]) -> Image.Image:
    """Of the picture that a writer made: one of a volume's slices, and the half with the class activation."""
    shape, size = report.get("shape"), report.get("size_px")
    if report.get("kind") == "volume" and report.get("labels") and isinstance(shape, list) and len(shape) == 3:
        overlay = _one_slice(overlay, shape)
    elif isinstance(size, dict) and size.get("width") and overlay.width == 2 * size["width"]:
        overlay = overlay.crop((size["width"], 0, overlay.width, overlay.height))
    return _small(overlay)


def from_image(shown: Shown, mask: NDArray[np.uint8] | None) -> Image.Image:
    """Of an image itself, with the outlines of its mask: a volume's slice with the most of its highest label."""
    if shown.kind == "picture":
        with Image.open(shown.file) as opened:
            plane = np.array(opened.convert("RGB"))
        drawn = None if mask is None else mask[:, :, 0].T
    else:
        z = shown.shape[2] // 2
        if mask is not None and mask.any():
            counts = [np.count_nonzero(mask[:, :, k] == mask.max()) for k in range(mask.shape[2])]
            z = int(np.argmax(counts))
        plane, drawn = _slice(shown, z), None if mask is None else mask[::-1, ::-1, z].T
    if drawn is not None:
        for value in range(1, int(drawn.max(initial=0)) + 1):
            region = drawn >= value
            inner = region.copy()
            inner[1:-1, 1:-1] = (
                region[1:-1, 1:-1] & region[:-2, 1:-1] & region[2:, 1:-1] & region[1:-1, :-2] & region[1:-1, 2:]
            )
            plane[region & ~inner] = _COLOURS[(value - 1) % len(_COLOURS)]
    return _small(Image.fromarray(plane))


def _slice(shown: Shown, z: int) -> NDArray[np.uint8]:
    """An axial slice as a radiologist sees it, (Y, X, 3), in the lung window where its values are HU."""
    x, y, _ = shown.shape
    dtype = np.uint8 if shown.intensity == "display" else np.int16
    offset = 352 + z * x * y * np.dtype(dtype).itemsize
    flat = np.fromfile(shown.file, dtype, count=x * y, offset=offset)
    values = flat.reshape((x, y), order="F")[::-1, ::-1].T.astype(np.float32)
    if shown.intensity != "display":
        values = (values + np.float32(1350)) * np.float32(255 / 1500)
    return np.repeat(values.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _one_slice(sheet: Image.Image, shape: list[int]) -> Image.Image:
    """A slice near the middle of a sheet of four columns; one of fewer slices is shown whole."""
    if not all(isinstance(each, int) and each > 0 for each in shape):
        return sheet
    width = sheet.width / _COLUMNS
    rows = min(range(1, 4), key=lambda number: abs(sheet.height / number / width - shape[1] / shape[0]))
    if abs(sheet.height / rows / width - shape[1] / shape[0]) > 0.3:
        return sheet
    height = sheet.height / rows
    left, top = width * (_COLUMNS // 2), height * (rows // 2)
    return sheet.crop((round(left), round(top), round(left + width), round(top + height)))


def _small(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    return picture
