"""NIfTI-1 and NIfTI-2 volumes, read slice by slice.

nibabel interprets the header; the voxels are read here, because nibabel mends zero and negative spacing in silence,
takes the first affine it finds though another contradicts it, and does not check a gzip stream's checksum.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from pipelines.errors import GeometryError, IntensityError, UnreadableFileError, UnsupportedImageError
from pipelines.readers.raw import RawImage, check_affine, check_volume_shape, file_size, unset_grid_note

SUFFIXES = (".nii", ".nii.gz")
# Of a voxel: how far two descriptions of one grid may be apart at the corners of the volume.
GRID_TOLERANCE = 0.1

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_GZIP_RATIO = 1100  # deflate cannot do better than 1032:1
_BOMB_BYTES, _BOMB_RATIO = 2**29, 250  # CT shrinks 2 to 5 times, masks 100 times
_MAX_HEADER_BYTES = 2**24
_AGAIN = "copy or export it again"

Header = nib.Nifti1Header


def read_nifti(path: Path) -> RawImage:
    """Read a three-dimensional volume; a fourth axis of length one is dropped, two dimensions become one slice.

    Peak memory is the float32 volume and one slice. scl_slope and scl_inter are applied.

    Raises:
        UnreadableFileError: missing, empty, truncated, corrupt, not NIfTI, or a size that the file cannot hold.
        UnsupportedImageError: more than three dimensions, colour or complex voxels, a slice under 16 voxels a side.
        GeometryError: spacing, sform or qform missing, contradictory, not in millimetres, or not at right angles.
        IntensityError: whole numbers that float32 cannot hold, or a scale that is no number.
    """
    size = file_size(path)
    zipped = path.name.lower().endswith(".gz")
    try:
        # Values that are no numbers, or overflow float32, are judged by their results.
        with path.open("rb") as file, np.errstate(invalid="ignore", over="ignore"):
            if (file.read(2) == _GZIP_MAGIC) != zipped:
                named = "is" if zipped else "is not"
                raise UnreadableFileError(
                    f"by its name the file {named} compressed, by its content otherwise", where=path, how=_AGAIN
                )
            file.seek(0)
            if zipped:
                with gzip.GzipFile(fileobj=file) as stream:
                    return _read(cast(BinaryIO, stream), path, size, zipped)
            return _read(file, path, size, zipped)
    except (EOFError, zlib.error, OSError, struct.error) as error:
        raise UnreadableFileError(f"the file is truncated or damaged ({error})", where=path, how=_AGAIN) from None
    except HeaderDataError as error:
        raise UnreadableFileError(f"the NIfTI header is damaged ({error})", where=path, how=_AGAIN) from None


def read_pair(header: Path, voxels: Path) -> RawImage:
    """Read a NIfTI of two files, `.hdr` and `.img` or `.img.gz`; as `read_nifti`."""
    zipped = voxels.name.lower().endswith(".gz")
    size = file_size(voxels)
    try:
        with header.open("rb") as head, voxels.open("rb") as file, np.errstate(invalid="ignore", over="ignore"):
            if zipped:
                with gzip.GzipFile(fileobj=file) as stream:
                    return _read(head, header, size, zipped, cast(BinaryIO, stream))
            return _read(head, header, size, zipped, file)
    except (EOFError, zlib.error, OSError, struct.error) as error:
        raise UnreadableFileError(f"the file is truncated or damaged ({error})", where=voxels, how=_AGAIN) from None
    except HeaderDataError as error:
        raise UnreadableFileError(f"the NIfTI header is damaged ({error})", where=header, how=_AGAIN) from None


def judge_image(image: nib.Nifti1Image, path: Path) -> RawImage:
    """nibabel's image in memory, held to what ``read_nifti`` asks of a file.

    Args:
        path: for messages.

    Raises:
        UnreadableFileError: its voxels lie in a file that is damaged.
        UnsupportedImageError, GeometryError, IntensityError: as ``read_nifti``.
    """
    header = image.header.copy()
    notes: list[str] = []
    shape = _shape(header, path, notes)
    if tuple(image.shape) != header.get_data_shape():
        raise GeometryError(
            f"its header states {header.get_data_shape()} voxels, and it has {tuple(image.shape)}",
            where=path,
            how="make the image anew from its array and affine",
        )
    check_volume_shape(shape, path)
    affine = _affine(header, shape, path)
    if note := unset_grid_note(affine):
        notes.append(note)
    try:
        stored = np.asanyarray(image.dataobj)
    except (EOFError, zlib.error, OSError, ValueError) as error:
        raise UnreadableFileError(f"the file is truncated or damaged ({error})", where=path, how=_AGAIN) from None
    if stored.dtype.kind not in "iuf" or stored.dtype.itemsize > 8:
        named = "RGB colours" if stored.dtype.fields else str(stored.dtype)
        raise UnsupportedImageError(f"voxels of the kind {named} are not those of a scan", where=path, how="give int16")
    _check_exact(stored, path)
    with np.errstate(invalid="ignore", over="ignore"):
        array = np.array(stored.reshape(shape), dtype=np.float32, order="F")  # a copy: the caller's stays as it is
    return RawImage(array, affine, tuple(notes))


def _read(stream: BinaryIO, path: Path, size: int, zipped: bool, voxels: BinaryIO | None = None) -> RawImage:
    """Header from `stream`, and from there or from `voxels` what it describes."""
    header = _header(stream, path, b"n+" if voxels is None else b"ni")
    notes: list[str] = []
    shape = _shape(header, path, notes)
    check_volume_shape(shape, path)
    dtype = _dtype(header, path)
    affine = _affine(header, shape, path)
    if note := unset_grid_note(affine):
        notes.append(note)
    offset = _offset(header, path, voxels is not None)
    stream = stream if voxels is None else voxels
    declared = offset + math.prod(shape) * dtype.itemsize
    if declared > size * (_MAX_GZIP_RATIO if zipped else 1):
        raise UnreadableFileError(
            f"the header states {shape} voxels, more than the file can hold (truncated?)", where=path, how=_AGAIN
        )
    if zipped and declared > _BOMB_BYTES and declared > size * _BOMB_RATIO:
        raise UnreadableFileError(
            f"{size} bytes claim to unpack to {declared}: a gzip bomb, not a CT",
            where=path,
            how="export the scan again",
        )
    try:
        if np.isinf(header["scl_slope"]):  # nibabel takes it for "no scale"
            raise HeaderDataError
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        raise IntensityError("scl_slope or scl_inter is no number", where=path, how="export the scan again") from None

    stream.seek(offset)
    array = np.empty(shape, dtype=np.float32, order="F")
    slice_bytes = shape[0] * shape[1] * dtype.itemsize
    for k in range(shape[2]):
        data = stream.read(slice_bytes)
        if len(data) != slice_bytes:
            raise UnreadableFileError(f"the file ends in slice {k + 1} of {shape[2]}", where=path, how=_AGAIN)
        stored = np.frombuffer(data, dtype).reshape(shape[:2], order="F")
        if slope is None:
            _check_exact(stored, path)
            array[:, :, k] = stored
        else:
            array[:, :, k] = stored.astype(np.float64) * slope + intercept
    if len(stream.read(slice_bytes)) == slice_bytes:  # reading on to the end also checks gzip's checksum
        raise UnreadableFileError(f"the file holds more than the {shape} voxels of its header", where=path, how=_AGAIN)
    if dtype.kind in "iu" and dtype.itemsize == 8:
        notes.append(f"{dtype.name} voxels were read as float32 without loss")
    return RawImage(array, affine, tuple(notes))


def _header(stream: BinaryIO, path: Path, magic: bytes) -> Header:
    head = stream.read(540)
    for order in "<>":
        length = struct.unpack(f"{order}i", head[:4])[0] if len(head) >= 348 else 0
        kind = {348: nib.Nifti1Header, 540: nib.Nifti2Header}.get(length)
        if kind is not None and len(head) >= length:
            header = kind(head[:length], endianness=order, check=False)
            if header["magic"].item()[:3] in (magic + b"1", magic + b"2"):
                return header
            raise UnreadableFileError(
                "is not a NIfTI of one file (Analyze, or the header of a pair)",
                where=path,
                how="name the two files .hdr and .img, or save it as .nii or .nii.gz",
            )
    raise UnreadableFileError("is not a NIfTI file, whatever its name says", where=path, how=_AGAIN)


def _shape(header: Header, path: Path, notes: list[str]) -> tuple[int, int, int]:
    dims = [int(value) for value in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise UnreadableFileError(f"the header states impossible dimensions {dims}", where=path, how=_AGAIN)
    shape = dims[1 : dims[0] + 1]
    if len(shape) < 2 or any(length > 1 for length in shape[3:]):
        raise UnsupportedImageError(
            f"the image has the shape {tuple(shape)}, and one three-dimensional volume is due",
            where=path,
            how="save the one volume or channel that is meant",
        )
    if len(shape) > 3:
        notes.append(f"the shape {tuple(shape)} was taken as {tuple(shape[:3])}")
    x, y, z = [*shape, 1][:3]
    return x, y, z


def _dtype(header: Header, path: Path) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except KeyError:
        code = int(header["datatype"])
        raise UnreadableFileError(f"NIfTI has no kind of voxels numbered {code}", where=path, how=_AGAIN) from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        named = "RGB colours" if dtype.fields else str(dtype)
        raise UnsupportedImageError(
            f"voxels of the kind {named} are not those of a scan", where=path, how="save the volume as int16 or float32"
        )
    return dtype


def _offset(header: Header, path: Path, pair: bool) -> int:
    stated = float(header["vox_offset"])
    if not 0 <= stated <= _MAX_HEADER_BYTES or (0 < stated < header.sizeof_hdr and not pair):
        raise UnreadableFileError(f"the header states that voxels begin at byte {stated:g}", where=path, how=_AGAIN)
    return int(stated) if pair else int(header.get_data_offset())


def _affine(header: Header, shape: tuple[int, int, int], path: Path) -> np.ndarray:
    axes = 2 if header["dim"][0] == 2 else 3
    pixdim = np.array(header["pixdim"], dtype=np.float64)
    spacing = pixdim[1 : axes + 1]
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        shown = " x ".join(f"{value:g}" for value in spacing)
        raise GeometryError(
            f"the voxel spacing {shown} is not positive", where=path, how="correct pixdim in the header"
        )
    if header["xyzt_units"] & 7 in (1, 3):
        raise GeometryError("the spacing is in metres or micrometres", where=path, how="save the volume in millimetres")
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # the standard's reading of any other value
    try:
        sform = header.get_sform(coded=True)[0]
        qform = header.get_qform(coded=True)[0]
    except (ValueError, HeaderDataError):
        raise GeometryError("the qform is not a rotation", where=path, how="set sform and qform anew") from None
    if sform is None and qform is None:
        # Left and right, head and feet would be a guess.
        raise GeometryError(
            "neither sform nor qform is set, so the orientation of the volume is unknown",
            where=path,
            how="convert the DICOM series again, or set the sform (nibabel: image.set_sform(affine, code=1))",
        )
    for affine in (sform, qform):
        if affine is not None:
            check_affine(affine, path)
    if sform is not None and qform is not None and not same_grid(sform, qform, shape):
        raise GeometryError(
            "sform and qform disagree about where the voxels lie",
            where=path,
            how="decide which is right and copy it over the other (nibabel: image.set_qform(image.get_sform()))",
        )
    affine = np.asarray(sform if sform is not None else qform, dtype=np.float64)
    lengths = np.linalg.norm(affine[:3, :axes], axis=0)
    if not np.allclose(lengths, spacing, rtol=1e-2):
        raise GeometryError(
            f"the affine gives a spacing of {np.round(lengths, 4).tolist()} mm, "
            f"pixdim one of {np.round(spacing, 4).tolist()}",
            where=path,
            how="decide which is right and save the volume with it",
        )
    return affine


def same_grid(first: np.ndarray, second: np.ndarray, shape: tuple[int, int, int]) -> bool:
    """Whether two affines put every voxel of a volume in the same place, to a tenth of a voxel."""
    corners = np.array(
        [[i, j, k, 1] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)]
    ).T
    # Directions must agree as well: one slice alone has no corner that would show its normal.
    spacing = np.linalg.norm(first[:3, :3], axis=0)
    if np.abs((first - second)[:3, :3] / spacing).max() > GRID_TOLERANCE:
        return False
    apart = np.linalg.norm(((first - second) @ corners)[:3], axis=0).max()
    return bool(apart <= GRID_TOLERANCE * spacing.min())


def _check_exact(stored: np.ndarray, path: Path) -> None:
    if (
        stored.dtype.kind in "iu"
        and stored.dtype.itemsize > 2
        and max(abs(int(stored.min())), abs(int(stored.max()))) > 2**24
    ):
        raise IntensityError(
            f"{stored.dtype.name} voxels from {stored.min()} to {stored.max()} are not those of a scan",
            where=path,
            how="save it as int16",
        )
