"""Grey pictures of CT slices and X-rays, as one plane each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.errors import UnsupportedImageError
from pipelines.readers.picture_file import (
    COLOUR_MODES,
    MIN_SIDE,
    SUFFIXES,
    check_halved,
    check_opaque,
    from_16_bit,
    open_picture,
    see_through,
)
from pipelines.readers.raw import RawImage

__all__ = ["PICTURE_AFFINE", "SUFFIXES", "read_picture"]

# An upright axial picture runs right to left and front to back, which is LPS; its millimetres are unknown.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
# JPEG moves the channels of a grey picture apart by a few levels near edges. More than 32 levels on more than one pixel
# in a thousand, or a mean above 6, is colour.
CHROMA_NOISE = 32
COLOUR_SHARE = 1e-3
COLOUR_MEAN = 6.0


def read_picture(path: Path, *, label: bool = False, smallest: int = MIN_SIDE, data: bytes | None = None) -> RawImage:
    """Read a picture as a one-slice image (W, H, 1), its EXIF orientation applied.

    Grey content in colour channels, a palette or CMYK becomes grey. 16-bit pictures keep values up to 255 as they are
    and are divided by 257 if they use the full 16-bit range. With `label`, whole numbers are kept as stored (a colour
    palette's indices, 16-bit values) and pictures of any size are let through.

    Args:
        smallest: pixels that each side must have.
        data: what the file holds, where it is in memory and not on disk.

    Raises:
        UnreadableFileError: missing, empty, truncated, corrupt, not a picture, or above 100 megapixels.
        UnsupportedImageError: animated, several pages, colour, see-through, under `smallest` pixels a side, or
            an odd pixel kind.
        IntensityError: a 16-bit picture whose scale cannot be known.
    """
    with open_picture(path, smallest=1 if label else smallest, data=data) as opened:
        if label and opened.halved:
            raise UnsupportedImageError("a label of 16-bit colours", where=path, how="save it as grey with 8 bits")
        check_halved(opened, path)
        plane = _grey_plane(opened.image, path, opened.notes, label)
    if opened.deep and not label:
        plane = from_16_bit(plane, path, opened.notes)
    array = np.ascontiguousarray(plane.T[:, :, None], dtype=np.float32)
    return RawImage(array, PICTURE_AFFINE.copy(), tuple(opened.notes), opened.orientation)


def _grey_plane(picture: Image.Image, path: Path, notes: list[str], label: bool) -> np.ndarray:
    """Turn any mode into one channel (H, W), or refuse it."""
    mode = picture.mode
    if mode in ("F", "I") or mode.startswith("I;16"):
        plane = np.asarray(picture)
        if "transparency" in picture.info and (plane == picture.info["transparency"]).any():
            raise see_through(path)
        return plane
    if mode == "P" and label:
        colours = np.array(picture.getpalette("RGB"), dtype=np.int16).reshape(-1, 3)
        used = colours[np.unique(np.asarray(picture)).clip(max=len(colours) - 1)]
        if np.ptp(used, axis=1).any():
            return np.asarray(picture)  # colours only mark the classes; the index is the class
    check_opaque(picture, path, notes)
    if mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L"))
    if mode not in COLOUR_MODES:
        raise UnsupportedImageError(
            f"pixels of the kind {mode} are not grey", where=path, how="save the picture as 8-bit grey"
        )
    colour = picture.convert("RGBA").convert("RGB") if mode == "PA" else picture.convert("RGB")
    channels = np.asarray(colour)
    spread = channels.max(axis=2) - channels.min(axis=2)
    if (spread > CHROMA_NOISE).mean() > COLOUR_SHARE or spread.mean() > COLOUR_MEAN:
        what = "label" if label else "picture"
        raise UnsupportedImageError(
            f"the {what} is in colour, and grey is due",
            where=path,
            how=f"save the {what} as grey, without coloured marks",
        )
    notes.append(f"grey content stored as {mode} was taken as grey")
    return np.asarray(colour.convert("L"))
