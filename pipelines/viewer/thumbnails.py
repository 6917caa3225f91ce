"""Small pictures of cases for the list."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray
from PIL import Image

from pipelines.evaluation.label_outlines import tile_size
from pipelines.preparation.showing import colour_of
from pipelines.viewer.images import Shown

SIDE = 112  # pixels


def from_overlay(overlay: Image.Image, report: Mapping[str, Any], mask: Path | None = None) -> Image.Image:
    """Of the picture that a writer made: one of a volume's slices, and the half with the class activation.

    Args:
        overlay: the picture.
        report: of the case.
        mask: the predicted mask, whose header says how large the slices of the picture are; without it, or where they
            do not fill the picture, the whole is shown.
    """
    size = report.get("size_px")
    width = size.get("width") if isinstance(size, dict) else None
    if report.get("kind") == "volume" and report.get("labels"):
        tile = None if mask is None else _tile(mask)
        overlay = overlay if tile is None else _one_slice(overlay, *tile)
    elif isinstance(width, int) and width > 0 and overlay.width == 2 * width:
        overlay = overlay.crop((width, 0, overlay.width, overlay.height))
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
            plane[region & ~inner] = colour_of(value)
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


def _tile(mask: Path) -> tuple[int, int] | None:
    """How large an axial slice is in the overlay, (width, height), whatever axes the file has."""
    try:
        header = cast(nib.Nifti1Image, nib.load(mask))
        turn = orientations.io_orientation(header.affine)
        axes = [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in range(3)]
        steps = np.linalg.norm(header.affine[:3, :3], axis=0)
        x, y, z = (float(steps[axis]) for axis in axes)
        return tile_size((header.shape[axes[0]], header.shape[axes[1]]), (x, y, z))
    except (OSError, ValueError, IndexError, EOFError, ArithmeticError, zlib.error, ImageFileError, HeaderDataError):
        return None


def _one_slice(sheet: Image.Image, width: int, height: int) -> Image.Image:
    """A slice near the middle of a sheet of slices; a sheet that they do not fill is shown whole."""
    columns, rows = sheet.width // width, sheet.height // height
    if (columns * width, rows * height) != sheet.size:
        return sheet
    left, top = width * (columns // 2), height * ((rows - 1) // 2)  # of the last row of several a part may be empty
    return sheet.crop((left, top, left + width, top + height))


def _small(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    return picture
