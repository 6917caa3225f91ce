"""Small scans for the readers: a picture, a volume and a DICOM series that are good, for tests to spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from ct_slices import make_slice
from pydicom.uid import generate_uid

COLUMNS, ROWS, SLICES = 40, 36, 5

SeriesWriter = Callable[..., Path]


def hounsfield(shape: tuple[int, int, int] = (COLUMNS, ROWS, SLICES)) -> np.ndarray:
    """int16 (X, Y, Z): air, a body, two lungs, and one voxel that tells where the corner (0, 0, 0) is."""
    x, y, z = shape
    volume = np.full(shape, -1000, dtype=np.int16)
    volume[4 : x - 4, 4 : y - 4] = 40
    volume[8 : x // 2 - 2, 10 : y - 10] = -850
    volume[x // 2 + 2 : x - 8, 10 : y - 10] = -860
    volume += np.arange(z, dtype=np.int16)
    volume[0, 0, 0] = 777
    return volume


@pytest.fixture
def ct() -> np.ndarray:
    return hounsfield()


@pytest.fixture
def grey() -> np.ndarray:
    """uint8 (rows, columns) with many levels."""
    rows, columns = np.mgrid[0:50, 0:60]
    return ((rows * 3 + columns * 2) % 256).astype(np.uint8)


@pytest.fixture
def write_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Write a volume; `edit` changes the header in the file afterwards, unchecked."""

    def write(
        array: np.ndarray,
        affine: np.ndarray | None = None,
        *,
        name: str = "case.nii",
        edit: Callable[[Any], None] | None = None,
        kind: type = nib.Nifti1Image,
    ) -> Path:
        path = tmp_path / name
        affine = np.diag([-0.7, -0.7, 2.0, 1.0]) if affine is None else affine
        image = kind(array, affine, dtype=array.dtype)
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
        image.to_filename(path)
        if edit is not None:
            data = bytearray(path.read_bytes())
            header = type(image.header)(bytes(data[: image.header.sizeof_hdr]), check=False)
            edit(header)
            data[: image.header.sizeof_hdr] = header.binaryblock
            path.write_bytes(bytes(data))
        return path

    return write


@pytest.fixture
def write_series(tmp_path: Path) -> SeriesWriter:
    """Write a good series; `edit(dataset, k)` spoils slice k before it is written, and returns False to drop it."""

    def write(
        edit: Callable[[Any, int], Any] | None = None, *, name: str = "series", volume: np.ndarray | None = None
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        volume = hounsfield() if volume is None else volume
        keys = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
        uids = {key: str(generate_uid()) for key in keys}
        for k in range(volume.shape[2]):
            dataset = make_slice(volume, k, uids)
            if edit is None or edit(dataset, k) is not False:
                # Names in an order that has nothing to do with space.
                with pydicom.config.disable_value_validation():
                    dataset.save_as(folder / f"{(k * 3) % 7}{k}.dcm", enforce_file_format=True)
        return folder

    return write
