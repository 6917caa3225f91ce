"""Labels: whole numbers on the grid of their image, turned onto it or refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from nibabel import orientations

from pipelines.errors import GeometryError, IntensityError, LabelError, UnsupportedImageError
from pipelines.readers import itk_volume, kinds, nifti, picture
from pipelines.readers.case import CaseImage
from pipelines.readers.kinds import is_folder, kind_of, unknown_kind
from pipelines.readers.raw import Grid, RawImage, file_size

# Scaled label files give 0.99998 for 1.
_WHOLE_TOLERANCE = 1e-3
# Of an array (W, H) whose picture has this EXIF orientation and is stored on its side: the upright array (H, W).
_UPRIGHT = {
    5: lambda a: a.T,
    6: lambda a: a.T[::-1],
    7: lambda a: a.T[::-1, ::-1],
    8: lambda a: a.T[:, ::-1],
}
TURNED = "the mask was turned as the EXIF orientation of its picture says"


class LabelImage(NamedTuple):
    """uint8 (X, Y, Z) as stored, the affine to RAS millimetres, "picture" or "volume", and notes."""

    array: np.ndarray
    affine: np.ndarray
    kind: Literal["picture", "volume"]
    notes: tuple[str, ...]


def read_label(path: str | os.PathLike[str], image: CaseImage | Grid | None = None) -> np.ndarray:
    """Read a label's values as stored, from NIfTI, NRRD, MetaImage or a picture.

    With `image`, the label comes back on the image's grid: voxel axes stored in another order or direction are turned,
    as is a picture's label that lies on its side as the picture did before its EXIF orientation was applied; anything
    else that differs is refused.

    Returns:
        uint8 (X, Y, Z). What the values mean is the dataset's business.

    Raises:
        UnreadableFileError, UnsupportedImageError: as for images; DICOM is not read as a label.
        LabelError: values that are not whole numbers from 0 to 255.
        GeometryError: the label lies on another grid than the image, or nobody can know which way up it is.
    """
    return read_label_noted(path, image)[0]


def read_label_noted(
    path: str | os.PathLike[str], image: CaseImage | Grid | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `read_label`, and a note where a picture's label was turned."""
    path = Path(path)
    raw, kind = _read(path)
    array = raw.array
    notes: tuple[str, ...] = ()
    if image is not None:
        grid = image.grid if isinstance(image, CaseImage) else image
        if kind != grid.kind:
            raise GeometryError(
                f"the label is a {kind}, its image a {grid.kind}", where=path, how="give both in the same kind of file"
            )
        array, notes = _upright(raw, grid, path) if kind == "picture" else (_on_grid(raw, grid, path), ())
    return _whole_numbers(array, path), notes


def read_label_image(path: str | os.PathLike[str]) -> LabelImage:
    """A label by itself, held against no image. Raises as `read_label`."""
    path = Path(path)
    raw, kind = _read(path)
    return LabelImage(_whole_numbers(raw.array, path), raw.affine, kind, raw.notes)


def _read(path: Path) -> tuple[RawImage, Literal["picture", "volume"]]:
    """What is stored, its values not judged, and the kind of image that it belongs to."""
    if is_folder(path):
        raise UnsupportedImageError(
            "is a folder, and a label is one file", where=path, how="give the label as NIfTI or picture"
        )
    file_size(path)
    source = kind_of(path)
    if source == kinds.DICOM:
        raise UnsupportedImageError(
            "labels are not read from DICOM", where=path, how="give the label as NIfTI or picture"
        )
    try:
        if source == kinds.PICTURE:
            raw = picture.read_picture(path, label=True)
        elif source in (kinds.NIFTI, kinds.ITK):
            raw = nifti.read_nifti(path) if source == kinds.NIFTI else itk_volume.read_itk(path)
        else:
            raise unknown_kind(path)
    except IntensityError as error:
        raise LabelError(error.what, where=path, how="save the label as uint8") from None
    return raw, "picture" if source == kinds.PICTURE else "volume"


def _upright(raw: RawImage, grid: Grid, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """A picture's label (W, H, 1) the way up that its picture was turned."""
    array, size = raw.array, grid.shape
    turned = raw.orientation == grid.orientation  # both upright as stored, or both turned the same
    if array.shape != size:
        turn = None if turned or raw.orientation != 1 else _UPRIGHT.get(grid.orientation)
        if turn is None or (array.shape[1], array.shape[0]) != size[:2]:
            raise GeometryError(
                f"the shape differs: the mask of {array.shape[0]} x {array.shape[1]} pixels lies on a picture of "
                f"{size[0]} x {size[1]}",
                where=path,
                how=f"give the mask at the size of {grid.name}",
            )
        return np.ascontiguousarray(turn(array[:, :, 0]))[:, :, None], (TURNED,)
    on_its_side = grid.orientation in _UPRIGHT and size[0] != size[1]  # then the shape says that it is upright
    if not turned and raw.orientation == 1 and not on_its_side:
        raise GeometryError(
            "the picture has an EXIF orientation and its mask fits either way, so nobody knows which way up it is",
            where=path,
            how="save the picture upright, without the orientation, or leave the case out",
        )
    return array, ()


def _on_grid(raw: RawImage, grid: Grid, path: Path) -> np.ndarray:
    how = f"resample the label to the grid of {grid.name}"
    turn = orientations.ornt_transform(
        orientations.io_orientation(raw.affine), orientations.io_orientation(grid.affine)
    )
    affine = raw.affine @ orientations.inv_ornt_aff(turn, raw.array.shape)
    array = orientations.apply_orientation(raw.array, turn)
    if array.shape != grid.shape:
        raise GeometryError(f"the label has the shape {raw.array.shape}, its image {grid.shape}", where=path, how=how)
    if not nifti.same_grid(grid.affine, affine, grid.shape):
        raise GeometryError("the label lies elsewhere than its image (another affine)", where=path, how=how)
    return array


def _whole_numbers(array: np.ndarray, path: Path) -> np.ndarray:
    label = np.empty(array.shape, dtype=np.uint8)
    for k in range(array.shape[2]):
        plane = array[:, :, k]
        if not np.isfinite(plane).all():
            raise LabelError("the label holds NaN or infinite values", where=path, how="save the label as uint8")
        whole = np.rint(plane)
        if np.abs(plane - whole).max() > _WHOLE_TOLERANCE:
            raise LabelError(
                "the label holds fractions (probabilities, or resampled without nearest neighbour)",
                where=path,
                how="round it to class numbers",
            )
        if whole.min() < 0 or whole.max() > 255:
            raise LabelError(
                f"label values from {whole.min():g} to {whole.max():g}, 0 to 255 are due",
                where=path,
                how="renumber them",
            )
        label[:, :, k] = whole
    return label
