"""PneumoniaMNIST: chest X-rays of one size as arrays in an .npz file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DatalistError, LabelError, UnreadableFileError, UnsupportedImageError
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, RawCase
from pipelines.readers.raw import file_size
from pipelines.readers.xray import SMALLEST
from pipelines.tasks.chest_xray.source import XRAY_CLASSES, RawXrays, XrayPixels, read_xray_plane

MAX_BYTES = 2**32  # unpacked; PneumoniaMNIST of 224 x 224 has 0.3 GB
_HOW = "give PneumoniaMNIST's own file"


def find_arrays(path: Path) -> RawXrays:
    """``train_images``, ``train_labels``, likewise ``val_...`` and ``test_...``, of which either may be absent: uint8
    (N, H, W) or (N, H, W, 3) with equal channels, and labels (N, 1) of 0 and 1. Validation and test stay what they are.
    All of it is held in memory.

    Raises:
        UnreadableFileError: missing, no .npz, damaged, or above 4 GiB. UnsupportedImageError: no uint8 pictures of at
            least 28 pixels a side, or colour. LabelError: other labels. DatalistError: no training pictures.
    """
    arrays = _load(path)
    planes: dict[str, NDArray[np.uint8]] = {}
    places: dict[str, tuple[str, int]] = {}
    cases: list[RawCase] = []
    for part in ("train", "val", "test"):
        pair = [arrays.get(f"{part}_{kind}") for kind in ("images", "labels")]
        if pair[0] is None and pair[1] is None:
            continue
        if pair[0] is None or pair[1] is None:
            missing = f"{part}_{'images' if pair[0] is None else 'labels'}"
            raise UnreadableFileError(f"there is no array {missing}", where=path, how=_HOW)
        planes[part] = _planes(pair[0], _inside(path, f"{part}_images"))
        labels = _labels(pair[1], len(planes[part]), _inside(path, f"{part}_labels"))
        for i, label in enumerate(labels):
            name = f"{part}_{i:05d}"
            places[name] = part, i
            where = _inside(path, f"{part}_images[{i}]")
            cases.append(
                RawCase(name, name, where, official_test=part == "test", official_validation=part == "val", label=label)
            )
    if "train" not in planes or not len(planes["train"]):
        raise DatalistError("there are no training pictures", where=path, how=_HOW)

    def read(raw: RawCase) -> XrayPixels:
        part, i = places[raw.case]
        return read_xray_plane(np.ascontiguousarray(planes[part][i]), raw.image)

    rows, columns = planes["train"].shape[1:]
    layout = f"PneumoniaMNIST, pictures of {columns} x {rows}"
    return RawXrays(layout, cases, False, notes=[PATIENTS_UNKNOWN], read=read)


def _load(path: Path) -> dict[str, np.ndarray]:
    file_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise UnreadableFileError("the arrays are absurdly large", where=path, how=_HOW)
        with np.load(path, allow_pickle=False) as stored:
            due = [f"{part}_{kind}" for part in ("train", "val", "test") for kind in ("images", "labels")]
            return {name: stored[name] for name in due if name in stored}
    except UnreadableFileError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise nearly anything on damaged files
        raise UnreadableFileError(f"is no .npz file of plain arrays ({error})", where=path, how=_HOW) from None


def _inside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}:{what}")


def _planes(array: np.ndarray, where: Path) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise UnsupportedImageError(
            f"the array is {array.dtype} {array.shape}", where=where, how="uint8 (N, H, W) or (N, H, W, 3) is due"
        )
    if min(array.shape[1:3]) < SMALLEST:
        raise UnsupportedImageError(
            f"pictures of {array.shape[2]} x {array.shape[1]} pixels are too small (at least {SMALLEST} a side)",
            where=where,
            how=_HOW,
        )
    if array.ndim == 4:
        for i, picture in enumerate(array):  # one at a time: comparing all would double the memory
            if (picture != picture[:, :, :1]).any():
                raise UnsupportedImageError(
                    f"picture {i} is in colour, and grey is due", where=where, how="give equal channels, or one"
                )
        array = array[:, :, :, 0]
    return array


def _labels(array: np.ndarray, number: int, where: Path) -> list[int]:
    if array.shape not in ((number, 1), (number,)):
        raise LabelError(f"the array is {array.shape} for {number} pictures", where=where, how=f"({number}, 1) is due")
    values = array.ravel()
    if values.dtype.kind not in "iub" or not np.isin(values, list(XRAY_CLASSES)).all():
        shown = ", ".join(map(str, np.unique(values)[:8]))
        known = ", ".join(f"{value} {name}" for value, name in XRAY_CLASSES.items())
        raise LabelError(f"the labels are {shown} ({values.dtype})", where=where, how=f"whole numbers are due: {known}")
    return [int(value) for value in values]
