"""One case: a CT image of any kind that the project reads, its label, and the cases that a folder holds."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
from nibabel import orientations

from pipelines.errors import IntensityError, UnreadableFileError
from pipelines.readers import dicom_series, nifti, picture
from pipelines.readers.dicom_file import looks_like_dicom
from pipelines.readers.intensity import classify
from pipelines.readers.raw import Grid, file_size


@dataclass(frozen=True, eq=False)
class CaseImage:
    """An image that has passed every check.

    Attributes:
        array: float32 (X, Y, Z); for pictures (W, H, 1).
        affine: float64 4x4, voxel indices to RAS millimetres; for pictures the axial LPS directions with made-up
            millimetres.
        kind: "picture", whose spacing is unknown, or "volume".
        intensity: "hu", at least -1024, or "display", 0..255 as shown on a screen.
        path: the file, or the folder of the DICOM series.
        notes: what was changed on the way, where the result is still right.
        orientation: the EXIF orientation that a picture was stored in, 1 to 8; 1 is upright.
    """

    array: np.ndarray
    affine: np.ndarray
    kind: Literal["picture", "volume"]
    intensity: Literal["hu", "display"]
    path: Path
    notes: tuple[str, ...] = field(default=())
    orientation: int = 1

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

    def axial(self, array: np.ndarray) -> np.ndarray:
        """An array on this image's grid (the image, a mask) with its axes turned to LPS: to the patient's left, to the
        back, and slices from the feet to the head. A view."""
        turn = orientations.ornt_transform(orientations.io_orientation(self.affine), orientations.axcodes2ornt("LPS"))
        return orientations.apply_orientation(array, turn)

    @property
    def slice_indices(self) -> range:
        """For each axial slice, from the feet to the head, its index along the axis of the file that runs that way."""
        orientation = orientations.io_orientation(self.affine)
        axis = int(np.flatnonzero(orientation[:, 0] == 2)[0])
        number = self.array.shape[axis]
        return range(number) if orientation[axis, 1] > 0 else range(number - 1, -1, -1)


def kind_of(path: Path) -> Literal["picture", "nifti", "dicom"] | None:
    """What a path claims to be, by its name; a file with no telling name by its first bytes."""
    name = path.name.lower()
    if name.endswith(nifti.SUFFIXES):
        return "nifti"
    if name.endswith(picture.SUFFIXES):
        return "picture"
    if name.endswith(dicom_series.SUFFIXES) or looks_like_dicom(path):
        return "dicom"
    return None


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except ValueError:  # a NUL in the name
        return False


def unknown_kind(path: Path) -> UnreadableFileError:
    return UnreadableFileError(
        "is not a kind of image that this project reads", where=path, how="give NIfTI, DICOM, PNG, JPEG, BMP or TIFF"
    )


def read_case(path: str | os.PathLike[str]) -> CaseImage:
    """Read one case: a NIfTI file, a DICOM series folder or file, or a picture.

    Raises:
        UnreadableFileError, UnsupportedImageError, GeometryError, SeriesError, IntensityError: as errors.py says of
            each.
    """
    path = Path(path)
    kind: Literal["picture", "volume"] = "volume"
    if is_folder(path):
        source, raw = "dicom", dicom_series.read_series(path)
    else:
        file_size(path)
        named = kind_of(path)
        if named is None:
            raise unknown_kind(path)
        source = named
        if source == "picture":
            kind, raw = "picture", picture.read_picture(path)
        elif source == "nifti":
            raw = nifti.read_nifti(path)
        else:
            raw = dicom_series.read_series(path)
    intensity, changed = classify(raw.array, path)
    if source == "dicom" and intensity != "hu":
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


def find_cases(path: str | os.PathLike[str]) -> list[Path]:
    """The cases that a path holds: itself, or everything readable below a folder, sorted.

    A folder with DICOM files directly in it is one case. Hidden files and folders, and symbolic links to folders, are
    passed over. Only names and the first 132 bytes of files without a telling name are read.

    Raises:
        UnreadableFileError: there is nothing, or it is not readable.
    """
    path = Path(path)
    if not is_folder(path):
        file_size(path)
        if kind_of(path) is None:
            raise unknown_kind(path)
        return [path]
    cases: list[Path] = []
    for folder, folders, names in os.walk(path, onerror=_stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder)
        has_dicom = False
        for name in names:
            if name.startswith(".") or name.upper() == "DICOMDIR":
                continue
            file = here / name
            telling = name.lower().endswith((*nifti.SUFFIXES, *picture.SUFFIXES, *dicom_series.SUFFIXES))
            source = kind_of(file) if telling or not has_dicom else None
            if source == "dicom":
                has_dicom = has_dicom or not (file.is_symlink() and not file.resolve().is_relative_to(here.resolve()))
            elif source is not None:
                cases.append(file)
        if has_dicom:
            cases.append(here)
    if not cases:
        raise UnreadableFileError(
            "the folder holds no images that this project reads",
            where=path,
            how="give NIfTI, DICOM, PNG, JPEG, BMP or TIFF",
        )
    return sorted(cases)


def _stop(error: OSError) -> None:
    raise UnreadableFileError(
        f"the folder cannot be listed ({error.strerror})", where=error.filename, how="check the path and its rights"
    ) from None
