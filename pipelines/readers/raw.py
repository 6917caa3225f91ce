"""What the readers share: the image as stored on disk, and the checks that come before a file is opened."""

from __future__ import annotations

import math
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.errors import GeometryError, UnreadableFileError, UnsupportedImageError

# 2**30 voxels are 4 GiB as float32: a chest CT of 1024 slices of 1024x1024. Anything above is a broken or hostile
# header.
MAX_VOXELS = 2**30
# The two largest sides of a volume; no CT is smaller, and networks halve the side four times.
MIN_VOLUME_SIDE = 16
# Millimetres. Micro-CT lies below, metres mistaken for millimetres far below, and slices are nowhere 50 mm apart.
SPACING_RANGE = (0.05, 50.0)


class RawImage(NamedTuple):
    """An image before its intensities are judged.

    array is float32 (X, Y, Z), affine float64 4x4 to RAS millimetres, notes say what was changed on the way,
    orientation is the EXIF orientation that a picture was stored in (1 upright).
    """

    array: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...]
    orientation: int = 1


class Grid(NamedTuple):
    """Where an image's voxels lie: its shape (X, Y, Z), its affine to RAS millimetres, "picture" or "volume", its name
    for messages, and the EXIF orientation that it was stored in."""

    shape: tuple[int, int, int]
    affine: np.ndarray
    kind: str
    name: str
    orientation: int = 1


def file_size(path: Path) -> int:
    """Size of a regular, non-empty file in bytes.

    Raises:
        UnreadableFileError: the file is missing, empty, not a regular file, or may not be read.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UnreadableFileError("there is no such file", where=path, how="check the path") from None
    except (OSError, ValueError) as error:
        raise UnreadableFileError(
            f"cannot be read ({error})", where=path, how="check the path and its rights"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFileError("is not a regular file", where=path, how="give an image file")
    if status.st_size == 0:
        raise UnreadableFileError("the file is empty", where=path, how="copy or export it again")
    return status.st_size


def check_volume_shape(shape: tuple[int, int, int], path: Path) -> None:
    """Refuse volumes too large to be true or too small to hold a slice.

    Raises:
        UnreadableFileError: more than MAX_VOXELS voxels, or none.
        UnsupportedImageError: a slice of under MIN_VOLUME_SIDE voxels a side.
    """
    if math.prod(shape) > MAX_VOXELS or min(shape) < 1:
        raise UnreadableFileError(f"the header states an absurd size {shape}", where=path, how="export the scan again")
    if sorted(shape)[1] < MIN_VOLUME_SIDE:
        raise UnsupportedImageError(
            f"the image of {shape} voxels is too small to be a scan",
            where=path,
            how="give the scan at its full size",
        )


def check_affine(affine: np.ndarray, path: Path) -> None:
    """Refuse affines that do not turn voxel indices into right-angled millimetres.

    Raises:
        GeometryError: not finite, singular, sheared, or a spacing outside SPACING_RANGE.
    """
    if not np.isfinite(affine).all():
        raise GeometryError("the orientation holds NaN or infinite numbers", where=path, how="export the scan again")
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    low, high = SPACING_RANGE
    if (spacing < low).any() or (spacing > high).any():
        shown = " x ".join(f"{value:g}" for value in spacing)
        raise GeometryError(
            f"the voxel spacing of {shown} mm cannot be that of a CT or another scan",
            where=path,
            how="correct the spacing (in millimetres)",
        )
    cosines = axes / spacing
    skew = np.abs(cosines.T @ cosines - np.eye(3)).max()
    if skew > 2e-3:  # 0.1 degree; a larger angle moves a far corner by more than a voxel
        raise GeometryError(
            "the voxel axes are not at right angles (sheared, or a tilted gantry)",
            where=path,
            how="resample the volume to a right-angled grid",
        )


def unset_grid_note(affine: np.ndarray) -> str:
    """A note where an affine is the one of an array that was saved without any: steps of 1 mm along the axes from 0.

    Such a file says neither how large its voxels are nor how it lies, though it looks as if it did.
    """
    steps = np.abs(affine[:3, :3])
    axes_alone = np.isin(steps, (0, 1)).all() and (steps.sum(axis=0) == 1).all() and (steps.sum(axis=1) == 1).all()
    if not axes_alone or affine[:3, 3].any():
        return ""
    return (
        "the affine is the identity, as where an array was saved without its own: voxel size and orientation are "
        "guessed, and volumes in mL are not to be trusted"
    )
