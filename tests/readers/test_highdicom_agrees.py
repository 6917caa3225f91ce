"""highdicom as an oracle: its volume of a series, and of an enhanced CT, is ours voxel for voxel, in the same place and
in the same order.

highdicom counts (slice, row, column), right-handed, and places in LPS: its slices go against row x column direction.
The readers count (column, row, slice), right-handed, and place in RAS: their slices go along it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from enhanced_ct import enhanced_of

from pipelines.readers import CaseImage, read_volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TURN = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])  # (column, row, slice) to highdicom's (slice, row, column)


def noise(shape: tuple[int, int, int] = (40, 36, 5)) -> np.ndarray:
    """Hounsfield units (columns, rows, slices) of which no turn, mirror or shift looks like another."""
    return np.random.default_rng(0).integers(-1000, 400, shape).astype(np.int16)


def oblique() -> tuple[np.ndarray, np.ndarray]:
    """Row and column directions that are turned about all three axes."""
    a, b, c = np.radians([12, -25, 33])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    turn = turn @ [[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]]
    return turn[:, 0], turn[:, 1]


DIRECTIONS = {
    "axial": ([1, 0, 0], [0, 1, 0]),
    "prone": ([-1, 0, 0], [0, -1, 0]),
    "feet first": ([-1, 0, 0], [0, 1, 0]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "oblique": oblique(),
}


def agree(ours: CaseImage, theirs: hd.Volume, *, floor: float = -np.inf) -> None:
    """Asserts that the same value lies in the same place, rows and columns unturned, slices in the opposite order.

    Args:
        floor: what highdicom's values are raised to, where a series has padding: here that is air.
    """
    index = np.linalg.inv(theirs.affine) @ LPS_TO_RAS @ ours.affine
    expected = np.eye(4)
    expected[:3, :3], expected[0, 3] = TURN, ours.array.shape[2] - 1
    np.testing.assert_allclose(index, expected, atol=1e-4)
    there = np.maximum(theirs.array[::-1].transpose(2, 1, 0), floor)
    assert there.shape == ours.array.shape
    difference = np.abs(ours.array - there).max()
    assert difference < 1e-3, "the values differ"
    np.testing.assert_allclose(np.array(ours.spacing), theirs.spacing[::-1], rtol=1e-6)


def volume_of(folder: Path) -> hd.Volume:
    return hd.get_volume_from_series([pydicom.dcmread(path) for path in sorted(folder.iterdir())])


def lay(direction: str, spacing: tuple[float, float, float] = (0.8, 0.7, 2.0), step: int = 1) -> Any:
    """An edit that lays slice k along the normal; `step` -1 has them go against it."""
    across, down = (np.asarray(each, dtype=float) for each in DIRECTIONS[direction])
    normal = np.cross(across, down)

    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.ImageOrientationPatient = [f"{value:.12f}"[:16] for value in (*across, *down)]
        place = np.array([-14.0, -9.0, 100.0]) + step * k * spacing[2] * normal
        dataset.ImagePositionPatient = [f"{value:.10f}"[:16] for value in place]
        dataset.PixelSpacing = list(spacing[:2])

    return edit


@pytest.mark.parametrize("step", [1, -1], ids=["along", "against"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_in_every_direction(write_series, direction: str, step: int) -> None:
    folder = write_series(lay(direction, step=step), volume=noise())
    ours = read_volume(folder)
    agree(ours, volume_of(folder))
    np.testing.assert_array_equal(ours.array, noise()[:, :, ::step])  # and neither turned it


@pytest.mark.parametrize("slices", [3, 31])
@pytest.mark.parametrize("spacing", [(0.5, 1.5, 7.0), (1.5, 0.5, 0.6), (0.7, 0.7, 0.7)])
def test_anisotropic_and_of_any_length(write_series, spacing: tuple[float, float, float], slices: int) -> None:
    folder = write_series(lay("axial", spacing), volume=noise((40, 36, slices)))
    ours = read_volume(folder)
    agree(ours, volume_of(folder))
    np.testing.assert_allclose(ours.spacing, (spacing[1], spacing[0], spacing[2]))


def test_instance_numbers_that_have_nothing_to_do_with_space(write_series) -> None:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.InstanceNumber = [3, 1, 5, 2, 4][k]

    folder = write_series(edit, volume=noise())
    ours = read_volume(folder)
    agree(ours, volume_of(folder))
    np.testing.assert_array_equal(ours.array, noise())


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (0.5, -1000.5), (2, 24), (-1, 200)])
def test_signed_and_unsigned_with_any_rescale(write_series, signed: int, slope: float, intercept: float) -> None:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        stored = np.rint((noise()[:, :, k].T - intercept) / slope)
        if not signed:
            stored = stored.clip(0)
        dataset.PixelRepresentation, dataset.RescaleSlope, dataset.RescaleIntercept = signed, slope, intercept
        dataset.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()

    folder = write_series(edit, volume=noise())
    agree(read_volume(folder), volume_of(folder))


def test_a_rescale_that_changes_from_slice_to_slice(write_series) -> None:
    def edit(dataset: pydicom.Dataset, k: int) -> None:
        dataset.RescaleSlope = 0.5 + 0.25 * k
        dataset.PixelData = np.rint((noise()[:, :, k].T + 1024) / dataset.RescaleSlope).astype("<i2").tobytes()

    folder = write_series(edit, volume=noise())
    agree(read_volume(folder), volume_of(folder))


@pytest.mark.parametrize("direction", ["axial", "sagittal", "oblique"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)], ids=str)
def test_an_enhanced_ct_with_its_frames_in_any_order(write_series, tmp_path, direction: str, order: Any) -> None:
    files = sorted(write_series(lay(direction), volume=noise()).iterdir(), key=lambda path: int(path.stem[1:]))
    slices = [pydicom.dcmread(path) for path in files]
    path = tmp_path / "enhanced.dcm"
    enhanced_of([slices[k] for k in order]).save_as(path, enforce_file_format=True)
    ours = read_volume(path)
    np.testing.assert_array_equal(ours.array, noise())
    agree(ours, hd.imread(path).get_volume())
    agree(read_volume(path.parent / "series"), hd.imread(path).get_volume())  # and it is the series that it was made of


def test_a_real_series(shared_data: Path) -> None:
    folder = shared_data / "ct_dicom" / "series3"
    agree(read_volume(folder), volume_of(folder), floor=-1024)


def test_what_is_wrong_would_be_seen(write_series) -> None:
    """The oracle is one: mirrored, shifted or in another order, nothing agrees."""
    folder = write_series(volume=noise())
    ours, theirs = read_volume(folder), volume_of(folder)
    shifted = ours.affine.copy()
    shifted[2, 3] += 2.0
    for array, affine in (
        (ours.array[::-1], ours.affine),
        (ours.array[:, :, ::-1], ours.affine),
        (ours.array, shifted),
    ):
        with pytest.raises(AssertionError):
            agree(CaseImage(array, affine, "volume", "hu", folder), theirs)
