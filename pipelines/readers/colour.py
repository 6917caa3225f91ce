"""Colour pictures (dermoscopy), 8-bit RGB and upright, and the masks that lie on them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from PIL import Image

from pipelines.errors import IntensityError, LabelError, UnsupportedImageError
from pipelines.readers.address import Place, locate, told_of
from pipelines.readers.dicom_picture import read_photograph_dicom
from pipelines.readers.kinds import DICOM, is_folder, kind_of, unless_picture
from pipelines.readers.label import read_label_noted
from pipelines.readers.picture import PICTURE_AFFINE
from pipelines.readers.picture_file import (
    COLOUR_MODES,
    MIN_SIDE,
    SUFFIXES,
    OpenPicture,
    check_halved,
    check_opaque,
    from_16_bit,
    open_picture,
    see_through,
)
from pipelines.readers.raw import Grid

# JPEG's ringing beside an outline stays within these levels of black and white; what lies between is a soft edge, whose
# place nobody can know.
NEAR_BLACK, NEAR_WHITE = 15, 240


@dataclass(frozen=True, eq=False)
class ColourPicture:
    """A colour picture that has passed every check.

    Attributes:
        array: uint8 (3, W, H), RGB, upright.
        path: the file.
        notes: what was changed on the way, where the result is still right. Without any, the file holds 8-bit RGB,
            upright.
        file_format: "PNG", "JPEG", "BMP", "TIFF", "WEBP", "HEIF" or "DICOM", whatever the file's name says.
        orientation: the EXIF orientation that it was stored in, 1 to 8; 1 is upright.
    """

    array: np.ndarray
    path: Path
    notes: tuple[str, ...] = field(default=())
    file_format: str = ""
    orientation: int = 1

    kind: ClassVar[Literal["picture"]] = "picture"
    spacing: ClassVar[None] = None


class PictureMask(NamedTuple):
    """A mask on its picture's grid: array is uint8 (W, H) of 0 and 1, notes say what was changed on the way."""

    array: np.ndarray
    notes: tuple[str, ...]


def read_colour(path: str | os.PathLike[str], *, data: bytes | None = None) -> ColourPicture:
    """Read a picture as 8-bit RGB, its EXIF orientation applied; of DICOM a photograph (`read_photograph_dicom`).

    Grey, palette, CMYK and YCbCr pictures become RGB, an opaque alpha channel is dropped, each with a note. 16-bit grey
    is scaled as in CT slices, of 16-bit colours the upper 8 bits are taken. Colour profiles are not applied. Memory: at
    most two copies at 8 bits a channel.

    Args:
        data: what a picture file holds, where it is in memory and not on disk.

    Raises:
        UnreadableFileError: missing, empty, truncated, corrupt, not a picture, or above 100 megapixels.
        UnsupportedImageError: animated, several pages, see-through, under 32 pixels a side, or an odd
            pixel kind.
        IntensityError: all pixels are equal, or a 16-bit picture whose scale cannot be known.
    """
    path = Path(path)
    place = Place(path) if data is not None else locate(path)
    with told_of(place, path):
        if data is None and kind_of(place.path) == DICOM and not is_folder(place.path):
            array, notes = read_photograph_dicom(place.path, MIN_SIDE)
            _check_something(array, path)
            return ColourPicture(array, path, notes, "DICOM")
        if data is None:
            unless_picture(place.path)
        with open_picture(place.path, data=data) as opened:
            check_halved(opened, path)
            array = _grey_as_rgb(opened, path) if _is_grey(opened.image) else _rgb(opened, path)
    _check_something(array, path)
    return ColourPicture(array, path, tuple(opened.notes), opened.file_format, opened.orientation)


def read_mask_of(path: str | os.PathLike[str], picture: ColourPicture) -> PictureMask:
    """Read the lesion mask of a picture: 0 with 1 or 255, in grey, equal RGB channels, a palette or one bit.

    Values of up to 15 levels from 0 and 255 (a JPEG's) are brought to 0 and 1, with a note. A mask that lies on its
    side as the picture did before its EXIF orientation was applied is turned likewise, with a note.

    Raises:
        UnreadableFileError, UnsupportedImageError: as `read_label`; also a mask that is no picture.
        LabelError: other values, or an empty mask.
        GeometryError: the mask has another size than its picture.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise UnsupportedImageError("the mask of a picture is a picture", where=path, how="save it as PNG")
    width, height = picture.array.shape[1:]
    grid = Grid((width, height, 1), PICTURE_AFFINE, picture.kind, picture.path.name, picture.orientation)
    label, turned = read_label_noted(path, grid)
    notes = list(turned)
    mask = _zero_or_one(label[:, :, 0], path, notes)
    if not mask.any():
        raise LabelError("the mask is empty: no pixel is lesion", where=path, how="outline it, or leave the case out")
    return PictureMask(mask, tuple(notes))


def _check_something(array: np.ndarray, path: Path) -> None:
    first = array[:, 0, 0]
    if all((channel == level).all() for channel, level in zip(array, first, strict=True)):
        raise IntensityError(
            f"every pixel has the colour {tuple(first.tolist())}", where=path, how="give a picture that shows something"
        )


def _is_grey(picture: Image.Image) -> bool:
    return picture.mode in ("1", "L", "LA") or picture.mode.startswith("I;16")


def _grey_as_rgb(opened: OpenPicture, path: Path) -> np.ndarray:
    picture, notes = opened.image, opened.notes
    if opened.deep:
        plane = np.asarray(picture)
        if "transparency" in picture.info and (plane == picture.info["transparency"]).any():
            raise see_through(path)
        plane = np.rint(from_16_bit(plane, path, notes)).astype(np.uint8)
    else:
        check_opaque(picture, path, notes)
        plane = np.asarray(picture.convert("L"))
    notes.append("a grey picture was given three equal channels")
    return np.ascontiguousarray(np.broadcast_to(plane.T, (3, *plane.T.shape)))


def _rgb(opened: OpenPicture, path: Path) -> np.ndarray:
    picture, notes = opened.image, opened.notes
    if picture.mode not in COLOUR_MODES:
        raise UnsupportedImageError(
            f"pixels of the kind {picture.mode} are not a photograph's", where=path, how="save it as 8-bit RGB"
        )
    check_opaque(picture, path, notes)
    if picture.mode not in ("RGB", "RGBA", "RGBX"):
        notes.append(f"pixels stored as {picture.mode} became RGB")
        picture = picture.convert("RGBA") if picture.mode == "PA" else picture.convert("RGB")
    array = np.empty((3, *picture.size), dtype=np.uint8)
    for channel, name in enumerate("RGB"):  # one at a time: a third of the memory
        array[channel] = np.asarray(picture.getchannel(name)).T
    return array


def _zero_or_one(values: np.ndarray, path: Path, notes: list[str]) -> np.ndarray:
    found = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    if found[-1] <= 1:
        return values
    soft = found[(found > NEAR_BLACK) & (found < NEAR_WHITE)]
    if soft.size or found[-1] < NEAR_WHITE:
        shown = ", ".join(map(str, found[:8])) + (", ..." if found.size > 8 else "")
        raise LabelError(
            f"the mask holds the values {shown}",
            where=path,
            how="0 with 1 or 255 is due; save masks as PNG, never JPEG, and do not resize them smoothly",
        )
    if not set(found.tolist()) <= {0, 255}:
        notes.append("values near 0 and 255 in the mask were brought to 0 and 1")
    return (values >= NEAR_WHITE).astype(np.uint8)
