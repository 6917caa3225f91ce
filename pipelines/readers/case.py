"""One case: a CT image of any kind that the project reads, or a volume whose values may mean anything."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import nibabel as nib
import numpy as np
from nibabel import orientations

from pipelines.errors import IntensityError, UnsupportedImageError
from pipelines.readers import dicom_series, itk_volume, kinds, nifti, picture
from pipelines.readers.address import locate, told_of
from pipelines.readers.intensity import check_values, classify
from pipelines.readers.kinds import is_folder, kind_of, unknown_kind
from pipelines.readers.raw import Grid, RawImage, file_size


@dataclass(frozen=True, eq=False)
class CaseImage:
    """An image that has passed every check.

    Attributes:
        array: float32 (X, Y, Z); for pictures (W, H, 1).
        affine: float64 4x4, voxel indices to RAS millimetres; for pictures the axial LPS directions with made-up
            millimetres.
        kind: "picture", whose spacing is unknown, or "volume".
        intensity: "hu", at least -1024; "display", 0..255 as shown on a screen; or "any", as stored, where nobody asked
            what the values mean.
        path: the file, or the folder of the DICOM series.
        notes: what was changed on the way, where the result is still right.
        orientation: the EXIF orientation that a picture was stored in, 1 to 8; 1 is upright.
        source: nibabel's image that it was made of, where there is no file.
    """

    array: np.ndarray
    affine: np.ndarray
    kind: Literal["picture", "volume"]
    intensity: Literal["hu", "display", "any"]
    path: Path
    notes: tuple[str, ...] = field(default=())
    orientation: int = 1
    source: nib.Nifti1Image | None = None

    @property
    def grid(self) -> Grid:
        """Where its voxels lie: what a label is held against."""
        x, y, z = self.array.shape
        return Grid((x, y, z), self.affine, self.kind, self.path.name, self.orientation)

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Voxel size in millimetres; None for pictures."""
        if self.kind == "picture":
            return None
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def axial_spacing(self) -> tuple[float, float, float] | None:
        """Voxel size in millimetres along the axes of `axial`; None for pictures."""
        if self.spacing is None:
            return None
        order = orientations.io_orientation(self.affine)[:, 0].astype(int)
        x, y, z = (self.spacing[int(np.flatnonzero(order == axis)[0])] for axis in range(3))
        return x, y, z

    def axial(self, array: np.ndarray) -> np.ndarray:
        """An array on this image's grid (the image, a mask) with its axes turned to LPS: to the patient's left, to the
        back, and slices from the feet to the head. A view."""
        turn = orientations.ornt_transform(orientations.io_orientation(self.affine), orientations.axcodes2ornt("LPS"))
        return orientations.apply_orientation(array, turn)

    @property
    def slice_axis(self) -> int:
        """The axis of the array, and of the file, along which axial slices follow each other: 0, 1 or 2."""
        return int(np.flatnonzero(orientations.io_orientation(self.affine)[:, 0] == 2)[0])

    @property
    def slice_indices(self) -> range:
        """For each axial slice, from the feet to the head, its index along `slice_axis`."""
        number = self.array.shape[self.slice_axis]
        upwards = orientations.io_orientation(self.affine)[self.slice_axis, 1] > 0
        return range(number) if upwards else range(number - 1, -1, -1)


def read_case(path: str | os.PathLike[str]) -> CaseImage:
    """Read one case: a NIfTI, NRRD, MetaImage or Analyze file, a DICOM series' folder or file, or a picture.

    Also one of several series in a folder, ``FOLDER::SERIES``, and one case of an archive, ``ARCHIVE`` or
    ``ARCHIVE::INSIDE`` (`look_through` finds them).

    Raises:
        UnreadableFileError, UnsupportedImageError, GeometryError, SeriesError, IntensityError: as errors.py says of
            each.
    """
    path = Path(path)
    source, kind, raw = _read(path)
    intensity, changed = classify(raw.array, path)
    if source == kinds.DICOM and intensity != "hu":
        raise IntensityError(
            "the series holds 0..255 grey, not Hounsfield units (a screen capture?)",
            where=path,
            how="give the original series",
        )
    return CaseImage(
        raw.array,
        raw.affine,
        kind,
        cast(Literal["hu", "display"], intensity),
        path,
        (*raw.notes, *changed),
        raw.orientation,
    )


def read_volume(path: str | os.PathLike[str]) -> CaseImage:
    """Read one volume whose values may mean anything (MR, CT, ultrasound): as `read_case`, and nobody judges whether
    the values are Hounsfield units. `intensity` is "any", the values are those of the file.

    Raises:
        UnreadableFileError, GeometryError, SeriesError: as `read_case`; a DICOM series must be one of CT.
        UnsupportedImageError: as `read_case`; a picture.
        IntensityError: NaN, infinite or constant values, or those of a mask (`check_values`).
    """
    path = Path(path)
    _, kind, raw = _read(path)
    if kind == "picture":
        raise UnsupportedImageError(
            "is a picture, and a volume is due", where=path, how="give NIfTI, NRRD, MetaImage or a DICOM series"
        )
    check_values(raw.array, path)
    return CaseImage(raw.array, raw.affine, kind, "any", path, raw.notes)


def read_as_shown(path: str | os.PathLike[str]) -> CaseImage:
    """Read a case to show it, whatever its values mean: as `read_case`, and where these are neither Hounsfield units
    nor 0..255 as `read_volume`. Raises as these do."""
    try:
        return read_case(path)
    except IntensityError:
        try:
            return read_volume(path)
        except UnsupportedImageError:  # a picture, whose own fault tells more
            pass
        raise


def _read(path: Path) -> tuple[str, Literal["picture", "volume"], RawImage]:
    """The source (see `kinds`), and what was read of it, its values not judged."""
    place = locate(path)
    kind: Literal["picture", "volume"] = "volume"
    with told_of(place, path):
        if is_folder(place.path):
            source, raw = kinds.DICOM, dicom_series.read_series(place.path, place.series)
        else:
            file_size(place.path)
            source = kind_of(place.path) or ""
            if source == kinds.PICTURE:
                kind, raw = "picture", picture.read_picture(place.path)
            elif source == kinds.NIFTI:
                raw = nifti.read_nifti(place.path)
            elif source == kinds.ITK:
                raw = itk_volume.read_itk(place.path)
            elif source == kinds.DICOM:
                raw = dicom_series.read_series(place.path)
            else:
                raise unknown_kind(place.path)
    return source, kind, raw
