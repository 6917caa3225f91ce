"""Volumes that 3D Slicer, ITK-SNAP and grand challenges write: NRRD, MetaImage, Analyze and NIfTI pairs.

itk reads the voxels; what its readers guess or follow in silence (no orientation, data files elsewhere, headers that
state more than there is) is looked at here first.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import GeometryError, IntensityError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import nifti
from pipelines.readers.length_units import millimetres
from pipelines.readers.raw import RawImage, check_affine, check_volume_shape, file_size, unset_grid_note

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".img.gz")

_PAIRS = (".hdr", ".img", ".img.gz")
_AGAIN = "copy or export it again"
_MAX_HEADER_BYTES = 2**20
_LONGEST_FIELD = 1000  # letters; a value of three directions has under 200
_MAX_RATIO = 1100  # deflate cannot do better than 1032:1
_BOMB_BYTES, _BOMB_RATIO = 2**29, 250
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SCALARS = ("unsigned_char", "char", "unsigned_short", "short", "unsigned_int", "int", "unsigned_long", "long",
            "unsigned_long_long", "long_long", "float", "double")  # fmt: skip
# NRRD's names of the spaces whose axes are those of a patient.
_SPACES = ("right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps")

# Fields of a MetaImage that say how large it is and how it lies.
_PLACING = ("NDims", "DimSize", "ElementSpacing", "ElementSize", "DistanceUnits", "TransformMatrix", "Rotation",
            "Orientation", "Offset", "Position", "Origin")  # fmt: skip


def read_itk(path: Path) -> RawImage:
    """Read a three-dimensional volume; a fourth axis of length one is dropped.

    Distances that a NRRD (``space units``) or a MetaImage (``DistanceUnits``) states in another unit become
    millimetres, with a note.

    Raises:
        UnreadableFileError: missing, truncated, corrupt, not of its kind, its voxels lie elsewhere than beside it, or
            a size that the file cannot hold.
        UnsupportedImageError: more than three dimensions, colour or vectors, a slice under 16 voxels a side.
        GeometryError: no orientation, an unknown unit, an impossible spacing, or axes that are not at right angles.
        IntensityError: whole numbers that float32 cannot hold.
    """
    size = file_size(path)
    name, notes, lengths = path.name.lower(), [], np.ones(3)
    if name.endswith(_PAIRS):
        header, voxels = _pair(path)
        if _begins(header, 348)[344:347] in (b"ni1", b"ni2") or _begins(header, 8)[4:7] == b"ni2":
            return nifti.read_pair(header, voxels)
        notes.append(
            "Analyze does not say how the volume lies: taken as it is usual, and left and right may be exchanged"
        )
        _check_analyze(header, voxels)
        path, size = header, size + file_size(voxels)
    elif name.endswith((".nrrd", ".nhdr")):
        more, lengths = _check_nrrd(path, notes)
        size += more
    else:
        more, lengths = _check_meta(path, notes)
        size += more
    array, affine, components = _read(path, size)
    if not name.endswith(_PAIRS) and (note := unset_grid_note(affine)):
        notes.append(note)
    affine[:3] *= lengths[:, None]
    check_affine(affine, path)
    whole = components not in ("float", "double")
    if whole and max(abs(float(array.min())), abs(float(array.max()))) > 2**24:
        raise IntensityError(
            f"{components} voxels up to {array.max():g} are not those of a scan", where=path, how="save it as int16"
        )
    return RawImage(array, affine, tuple(notes))


def _read(path: Path, size: int) -> tuple[np.ndarray, np.ndarray, str]:
    import itk  # some seconds, and only these formats need it

    shown_before = itk.Object.GetGlobalWarningDisplay()
    itk.Object.SetGlobalWarningDisplay(False)  # it writes to stderr by itself
    try:
        with _muted():
            return _by_itk(itk, path, size)
    except RuntimeError as error:
        reason = [line for line in str(error).splitlines() if line.strip() and "/work/" not in line]
        shown = re.sub(r"\(0x[0-9a-f]+\)", "", reason[0])[:120] if reason else "itk cannot read it"
        raise UnreadableFileError(f"the file is truncated or damaged ({shown})", where=path, how=_AGAIN) from None
    finally:
        itk.Object.SetGlobalWarningDisplay(shown_before)


def _by_itk(itk: Any, path: Path, size: int) -> tuple[np.ndarray, np.ndarray, str]:
    io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        raise UnreadableFileError("is not of the kind that its name says", where=path, how=_AGAIN)
    io.SetFileName(str(path))
    io.ReadImageInformation()
    axes = io.GetNumberOfDimensions()
    shape = [int(io.GetDimensions(axis)) for axis in range(axes)]
    components = str(io.GetComponentTypeAsString(io.GetComponentType()))
    x, y, z = _three(shape, path)
    if io.GetNumberOfComponents() != 1 or components not in _SCALARS:
        raise UnsupportedImageError(
            f"voxels of {io.GetNumberOfComponents()} components ({components}) are not those of a scan",
            where=path,
            how="save the one volume that is meant",
        )
    check_volume_shape((x, y, z), path)
    declared = x * y * z * int(io.GetComponentSize())
    if declared > size * _MAX_RATIO or (declared > _BOMB_BYTES and declared > size * _BOMB_RATIO):
        raise UnreadableFileError(
            f"the header states {(x, y, z)} voxels, more than the file can hold (truncated?)",
            where=path,
            how=_AGAIN,
        )
    affine = np.eye(4)
    for axis in range(min(axes, 3)):
        direction = [float(value) for value in io.GetDirection(axis)][:3]
        affine[: len(direction), axis] = np.array(direction) * float(io.GetSpacing(axis))
        affine[axis, 3] = float(io.GetOrigin(axis))
    volume = itk.array_from_image(itk.imread(str(path), itk.F))
    array = np.asfortranarray(volume.reshape(z, y, x).transpose(2, 1, 0), dtype=np.float32)
    return array, _LPS_TO_RAS @ affine, components


@contextmanager
def _muted() -> Iterator[None]:
    """What MetaIO says of a damaged file goes to stderr past Python and past itk's switch: our error says it."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _three(shape: list[int], path: Path) -> tuple[int, int, int]:
    if len(shape) < 3 or any(length > 1 for length in shape[3:]):
        raise UnsupportedImageError(
            f"the image has the shape {tuple(shape)}, and one three-dimensional volume is due",
            where=path,
            how="save the one volume or channel that is meant",
        )
    return shape[0], shape[1], shape[2]


def _begins(path: Path, count: int) -> bytes:
    file_size(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise UnreadableFileError(f"cannot be read ({error.strerror})", where=path, how="check its rights") from None


def _pair(path: Path) -> tuple[Path, Path]:
    """Header and voxels of a pair, whichever of them was given."""
    ending = next(each for each in _PAIRS if path.name.lower().endswith(each))
    stem = path.name[: -len(ending)]
    wanted = {".hdr": (".img", ".img.gz")}.get(ending, (".hdr",))
    beside = {each.name.lower(): each for each in path.parent.iterdir()}
    for other in wanted:
        found = beside.get((stem + other).lower())
        if found is not None:
            return (path, found) if ending == ".hdr" else (found, path)
    raise UnreadableFileError(
        f"there is no {stem}{wanted[0]} beside it, and the two belong together", where=path, how="copy both files"
    )


def _check_analyze(header: Path, voxels: Path) -> None:
    """itk fills up what is missing of Analyze's voxels, and says nothing."""
    head = _begins(header, 348)
    order = next((order for order in "<>" if len(head) == 348 and struct.unpack_from(f"{order}i", head)[0] == 348), "")
    if not order:
        raise UnreadableFileError("is not an Analyze or NIfTI header, whatever its name says", where=header, how=_AGAIN)
    dims, bits = struct.unpack_from(f"{order}8h", head, 40), struct.unpack_from(f"{order}h", head, 72)[0]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise UnreadableFileError(f"the header states impossible dimensions {dims}", where=header, how=_AGAIN)
    declared = math.prod(dims[1 : dims[0] + 1]) * bits // 8
    zipped = voxels.name.lower().endswith(".gz")
    there, size = 0, file_size(voxels)
    try:
        with gzip.open(voxels) if zipped else voxels.open("rb") as file:
            if not zipped:
                there = size
            while zipped and there <= declared and (data := file.read(2**20)):
                there += len(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFileError(f"the file is truncated or damaged ({error})", where=voxels, how=_AGAIN) from None
    if there < declared:
        raise UnreadableFileError(
            f"holds {there} bytes of voxels, and its header states {declared} (truncated?)", where=voxels, how=_AGAIN
        )


def _meta_fields(path: Path) -> dict[str, str]:
    """The fields of a MetaImage's header, names in lower case. ElementDataFile ends it.

    Its name may be there once only, wherever and in whatever letters: itk passes over some that look like the field.
    """
    head = _begins(path, _MAX_HEADER_BYTES)
    end = re.search(rb"ElementDataFile[ \t]*[=:][^\n]*", head)
    if end is None or head.lower().count(b"elementdatafile") != 1:
        what = "is not a MetaImage (its header has no ElementDataFile, or more than one)"
        raise UnreadableFileError(what, where=path, how=_AGAIN)
    fields: dict[str, str] = {}
    for line in head[: end.end()].decode("latin-1").split("\n"):  # as itk does: nothing else ends a line
        if len(line) > _LONGEST_FIELD:
            what = f"its header has a field of {len(line)} letters ({line[:40]!r})"
            raise UnreadableFileError(what, where=path, how=_AGAIN)
        parts = re.split(r":=|:|=", line, maxsplit=1)
        if len(parts) == 2 and not line.startswith("#"):
            name = parts[0].strip(" \t")
            meant = next((known for known in _PLACING if known.lower() == name.lower()), name)
            if meant in _PLACING and name.lower() in fields:
                raise UnreadableFileError(f"its header states {meant} twice", where=path, how=_AGAIN)
            if name != meant:  # itk would take what is usual, such as 1 mm
                raise UnreadableFileError(
                    f"its header writes {meant} as {name!r}, which readers of MetaImages pass over",
                    where=path,
                    how=f"write {meant} in these letters",
                )
            fields.setdefault(name.lower(), parts[1].strip())
    return fields


def _nrrd_fields(path: Path) -> dict[str, str]:
    """The fields of a NRRD's header (``field: value``), as itk reads them: its key/value pairs (``key:=value``) are not
    among them, or one could hide the field of the same name."""
    head = _begins(path, _MAX_HEADER_BYTES)
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None and len(head) == _MAX_HEADER_BYTES:
        raise UnreadableFileError(f"its header has no end in the first {len(head)} bytes", where=path, how=_AGAIN)
    fields: dict[str, str] = {}
    for line in re.split(
        r"[\r\n]+", head[: end.end() if end else None].decode("latin-1")
    ):  # a lone \r ends a line for itk too
        if len(line) > _LONGEST_FIELD and not line.startswith("#") and ":=" not in line.partition(": ")[0]:
            # itk's message of such a one, where it is damaged, ends the process by a segmentation fault
            what = f"its header has a field of {len(line)} letters ({line[:40]!r})"
            raise UnreadableFileError(what, where=path, how=_AGAIN)
        name, colon, value = line.partition(": ")
        name = name.strip().lower().replace("datafile", "data file")
        if not colon or ":" in name or name.startswith("#"):
            continue
        if name in fields:
            raise UnreadableFileError(f"its header states {name!r} twice", where=path, how=_AGAIN)
        fields[name] = value.strip()
    return fields


def _check_nrrd(path: Path, notes: list[str]) -> tuple[int, NDArray[np.float64]]:
    """Bytes of a NRRD's data files, checked before itk follows them, and millimetres of its units of length."""
    fields = _nrrd_fields(path)
    sizes = [int(size) for size in fields.get("sizes", "").split() if size.isdecimal()]
    if len([size for size in sizes if size > 1]) > 3:  # itk would call one of them components
        raise UnsupportedImageError(
            f"the NRRD has {len(sizes)} axes ({' x '.join(map(str, sizes))}), as sequences and colours have, "
            "and one three-dimensional volume is due",
            where=path,
            how="save the one volume or channel that is meant",
        )
    space = fields.get("space", "").lower()
    if space not in _SPACES or "space directions" not in fields:
        raise GeometryError(
            "the NRRD does not say how the volume lies in the patient (space, space directions)",
            where=path,
            how="save it anew from the program that it was made with, as NRRD with its orientation, or as NIfTI",
        )
    lengths = (
        _lengths(re.findall(r'"([^"]*)"', fields["space units"]), path, notes) if "space units" in fields else None
    )
    data = fields.get("data file", "")
    return _beside(data, path) if data else 0, np.ones(3) if lengths is None else lengths


def _lengths(units: list[str], path: Path, notes: list[str]) -> NDArray[np.float64]:
    if len(units) != 3:
        raise GeometryError(
            'the NRRD states its space units not as three names in quotes ("mm" "mm" "mm")',
            where=path,
            how="save the volume in millimetres",
        )
    # NRRD is ASCII by the letter, and programs write the sign for micro in UTF-8.
    lengths, note = millimetres([each.encode("latin-1").decode(errors="replace") for each in units], path)
    notes += [note] if note else []
    return lengths


def _check_meta(path: Path, notes: list[str]) -> tuple[int, NDArray[np.float64]]:
    """Bytes of a MetaImage's data file, checked before itk follows it, and millimetres of its unit of length."""
    fields = _meta_fields(path)
    if "ndims" not in fields or "elementdatafile" not in fields:
        raise UnreadableFileError("is not a MetaImage, whatever its name says", where=path, how=_AGAIN)
    if not re.fullmatch("[1-9]|10", fields["ndims"]):  # MetaIO has room for 10, and ends the process on more
        shown = fields["ndims"][:20]
        raise UnreadableFileError(f"its header states {shown!r} dimensions (NDims)", where=path, how=_AGAIN)
    if not {"transformmatrix", "rotation", "orientation"} & set(fields):
        raise GeometryError(
            "the MetaImage does not say how the volume lies in the patient (TransformMatrix)",
            where=path,
            how="save it anew from the program that it was made with, or as NIfTI",
        )
    if not {"elementspacing", "elementsize"} & set(fields):
        notes.append(
            "the MetaImage does not state how large its voxels are (ElementSpacing): 1 mm is taken for it, and volumes "
            "in mL are not to be trusted"
        )
    lengths, note = millimetres([fields.get("distanceunits", "")] * 3, path)
    notes += [note] if note else []
    data = fields["elementdatafile"]
    if data.upper() == "LOCAL":
        return 0, lengths
    if file_size(path) > _MAX_HEADER_BYTES:  # of which not all was looked at
        raise UnreadableFileError("is too long for a header without voxels", where=path, how=_AGAIN)
    return _beside(data, path), lengths


def _beside(name: str, path: Path) -> int:
    if name.upper().startswith("LIST") or "%" in name or (len(name.split()) > 1 and not (path.parent / name).exists()):
        raise UnsupportedImageError(
            "its voxels lie in several files", where=path, how="save it as one file (.nrrd, .mha or .nii.gz)"
        )
    if Path(name).name != name or "\\" in name:
        raise UnreadableFileError(
            "its header leads to a file in another folder", where=path, how="put header and voxels into one folder"
        )
    if not (path.parent / name).exists():
        raise UnreadableFileError(
            f"there is no {name} beside it, which holds its voxels", where=path, how="copy both files"
        )
    return file_size(path.parent / name)
