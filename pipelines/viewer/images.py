"""Images as the page needs them, read by the project's strict readers and by nothing else, and kept in a cache.

A volume becomes an uncompressed NIfTI file with its axes turned to right, front and up (RAS); no voxel is resampled. So
one order of voxels holds in the page, whatever the file's was, and ``to_file`` turns a mask back. A picture becomes a
PNG, upright.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import LabelError, OutputError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.preparation.showing import value_window, windowed
from pipelines.readers import PICTURE_AFFINE, read_as_shown, read_colour, read_label, read_xray
from pipelines.readers.finder import SEPARATOR
from pipelines.readers.kinds import PICTURE, kind_of
from pipelines.readers.raw import Grid

MOST_BYTES = 4 * 2**30  # of the cache: five scans of 1,500 slices
_NAME = "name an image that is there"
_SIZES = {np.dtype(np.uint8): 1, np.dtype(np.int16): 2}


@dataclass(frozen=True, eq=False)
class Shown:
    """An image as the page has it.

    Attributes:
        kind: "volume" or "picture".
        shape: (X, Y, Z) in the page's order: right, front, up; of a picture (W, H, 1).
        affine: voxels of that order to RAS millimetres.
        intensity: "hu", "display" (0..255) or "colour".
        file: the NIfTI or PNG file in the cache.
        grid: of the image as it is stored.
        turn: the orientation that leads from its axes to the page's.
        slice_numbers: for each axial slice, from the feet up, its index in the file.
        spacing: millimetres along X, Y, Z of the page's order; None for a picture.
        notes: of the reader.
    """

    kind: Literal["volume", "picture"]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    intensity: str
    file: Path
    grid: Grid
    turn: NDArray[Any]
    slice_numbers: tuple[int, ...]
    spacing: tuple[float, float, float] | None
    notes: tuple[str, ...] = ()

    def to_page(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A mask on the image's grid, in the page's order; a view."""
        return orientations.apply_orientation(array, self.turn)

    def to_file(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A mask in the page's order, on the image's grid; a view."""
        # what leads back: axis k of the file is the axis of the page that it was turned to, flipped where it was
        back = np.empty_like(self.turn)
        for axis, (onto, flip) in enumerate(self.turn):
            back[int(onto)] = axis, flip
        return orientations.apply_orientation(array, back)


class Images:
    """Opens images, each once until it is replaced, and keeps them in a folder, of which the oldest go as it fills.

    Args:
        folder: of the cache; somebody else removes it.
        most_bytes: that it may hold, the image that was asked for last aside.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Shown] = OrderedDict()
        self._lock = threading.Lock()  # of the table; reading has a lock of its own
        self._reading = threading.Lock()  # one image at a time: a long scan takes a gibibyte

    def open(self, path: Path, kind: str | None) -> Shown:
        """The image at a path.

        Args:
            path: what the readers take.
            kind: "volume" or "picture", where that is known; else the file's name decides.

        Raises:
            PipelinesError: as the readers say. OutputError: the cache cannot be written.
        """
        key = _key(path, kind)
        _check_name(path)
        with self._reading:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            try:
                shown = self._picture(path, key) if is_picture(path, kind) else self._volume(path, key)
            except OSError as error:  # of what it reads the readers raise their own
                what = f"the image cannot be unpacked ({error.strerror or error})"
                raise OutputError(what, where=self._folder, how="free space there, or set TMPDIR") from error
            with self._lock:
                self._kept[key] = shown
                self._make_room()
            return shown

    def is_open(self, path: Path, kind: str | None) -> bool:
        """Whether an image is in the cache."""
        key = _key(path, kind)
        with self._lock:
            return key in self._kept

    def _make_room(self) -> None:
        sizes = {key: shown.file.stat().st_size for key, shown in self._kept.items()}
        while sum(sizes.values()) > self._most_bytes and len(sizes) > 1:
            key, shown = self._kept.popitem(last=False)
            shown.file.unlink(missing_ok=True)
            del sizes[key]

    def _volume(self, path: Path, key: str) -> Shown:
        case = read_as_shown(path)
        if case.kind == "picture":
            return self._picture(path, key)
        turn = orientations.io_orientation(case.affine)
        array = orientations.apply_orientation(case.array, turn)
        affine = case.affine @ orientations.inv_ornt_aff(turn, case.array.shape)
        file = self._folder / f"{key}.nii"
        intensity, notes = case.intensity, case.notes
        if intensity == "any":
            window = value_window(array)
            stored: NDArray = np.empty(array.shape, np.uint8, order="F")
            for z in range(array.shape[2]):
                stored[:, :, z] = windowed(array[:, :, z], window) * 255
            intensity, notes = (
                "display",
                (*notes, "values from {:g} to {:g} are shown as grey from 0 to 255".format(*window)),
            )
        elif intensity == "display":
            stored = np.rint(array).clip(0, 255).astype(np.uint8)
        else:
            stored = np.empty(array.shape, np.int16, order="F")
            for z in range(array.shape[2]):  # a slice at a time: a long scan in float64 would not fit
                stored[:, :, z] = np.rint(array[:, :, z]).clip(-32768, 32767)
        _write_nifti(file, stored, affine)
        x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
        return Shown(
            "volume", stored.shape, affine, intensity, file, case.grid, turn,
            tuple(case.slice_indices), (x, y, z), notes,
        )  # fmt: skip

    def _picture(self, path: Path, key: str) -> Shown:
        array, intensity, notes = _read_picture(path)
        file = self._folder / f"{key}.png"
        Image.fromarray(np.ascontiguousarray(array)).save(file, compress_level=1)
        shape = (array.shape[1], array.shape[0], 1)
        same = orientations.axcodes2ornt("RAS")
        grid = Grid(shape, PICTURE_AFFINE, "picture", path.name)
        return Shown("picture", shape, PICTURE_AFFINE, intensity, file, grid, same, (0,), None, notes)


def stamp(path: Path) -> str:
    """A mark of an image as it is now: another one when the file, or a file of its folder, is replaced; "" where there
    is none. Of what lies in an archive it is the archive's."""
    container = Path(str(path).partition(SEPARATOR)[0])
    try:
        found = [container.stat()]
        if stat.S_ISDIR(found[0].st_mode):
            with os.scandir(container) as entries:
                found += [entry.stat() for entry in sorted(entries, key=lambda entry: entry.name)]
    except (OSError, ValueError):
        return ""
    marks = ",".join(f"{each.st_mtime_ns:x}-{each.st_size:x}-{each.st_ino:x}" for each in found)
    return hashlib.sha256(marks.encode()).hexdigest()[:24]


def _key(path: Path, kind: str | None) -> str:
    """Of an image in the cache, as it is now."""
    named = f"{kind}\0{path}\0{stamp(path)}"
    return hashlib.sha256(named.encode(errors="surrogatepass")).hexdigest()[:24]


def _check_name(path: Path) -> None:
    try:
        os.lstat(path)
    except ValueError:
        raise UnreadableFileError("no file can have this name", where=path, how=_NAME) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UnreadableFileError("no file can have so long a name", where=path, how=_NAME) from None


def open_mask(path: Path, shown: Shown, labels: dict[int, str]) -> NDArray[np.uint8]:
    """A mask in the page's order, (X, Y, Z); one of 0 and 255 has 0 and 1 where no label is called 255.

    Raises:
        PipelinesError: as ``read_label``; the mask lies on another grid than the image.
    """
    mask = read_label(path, shown.grid)
    found = np.flatnonzero(np.bincount(mask.ravel(order="K"), minlength=256))
    if found[-1] == 255 and 255 not in labels:
        if found.size > 2 or found[0] not in (0, 255):
            raise LabelError("the mask holds 255 and other values", where=path, how="save it with one number a label")
        mask = (mask == 255).astype(np.uint8)
    return shown.to_page(mask)


def as_bytes(mask: NDArray[np.uint8]) -> bytes:
    """Voxels with X the fastest: what the page takes and gives."""
    return mask.tobytes(order="F")


def from_bytes(data: bytes, shown: Shown) -> NDArray[np.uint8]:
    """What ``as_bytes`` gave; raises ValueError where the length is another."""
    return np.frombuffer(data, np.uint8).reshape(shown.shape, order="F")


def is_picture(path: Path, kind: str | None) -> bool:
    """Whether an image is shown as a picture: as its report says, or else as its name does."""
    if kind is not None:
        return kind == "picture"
    return path.is_file() and kind_of(path) == PICTURE


def _read_picture(path: Path) -> tuple[NDArray[np.uint8], str, tuple[str, ...]]:
    """A picture (H, W, 3) or (H, W): a photograph as it is, or else an X-ray as the network sees it."""
    try:
        colour = read_colour(path)
    except PipelinesError as first:
        try:
            xray = read_xray(path)
        except PipelinesError:
            raise first from None
        return np.rint(xray.array).astype(np.uint8).T, "display", xray.notes
    array = colour.array.transpose(2, 1, 0)
    grey = bool((colour.array[0] == colour.array[1]).all() and (colour.array[0] == colour.array[2]).all())
    return (array[:, :, 0], "display", ()) if grey else (array, "colour", colour.notes)


def _write_nifti(path: Path, array: NDArray, affine: NDArray) -> None:
    if array.dtype not in _SIZES:
        raise UnsupportedImageError(f"voxels of the kind {array.dtype} are not shown")
    header = nib.Nifti1Header()
    header.set_data_shape(array.shape)
    header.set_data_dtype(array.dtype)
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["magic"] = b"n+1"
    with path.open("wb") as file:
        file.write(header.binaryblock.ljust(352, b"\0"))
        for z in range(array.shape[2]):
            file.write(array[:, :, z].tobytes(order="F"))
