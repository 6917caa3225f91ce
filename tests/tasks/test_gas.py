"""Gas in airways, stomach and bowel is no lung; everything that lungs can be stays lung."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipelines.tasks.lung_ct.gas import gas_outside_lungs
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.lungs import body_mask
from pipelines.tasks.lung_ct.phantom import make_lung_phantom

Volume = tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float64]]
SIZE, SLICES = 160, 48


@pytest.fixture(scope="module")
def chest() -> Volume:
    """HU, label, what is hollow besides the lungs (called lung by whoever sees one slice), and spacing in mm."""
    phantom = make_lung_phantom(11, SIZE, SLICES, 0.15, bowel_gas=True)
    body = ndimage.binary_erosion(body_mask(scale_ct(phantom.array, "hu")), np.ones((5, 5, 1)))
    hollow = body & (phantom.label == 0) & (phantom.array < -500)
    return phantom.array, phantom.label, hollow, np.linalg.norm(phantom.affine[:3, :3], axis=0)


@pytest.fixture(scope="module")
def left(chest: Volume) -> NDArray[np.bool_]:
    return make_lung_phantom(11, SIZE, SLICES, 0.15, bowel_gas=True).lungs == 1


def found(hu: NDArray, called: NDArray, spacing: NDArray) -> NDArray[np.bool_]:
    return gas_outside_lungs(called.astype(np.uint8), scale_ct(hu.astype(np.float32), "hu"), spacing, True)


def dice(a: NDArray, b: NDArray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def as_it_is(hu: NDArray, label: NDArray, left: NDArray) -> None:
    pass


def one_lung(hu: NDArray, label: NDArray, left: NDArray) -> None:
    hu[left], label[left] = 30, 0


def joined_in_front(hu: NDArray, label: NDArray, left: NDArray) -> None:
    front = (label.any(axis=1, keepdims=True)) & (np.abs(np.arange(SIZE) - 80) < 10)[:, None, None]
    front = front & ((np.arange(SIZE) > 45) & (np.arange(SIZE) < 58))[None, :, None]
    front[..., :20] = front[..., 34:] = False
    hu[front], label[front] = -870, 1


def lobe_consolidated(hu: NDArray, label: NDArray, left: NDArray) -> None:
    lobe = left & (np.arange(SLICES) < 26)
    hu[lobe], label[lobe] = 30, 2


def divided_by_what_was_missed(hu: NDArray, label: NDArray, left: NDArray) -> None:
    band = left & (np.arange(SLICES) >= 20) & (np.arange(SLICES) < 25)
    hu[band], label[band] = 30, 0


def bulla(hu: NDArray, label: NDArray, left: NDArray) -> None:
    """Walled by ribs and mediastinum in its slices, and open to lung above and below."""
    x, y, z = np.argwhere(left & (np.arange(SLICES) == 36)).mean(axis=0)
    grid = np.indices(hu.shape)
    ball = left & (np.hypot(np.hypot((grid[0] - x) * 2.5, (grid[1] - y) * 2.5), (grid[2] - z) * 6.9) < 45)
    hu[ball] = -985


def upper_lobe_of_gas(hu: NDArray, label: NDArray, left: NDArray) -> None:
    hu[left & (np.arange(SLICES) > 33) & (label == 1)] = -985


def noise(hu: NDArray, label: NDArray, left: NDArray) -> None:
    hu += np.random.default_rng(0).normal(0, 80, hu.shape).astype(hu.dtype)


CHANGES = [
    as_it_is, one_lung, joined_in_front, lobe_consolidated, divided_by_what_was_missed, bulla, upper_lobe_of_gas, noise,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_gas_goes_and_lung_stays(chest: Volume, left: NDArray, change: Callable[..., None]) -> None:
    hu, label, hollow, spacing = (each.copy() for each in chest)
    change(hu, label, left)
    called = np.where(hollow & (label == 0), 1, label)
    gas, lung = found(hu, called, spacing), label > 0
    assert (gas & hollow & ~lung).sum() > 0.85 * (hollow & ~lung).sum()
    assert (gas & lung).sum() < 0.005 * lung.sum()
    assert dice((called > 0) & ~gas, lung) > 0.98 > dice(called > 0, lung)


@pytest.mark.parametrize("change", CHANGES)
def test_where_no_gas_is_called_lung_none_goes(chest: Volume, left: NDArray, change: Callable[..., None]) -> None:
    hu, label, _, spacing = (each.copy() for each in chest)
    change(hu, label, left)
    assert not found(hu, label, spacing).any()


SEEN: dict[str, tuple[slice | NDArray, ...]] = {
    "upside down": (slice(None), slice(None), slice(None, None, -1)),
    "prone": (slice(None), slice(None, None, -1), slice(None)),
    "every second slice": (slice(None), slice(None), slice(None, None, 2)),
    "from the middle on": (slice(None), slice(None), slice(24, None)),
    "up to the middle": (slice(None), slice(None), slice(None, 24)),
    "three slices with a trachea": (slice(None), slice(None), slice(33, 36)),
    "with a gap": (slice(None), slice(None), np.r_[0:18, 26:SLICES]),
}


@pytest.mark.parametrize("name", SEEN)
def test_any_part_of_a_chest_in_any_order(chest: Volume, name: str) -> None:
    hu, label, hollow = (each[SEEN[name]] for each in chest[:3])
    spacing = chest[3] * (1, 1, 2 if name.startswith("every") else 1)
    gas, lung = found(hu, np.where(hollow, 1, label), spacing), label > 0
    assert (gas & hollow).sum() > 0.85 * hollow.sum()
    assert (gas & lung).sum() < 0.005 * lung.sum()
    assert not found(hu, label, spacing).any()


def test_two_slices_tell_nothing(chest: Volume) -> None:
    hu, label, hollow = (each[..., 33:35] for each in chest[:3])
    assert not found(hu, np.where(hollow, 1, label), chest[3]).any()


def test_a_wrong_voxel_size_changes_little(chest: Volume) -> None:
    hu, label, hollow, spacing = chest
    called = np.where(hollow, 1, label)
    right, wrong = found(hu, called, spacing), found(hu, called, spacing / 10)
    assert dice(right, wrong) > 0.8


def test_greys_that_are_no_hounsfield_units(chest: Volume) -> None:
    """An 8-bit volume in another window: air is not 0."""
    hu, label, hollow, spacing = chest
    grey = np.clip((hu.astype(np.float32) + 1350) / 1800, 0, 1)
    gas = gas_outside_lungs(np.where(hollow, 1, label).astype(np.uint8), grey, spacing, False)
    assert (gas & hollow).sum() > 0.8 * hollow.sum()
    assert (gas & (label > 0)).sum() < 0.005 * (label > 0).sum()


def test_where_lung_is_as_dark_as_air_nothing_is_told(chest: Volume) -> None:
    hu, label, hollow, spacing = (each.copy() for each in chest)
    hu[label > 0] = -985
    assert not found(hu, np.where(hollow, 1, label), spacing).any()


def test_nothing_called_lung() -> None:
    nothing = np.zeros((20, 20, 5), np.uint8)
    assert not found(np.full(nothing.shape, -1000), nothing, np.ones(3)).any()


def test_real_lungs_lose_nothing(shared_data: Path) -> None:
    """One of COVID-19-CT-Seg's scans as an 8-bit volume, with the lungs that a radiologist outlined."""
    folder = shared_data / "covid_ct_seg" / "equalised"
    names = sorted((folder / "images").glob("coronacases_009_*.jpg"))[::3]
    if not names:
        pytest.skip("covid_ct_seg is not among the real images")
    masks = [next((folder / "lung_masks").glob(f"{name.stem}.*")) for name in names]
    image, lungs = (np.stack([np.asarray(Image.open(p).convert("L")).T for p in paths], -1) for paths in (names, masks))
    assert not gas_outside_lungs((lungs > 127).astype(np.uint8), image / 255, (1.4, 1.4, 3.0), False).any()
