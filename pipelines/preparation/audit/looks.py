"""What an image looks like, small enough to keep for thousands at once and to hold each against each."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from pipelines.errors import GeometryError, UnreadableFileError, UnsupportedImageError
from pipelines.preparation.audit.items import Item
from pipelines.preparation.audit.mask_shape import MaskShape, mask_shape
from pipelines.readers.burned_in import text_like

SIDE = 64
PLANES = 24  # slices of a volume that are looked at, at equal steps
_REACH = 2.0  # of the contrast that is evened out, in pixels of the small picture
_FLOOR = 0.02  # of the local contrast: what differs less is noise
_LEAST_BOX = 8  # pixels of a side of what is labelled, below which it says nothing of the picture
TILE = 96  # pixels of the longer side of what is shown
_SEEN = 20_000  # pixels that black and white are taken from
_FLAT = 1e-3


@dataclass(frozen=True)
class Look:
    """What the audit keeps of an image.

    Attributes:
        digest: SHA-256 of what it shows: equal for equal images, whatever their file format.
        whole: (planes, 64, 64) float32, each of mean 0 and length 1: the slices (a picture is one) with their local
            contrast evened out; zeros where there is none.
        boxes: the same of the box around all that is labelled: it finds a slice in another crop. Zeros without one.
        masks: (planes, 64, 64) uint8, the labels; None without a mask.
        shape: of the mask as a whole; None without one.
        text: whether letters seem to be drawn into the middle plane (`text_like`).
        coarse: (32, 32) float32, the middle plane, 0..1: what classes are compared by.
        tiles: the planes, uint8 (columns, rows), their longer side 96 pixels: to be shown.
    """

    digest: str
    whole: NDArray[np.float32]
    boxes: NDArray[np.float32]
    masks: NDArray[np.uint8] | None
    shape: MaskShape | None
    text: bool
    coarse: NDArray[np.float32]
    tiles: list[NDArray[np.uint8]]


def look_at(item: Item) -> Look:
    """Read an entry's image and mask. Peak memory is one volume with its mask.

    Raises:
        UnreadableFileError, UnsupportedImageError: the file cannot be read, or is no picture or volume.
        GeometryError: the mask is of another shape.
    """
    image = _array(item.image)
    mask = _array(item.label) if isinstance(item.label, Path) else None
    if mask is not None and mask.shape != image.shape:
        raise GeometryError(
            f"the mask has the shape {mask.shape}, and the image {image.shape}",
            where=item.label if isinstance(item.label, Path) else None,
            how="prepare the data again",
        )
    depth = image.shape[2]
    chosen = np.unique(np.linspace(0.05 * (depth - 1), 0.95 * (depth - 1), min(depth, PLANES)).round().astype(int))
    few = image[:, :, chosen].astype(np.float32)
    low, high = (float(v) for v in np.percentile(few.ravel()[:: max(1, few.size // _SEEN)], (0.5, 99.5)))
    few = np.clip((few - low) / max(high - low, 1e-6), 0, 1)
    planes = [np.ascontiguousarray(few[:, :, k]) for k in range(few.shape[2])]
    labels = None if mask is None else [np.ascontiguousarray(mask[:, :, k]) for k in chosen]
    boxes = [_of_box(plane, None if labels is None else labels[k]) for k, plane in enumerate(planes)]
    return Look(
        digest=hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest(),
        whole=np.stack([evened(small(plane)) for plane in planes]),
        boxes=np.stack(boxes),
        masks=None if labels is None else np.stack([_small_mask(label) for label in labels]),
        shape=None if mask is None else mask_shape(mask),
        text=text_like(np.rint(planes[len(planes) // 2].T * 255).astype(np.uint8)),
        coarse=small(planes[len(planes) // 2]).reshape(32, 2, 32, 2).mean(axis=(1, 3)),
        tiles=[_tile(plane) for plane in planes],
    )


def small(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """A plane as 64 x 64, squashed."""
    way = Image.Resampling.BOX if min(plane.shape) > 2 * SIDE else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), way))


def evened(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """A small plane (0..1) without its slow changes, its local contrast the same everywhere: windows, gamma and
    equalised contrast are gone, edges and vessels stay. Mean 0 and length 1; zeros where nothing is seen."""
    if float(plane.std()) < _FLAT:
        return np.zeros_like(plane, np.float32)
    fine = plane - gaussian_filter(plane, _REACH)
    even = fine / (np.sqrt(gaussian_filter(fine**2, _REACH)) + _FLOOR)
    even -= even.mean()
    return (even / max(float(np.linalg.norm(even)), 1e-9)).astype(np.float32)


def _of_box(plane: NDArray[np.float32], label: NDArray | None) -> NDArray[np.float32]:
    nothing = np.zeros((SIDE, SIDE), np.float32)
    if label is None or not label.any():
        return nothing
    sides = [np.flatnonzero(label.any(axis=axis)) for axis in (1, 0)]
    (first, last), (left, right) = ((int(side[0]), int(side[-1]) + 1) for side in sides)
    if min(last - first, right - left) < _LEAST_BOX:
        return nothing
    return evened(small(np.ascontiguousarray(plane[first:last, left:right])))


def _tile(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    picture = Image.fromarray(np.rint(plane * 255).astype(np.uint8))
    picture.thumbnail((TILE, TILE))
    return np.asarray(picture)


def _small_mask(label: NDArray) -> NDArray[np.uint8]:
    values = np.clip(label, 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.NEAREST))


def _array(path: Path) -> NDArray:
    """(X, Y, Z) as stored; pictures upright and grey, (W, H, 1)."""
    name = path.name.lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            volume = np.asanyarray(nib.nifti1.load(path).dataobj)
            volume = volume[..., None] if volume.ndim == 2 else volume
            if volume.ndim != 3 or not volume.size or volume.dtype.kind not in "iuf":
                what = f"a volume of the shape {volume.shape} and {volume.dtype} cannot be audited"
                raise UnsupportedImageError(what, where=path, how="give volumes of three dimensions")
            return np.nan_to_num(volume) if volume.dtype.kind == "f" else volume
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            upright = ImageOps.exif_transpose(picture)
            grey = upright if upright.mode in ("1", "L", "I", "I;16", "F", "P") else upright.convert("L")
            plane = np.asarray(grey)
    except (OSError, ValueError, EOFError, SyntaxError, nib.filebasedimages.ImageFileError) as error:
        raise UnreadableFileError(f"cannot be read ({error})", where=path, how="prepare the data again") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableFileError("the picture is absurdly large", where=path, how="prepare the data again") from None
    return np.ascontiguousarray(plane.T)[:, :, None]
