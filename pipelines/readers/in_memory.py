"""Images that are in memory and not on disk, held to the same checks as files.

What has a header (NIfTI, ITK, DICOM) keeps its grid. Pictures are judged as the file that they would be saved as, and
DICOM objects from a folder aside, where they lie while they are read: the checks of a series are of its files.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import nibabel as nib
import numpy as np
import pydicom
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.errors import (
    GeometryError,
    IntensityError,
    PipelinesError,
    UnreadableFileError,
    UnsupportedImageError,
    UsageError,
)
from pipelines.readers.case import CaseImage
from pipelines.readers.colour import ColourPicture, read_colour
from pipelines.readers.dicom_series import read_series
from pipelines.readers.intensity import check_values, classify
from pipelines.readers.nifti import judge_image
from pipelines.readers.picture import read_picture
from pipelines.readers.raw import RawImage, check_affine, check_volume_shape, unset_grid_note
from pipelines.readers.xray import XrayPicture, read_xray

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_KINDS = "nibabel's, an ITK, SimpleITK or PIL image, a pydicom data set or a list of them, or an array"
_AS_TIFF = ("F", "I", "CMYK", "YCbCr", "LAB", "HSV")  # modes that PNG does not hold


def case_in_memory(image: Any, *, affine: NDArray | None = None, spacing: Sequence[float] | None = None) -> CaseImage:
    """A CT volume or picture in memory as ``read_case`` gives a file.

    Args:
        image: nibabel's image; an ITK or SimpleITK image; a pydicom data set or a series of them; a PIL picture; an
            array (X, Y, Z), Hounsfield units or 0..255, with its affine, or (rows, columns[, 3]) of a picture.
        affine: 4x4, voxel indices of an array to RAS millimetres.
        spacing: of an array's voxels, in mm; without an affine it says too little of a volume.

    Raises:
        UsageError: nothing of these kinds, or a grid for what has its own.
        GeometryError: a volume without an affine; affine and spacing that disagree.
        UnreadableFileError, UnsupportedImageError, SeriesError, IntensityError: as ``read_case``.
    """
    kind, raw, named, source = _judged(image, affine, spacing)
    intensity, changed = classify(raw.array, named)
    if _is_dicom(image) and intensity != "hu":
        raise IntensityError(
            "the series holds 0..255 grey, not Hounsfield units (a screen capture?)",
            where=named,
            how="give the original series",
        )
    grey = cast(Literal["hu", "display"], intensity)
    return CaseImage(raw.array, raw.affine, kind, grey, named, (*raw.notes, *changed), raw.orientation, source)


def volume_in_memory(image: Any, *, affine: NDArray | None = None, spacing: Sequence[float] | None = None) -> CaseImage:
    """A volume in memory, whatever its values mean, as ``read_volume`` gives a file.

    Args:
        image, affine, spacing: as ``case_in_memory``, without pictures.

    Raises:
        UsageError, GeometryError: as ``case_in_memory``.
        UnreadableFileError, UnsupportedImageError, SeriesError, IntensityError: as ``read_volume``.
    """
    kind, raw, named, source = _judged(image, affine, spacing)
    if kind == "picture":
        raise UnsupportedImageError("is a picture, and a volume is due", where=named, how="give a volume")
    check_values(raw.array, named)
    return CaseImage(raw.array, raw.affine, kind, "any", named, raw.notes, source=source)


def _judged(
    image: Any, affine: NDArray | None, spacing: Sequence[float] | None
) -> tuple[Literal["picture", "volume"], RawImage, Path, nib.Nifti1Image | None]:
    """Its kind, voxels and grid, its name for messages, and nibabel's image that it is; values are not judged."""
    named = Path(f"({_named(image)} in memory)")
    if not isinstance(image, np.ndarray) and (affine is not None or spacing is not None):
        raise UsageError("this image states its own grid", where=named, how="leave out affine and spacing")
    if isinstance(image, SpatialImage):
        source = _with_its_header(image, named)
        return "volume", judge_image(source, named), named, source
    if _is_dicom(image):
        with _on_disk(image, named) as folder:
            return "volume", read_series(folder), named, None
    if _is_itk(image) and _axes_of(image) == 3:
        return "volume", _of_itk(image, named), named, None
    if isinstance(image, np.ndarray) and (affine is not None or (image.ndim == 3 and image.shape[2] not in (3, 4))):
        return "volume", _of_array(image, affine, spacing, named), named, None
    return "picture", read_picture(named, data=_as_file(_picture(image, named), named)), named, None


def colour_in_memory(image: Any) -> ColourPicture:
    """A colour picture in memory (PIL, an array (rows, columns[, 3]) of 8 bits, a DICOM photograph) as ``read_colour``
    gives a file; raises as it does."""
    named = Path(f"({_named(image)} in memory)")
    if _is_dicom(image):
        with _on_disk(image, named, single=True) as file:
            return replace(read_colour(file), path=named)
    return read_colour(named, data=_as_file(_picture(image, named), named))


def xray_in_memory(image: Any) -> XrayPicture:
    """A chest X-ray in memory (PIL, an array (rows, columns), a DICOM object) as ``read_xray`` gives a file; raises as
    it does."""
    named = Path(f"({_named(image)} in memory)")
    if _is_dicom(image):
        with _on_disk(image, named, single=True) as file:
            return replace(read_xray(file), path=named)
    return read_xray(named, data=_as_file(_picture(image, named), named))


def on_grid_of(image: Any, mask: nib.Nifti1Image) -> Any:
    """A mask that lies on an image's grid, as an image of the kind that was given: ITK's and SimpleITK's; any other
    as NIfTI, as it is."""
    if not _is_itk(image):
        return mask
    values = np.ascontiguousarray(np.asarray(mask.dataobj).transpose())
    if type(image).__module__.startswith("SimpleITK"):
        made = sys.modules["SimpleITK"].GetImageFromArray(values)
    else:
        import itk

        made = itk.image_from_array(values)
    made.SetSpacing(image.GetSpacing())
    made.SetOrigin(_first_voxel(image))
    made.SetDirection(image.GetDirection())
    return made


def _with_its_header(image: SpatialImage, named: Path) -> nib.Nifti1Image:
    """nibabel's image with a header that says what its affine and its voxels are, whatever was changed in place."""
    try:
        if not isinstance(image, nib.Nifti1Image):
            return nib.Nifti1Image.from_image(image)
        return type(image)(image.dataobj, image.affine, image.header)
    except (HeaderDataError, ValueError, TypeError) as error:
        raise GeometryError(f"nibabel cannot make it NIfTI ({error})", where=named, how="save it as NIfTI") from None


def _named(image: Any) -> str:
    kind = type(image[0]) if isinstance(image, (list, tuple)) and image else type(image)
    return f"{kind.__module__.split('.')[0]} {kind.__name__}"


def _is_dicom(image: Any) -> bool:
    if isinstance(image, (list, tuple)):
        return bool(image) and all(isinstance(each, pydicom.Dataset) for each in image)
    return isinstance(image, pydicom.Dataset)


def _is_itk(image: Any) -> bool:
    return type(image).__module__.split(".")[0] in ("itk", "SimpleITK") and hasattr(image, "GetDirection")


def _axes_of(image: Any) -> int:
    return int(image.GetDimension() if hasattr(image, "GetDimension") else image.GetImageDimension())


def _itk_array(image: Any) -> NDArray:
    """Of an ITK or SimpleITK image, its last axis first."""
    if type(image).__module__.startswith("SimpleITK"):
        return np.asarray(sys.modules["SimpleITK"].GetArrayFromImage(image))
    import itk

    return np.asarray(itk.array_from_image(image))


def _first_voxel(image: Any) -> list[float]:
    """Where the first voxel lies, LPS in mm: an ITK image that was cut out of another begins at an index of its own."""
    if not hasattr(image, "GetBufferedRegion"):
        return list(image.GetOrigin())
    return list(image.TransformIndexToPhysicalPoint(image.GetBufferedRegion().GetIndex()))


def _of_itk(image: Any, named: Path) -> RawImage:
    values = _itk_array(image)
    if values.ndim != 3:
        raise UnsupportedImageError(f"voxels of several components, {values.shape}", where=named, how="give one")
    direction = np.asarray(image.GetDirection(), dtype=float).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = direction * np.asarray(image.GetSpacing(), dtype=float)
    affine[:3, 3] = _first_voxel(image)
    return _of_array(values.transpose(2, 1, 0), _LPS_TO_RAS @ affine, None, named)


def _of_array(array: NDArray, affine: NDArray | None, spacing: Sequence[float] | None, named: Path) -> RawImage:
    if affine is None:
        raise GeometryError(
            "an array does not say where left and right, head and feet are",
            where=named,
            how="give affine=, 4x4, from voxel indices to RAS millimetres",
        )
    try:
        matrix = np.asarray(affine, dtype=np.float64)
        steps = None if spacing is None else np.asarray(spacing, dtype=np.float64)
    except (ValueError, TypeError):
        raise GeometryError("affine or spacing is no number", where=named, how="give arrays of numbers") from None
    if matrix.shape != (4, 4):
        raise GeometryError(f"the affine has the shape {matrix.shape}", where=named, how="give one of 4x4")
    volume = array[:, :, None] if array.ndim == 2 else array
    if volume.ndim != 3 or volume.size == 0 or volume.dtype.kind not in "iuf" or volume.dtype.itemsize > 8:
        raise UnsupportedImageError(
            f"the array is {array.shape} of {array.dtype}, and one volume (X, Y, Z) of numbers is due",
            where=named,
            how="give one volume",
        )
    check_volume_shape((volume.shape[0], volume.shape[1], volume.shape[2]), named)
    check_affine(matrix, named)
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if steps is not None and (steps.shape != (3,) or not np.allclose(lengths, steps, rtol=1e-2)):
        raise GeometryError(
            f"the affine gives a spacing of {np.round(lengths, 4).tolist()} mm, and {steps.tolist()} was given",
            where=named,
            how="decide which is right, and give that",
        )
    if volume.dtype.kind in "iu" and max(abs(int(volume.min())), abs(int(volume.max()))) > 2**24:
        raise IntensityError(
            f"{volume.dtype.name} voxels up to {volume.max()} are not those of a scan", where=named, how="give int16"
        )
    note = unset_grid_note(matrix)
    values = np.array(volume, dtype=np.float32, order="F")  # a copy: the caller's stays as it is
    return RawImage(values, matrix, (note,) if note else ())


def _picture(image: Any, named: Path) -> Image.Image:
    """A PIL picture of what is a picture in memory."""
    if isinstance(image, Image.Image):
        return image
    if _is_itk(image) and _axes_of(image) == 2:
        image = _itk_array(image)
    if not isinstance(image, np.ndarray):
        raise UsageError(f"{_named(image)} is no image that can be looked at", where=named, how=f"give {_KINDS}")
    values = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    try:
        if values.dtype == bool or values.ndim not in (2, 3):
            raise TypeError
        if values.dtype == np.float64:
            values = values.astype(np.float32)
        if values.dtype.kind in "iu" and values.dtype.itemsize > 2:
            low, high = int(values.min(initial=0)), int(values.max(initial=0))
            values = values.astype(np.uint8 if low >= 0 and high <= 255 else np.int32)
        return Image.fromarray(np.ascontiguousarray(values))
    except (TypeError, ValueError, KeyError):
        raise UnsupportedImageError(
            f"an array of {image.shape} {image.dtype} is no picture",
            where=named,
            how="give (rows, columns) or (rows, columns, 3) of uint8",
        ) from None


def _as_file(picture: Image.Image, named: Path) -> bytes:
    """A picture as the lossless file that it would be saved as.

    Raises:
        UnreadableFileError: it is read late, and its file is damaged or gone.
        UnsupportedImageError: it has no pixels, or of a kind that no file holds.
    """
    file = io.BytesIO()
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UnreadableFileError(f"cannot be read ({error})", where=named, how="open the picture again") from None
    if getattr(picture, "n_frames", 1) > 1:
        raise UnsupportedImageError(
            "the picture is animated or has several pages", where=named, how="give each page as a picture of its own"
        )
    if (stored := _unchanged(picture)) is not None:
        return stored
    if 0 in picture.size or picture.mode in ("HSV", "PA"):
        what = "the picture has no pixels" if 0 in picture.size else f"pixels of the kind {picture.mode}"
        raise UnsupportedImageError(what, where=named, how="give a picture in grey or RGB")
    exif = picture.getexif()
    turned = {"exif": exif.tobytes()} if exif.get(274, 1) != 1 else {}
    picture.save(file, "TIFF" if picture.mode in _AS_TIFF else "PNG", **turned)
    return file.getvalue()


def _unchanged(picture: Image.Image) -> bytes | None:
    """The file that a picture was opened from, where it is still as it is there: PIL keeps 8 of 16 bits of a colour,
    and the file tells. None for any other picture."""
    name = getattr(picture, "filename", "")
    try:
        if not isinstance(picture, ImageFile) or not name or not Path(name).is_file():
            return None
        data = Path(name).read_bytes()
        with Image.open(io.BytesIO(data)) as again:
            again.load()
            same = (again.mode, again.size) == (picture.mode, picture.size) and again.tobytes() == picture.tobytes()
            return data if same else None
    except Exception:  # PIL's decoders raise nearly anything; what is in memory is judged then
        return None


@contextmanager
def _on_disk(image: Any, named: Path, single: bool = False) -> Iterator[Path]:
    """The folder, or the one file, of DICOM objects for the time of reading; faults tell what was given."""
    sets = list(image) if isinstance(image, (list, tuple)) else [image]
    if single and len(sets) != 1:
        raise UnsupportedImageError(f"{len(sets)} DICOM objects, and one picture is due", where=named, how="give one")
    with tempfile.TemporaryDirectory(prefix="in-memory-") as folder:
        for number, each in enumerate(sets):
            try:
                _write(each, Path(folder) / f"{number:06d}.dcm")
            except (ValueError, AttributeError, TypeError, NotImplementedError, KeyError) as error:
                raise UnreadableFileError(
                    f"pydicom cannot write data set {number} ({str(error).splitlines()[0]})",
                    where=named,
                    how="give data sets as pydicom.dcmread returns them",
                ) from None
        try:
            yield Path(folder) / "000000.dcm" if single else Path(folder)
        except PipelinesError as error:
            inside = str(error.where).removeprefix(folder).strip("/") if error.where is not None else ""
            which = f", data set {int(inside.split('.')[0])}" if inside[:6].isdecimal() else ""
            raise type(error)(error.what, where=f"{named}{which}", how=error.how) from None


def _write(dataset: pydicom.Dataset, path: Path) -> None:
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    else:
        syntax = {} if dataset.original_encoding[1] is not None else {"little_endian": True, "implicit_vr": False}
        copy = pydicom.Dataset(dataset)
        copy.file_meta = pydicom.dataset.FileMetaDataset()
        copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pydicom.dcmwrite(path, copy, enforce_file_format=True, **syntax)
