"""Cases that cannot be used, by the items of bad-inputs.md: how each is made from a good one, and what is said."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEGLosslessSV1, generate_uid

from pipelines.errors import (
    GeometryError,
    IntensityError,
    PipelinesError,
    SeriesError,
    UnreadableFileError,
    UnsupportedImageError,
)


@dataclass(frozen=True)
class Spoilt:
    """A case that is refused.

    Attributes:
        item: of bad-inputs.md.
        make: writes it, given its path and the good series, volume or picture that it is made from.
        kind: of the error.
        words: a pattern of what is said.
    """

    item: int
    make: Callable[[Path, Any], object]
    kind: type[PipelinesError]
    words: str


def _slices(edit: Callable[[pydicom.Dataset, int], bool | None]) -> Callable[[Path, Path], None]:
    """Writes a series anew; ``edit`` changes a slice by its number from the first, and leaves it out by False."""

    def make(path: Path, series: Path) -> None:
        path.mkdir()
        read = [pydicom.dcmread(each) for each in series.glob("*.dcm")]
        for k, dataset in enumerate(sorted(read, key=lambda each: float(each.ImagePositionPatient[2]))):
            if edit(dataset, k) is not False:
                dataset.save_as(path / f"{k:03d}.dcm")

    return make


def _set(only: int | None = None, **values: Any) -> Callable[[Path, Path], None]:
    """Elements of every slice, or of one; None takes one away."""

    def edit(dataset: pydicom.Dataset, k: int) -> None:
        for name, value in values.items() if only in (None, k) else ():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)

    return _slices(edit)


def _tilted(dataset: pydicom.Dataset, k: int) -> None:
    position = [float(each) for each in dataset.ImagePositionPatient]
    dataset.ImagePositionPatient = [position[0], position[1] + 1.5 * k, position[2]]


def _uneven(dataset: pydicom.Dataset, k: int) -> None:
    position = [float(each) for each in dataset.ImagePositionPatient]
    dataset.ImagePositionPatient = [*position[:2], position[2] + (1.4 if k == 3 else 0)]


def _pixels(change: Callable[[NDArray[np.int16]], NDArray[np.int16]]) -> Callable[[Path, Path], None]:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.PixelData = change(dataset.pixel_array.astype(np.int16)).astype(np.int16).tobytes()
        dataset.PixelRepresentation = 1

    return _slices(edit)


def _bytes(change: Callable[[bytes], bytes], only: int = 2) -> Callable[[Path, Path], None]:
    """A copy of the series with the bytes of one file changed."""

    def make(path: Path, series: Path) -> None:
        shutil.copytree(series, path)
        spoilt = sorted(path.glob("*.dcm"))[only]
        spoilt.write_bytes(change(spoilt.read_bytes()))

    return make


def _twice(path: Path, series: Path) -> None:
    shutil.copytree(series, path)
    shutil.copy(min(path.glob("*.dcm")), path / "again.dcm")


def _two_acquisitions(path: Path, series: Path) -> None:
    """Under one UID, their slices alternate."""
    shutil.copytree(series, path)
    for each in sorted(path.glob("*.dcm")):
        dataset = pydicom.dcmread(each)
        dataset.AcquisitionNumber = 2
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        position = [float(value) for value in dataset.ImagePositionPatient]
        dataset.ImagePositionPatient = [*position[:2], position[2] + 0.7]
        dataset.save_as(each.with_name(f"second_{each.name}"))


def _undecodable(dataset: pydicom.Dataset, k: int) -> None:
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xc3" + bytes(60)])
    dataset["PixelData"].is_undefined_length = True


def _nifti(
    change: Callable[[nib.Nifti1Image], nib.Nifti1Image | None],
) -> Callable[[Path, nib.Nifti1Image], None]:
    def make(path: Path, image: nib.Nifti1Image) -> None:
        copy = nib.Nifti1Image(np.asarray(image.dataobj).copy(), image.affine.copy(), image.header.copy())
        nib.save(change(copy) or copy, path)

    return make


def _voxels(change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Path, nib.Nifti1Image], None]:
    return _nifti(lambda image: nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine))


def _nan(voxels: NDArray[Any]) -> NDArray[np.float32]:
    spoilt = voxels.astype(np.float32)
    spoilt[3, 4, 2] = np.nan
    return spoilt


def _mirrored_sform(image: nib.Nifti1Image) -> None:
    affine = image.affine.copy()
    image.set_qform(affine, 1)
    affine[:3, 0] *= -1
    image.set_sform(affine, 1)


def _head(offset: int, value: bytes) -> Callable[[Path, nib.Nifti1Image], None]:
    """Bytes of the 348 of a NIfTI header."""

    def make(path: Path, image: nib.Nifti1Image) -> None:
        raw = bytearray(image.to_bytes())
        raw[offset : offset + len(value)] = value
        path.write_bytes(gzip.compress(bytes(raw)))

    return make


def _text(path: Path, _: object) -> None:
    path.write_text("not what the name says\n" * 40)


def _empty(path: Path, _: object) -> None:
    path.touch()


def _alone(make: Callable[[Path, Any], object]) -> Callable[[Path, Any], None]:
    """The file as the only one of a folder, which is called a series by its suffix."""

    def inside(path: Path, good: object) -> None:
        path.mkdir()
        make(path / "0001.dcm", good)

    return inside


def _of_zip(path: Path, _: object) -> None:
    """An archive with a member that would be written elsewhere, and nothing else."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../outside.dcm", b"\0" * 200)


def _bomb(path: Path, _: object) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(9):  # more than the 512 MiB that may be shrunk to next to nothing
            archive.writestr(f"{k}.dcm", bytes(64 * 2**20))


CT: dict[str, Spoilt] = {
    # files
    "empty_file": Spoilt(1, _alone(_empty), UnreadableFileError, "empty"),
    "text_file": Spoilt(1, _alone(_text), UnreadableFileError, "DICOM"),
    "empty.nii.gz": Spoilt(1, _empty, UnreadableFileError, "empty"),
    "text.nii.gz": Spoilt(1, _text, UnreadableFileError, "compressed"),
    "outside.zip": Spoilt(1, _of_zip, UnreadableFileError, "outside of the folder"),
    "bomb.zip": Spoilt(1, _bomb, UnreadableFileError, "a bomb"),
    "cut_pixels": Spoilt(1, _bytes(lambda raw: raw[:-900]), UnreadableFileError, "truncated|damaged|cut"),
    "cut_header": Spoilt(1, _bytes(lambda raw: raw[:200]), UnreadableFileError, "transfer syntax"),
    "empty_slice": Spoilt(1, _bytes(lambda raw: b""), UnreadableFileError, "empty"),
    "undecodable": Spoilt(1, _slices(_undecodable), UnreadableFileError, "truncated or damaged"),
    "absurd_rows": Spoilt(1, _set(Rows=65000), UnreadableFileError, "absurd size"),
    "absurd_frames": Spoilt(1, _set(only=1, NumberOfFrames="2000000000"), UnreadableFileError, "2000000000 frames"),
    # series
    "gap": Spoilt(2, _slices(lambda _, k: k != 3), SeriesError, "slice is missing"),
    "twice": Spoilt(2, _twice, SeriesError, "twice"),
    "patients": Spoilt(2, _set(only=2, PatientID="other"), SeriesError, "patients"),
    "studies": Spoilt(2, _set(only=2, StudyInstanceUID=generate_uid()), SeriesError, "studies"),
    "sizes": Spoilt(2, _set(only=2, PixelSpacing=[3, 3]), SeriesError, "pixel spacing changes"),
    "tilt": Spoilt(2, _slices(_tilted), GeometryError, "tilt"),
    "uneven": Spoilt(2, _slices(_uneven), SeriesError, "distance between slices varies"),
    "no_position": Spoilt(2, _set(ImagePositionPatient=None), SeriesError, "ImagePositionPatient"),
    "no_orientation": Spoilt(2, _set(ImageOrientationPatient=None), SeriesError, "ImageOrientationPatient"),
    "crooked": Spoilt(2, _set(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), GeometryError, "right angles"),
    "two_acquisitions": Spoilt(2, _two_acquisitions, SeriesError, "acquisition"),
    "rescale_lost": Spoilt(
        2, _set(RescaleSlope=None, RescaleIntercept=None), IntensityError, "RescaleSlope is missing"
    ),
    "colours": Spoilt(2, _set(PhotometricInterpretation="RGB", SamplesPerPixel=3), UnsupportedImageError, "RGB"),
    # meaning
    "another_modality": Spoilt(3, _set(Modality="MR"), UnsupportedImageError, "MR"),
    "constant": Spoilt(3, _pixels(lambda plane: plane * 0), IntensityError, "constant|same"),
    "no_hu": Spoilt(3, _pixels(lambda plane: plane // 7 + 5000), IntensityError, "Hounsfield|HU"),
    "nan.nii.gz": Spoilt(3, _voxels(_nan), IntensityError, "NaN|no number|not finite"),
    "constant.nii.gz": Spoilt(3, _voxels(lambda voxels: voxels * 0 + 40), IntensityError, "constant|same"),
    "a_mask.nii.gz": Spoilt(3, _voxels(lambda voxels: (voxels > 0).astype(np.uint8)), IntensityError, "mask"),
    # NIfTI
    "4d.nii.gz": Spoilt(4, _voxels(lambda voxels: np.stack([voxels, voxels + 1], axis=-1)), UnsupportedImageError, "4"),
    "no_spacing.nii.gz": Spoilt(4, _head(80, bytes(12)), GeometryError, "spacing"),
    "two_affines.nii.gz": Spoilt(4, _nifti(_mirrored_sform), GeometryError, "sform and qform"),
    "absurd_size.nii.gz": Spoilt(
        4, _head(42, struct.pack("<3h", 32000, 32000, 32000)), UnreadableFileError, "absurd size"
    ),
    "another_type.nii.gz": Spoilt(4, _head(70, struct.pack("<h", 1792)), UnsupportedImageError, "complex128"),
    # archives and names that are not read
    "notes.heic": Spoilt(6, _text, UnreadableFileError, "HEIC picture, whatever its name says"),
}


def _picture(change: Callable[[Image.Image], Image.Image], **options: Any) -> Callable[[Path, Image.Image], None]:
    return lambda path, picture: change(picture).save(path, **options)


def _cut(part: float, form: str) -> Callable[[Path, Image.Image], None]:
    def make(path: Path, picture: Image.Image) -> None:
        buffer = io.BytesIO()
        picture.save(buffer, form)
        path.write_bytes(buffer.getvalue()[: int(part * len(buffer.getvalue()))])

    return make


def _moving(path: Path, picture: Image.Image) -> None:
    picture.save(path, save_all=True, append_images=[picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])


def _absurd_png(path: Path, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    raw = bytearray(buffer.getvalue())
    raw[16:24] = struct.pack(">2I", 60000, 60000)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))  # or it would be refused for its check sum
    path.write_bytes(bytes(raw))


PICTURES: dict[str, Spoilt] = {
    "empty.png": Spoilt(1, _empty, UnreadableFileError, "empty"),
    "text.jpg": Spoilt(1, _text, UnreadableFileError, "JPEG"),
    "cut.png": Spoilt(6, _cut(0.6, "PNG"), UnreadableFileError, "truncated|damaged"),
    "cut.jpg": Spoilt(6, _cut(0.6, "JPEG"), UnreadableFileError, "truncated|damaged"),
    "absurd.png": Spoilt(6, _absurd_png, UnreadableFileError, "pixels"),
    "dot.png": Spoilt(6, _picture(lambda picture: picture.resize((1, 1))), UnsupportedImageError, "pixel|small"),
    "moving.png": Spoilt(6, _moving, UnsupportedImageError, "pictures|frames|animated"),
    "another.png": Spoilt(6, _picture(lambda picture: picture, format="GIF"), UnreadableFileError, "PNG"),
    "even.png": Spoilt(3, _picture(lambda picture: picture.point(lambda _: 77)), IntensityError, "every pixel"),
}
