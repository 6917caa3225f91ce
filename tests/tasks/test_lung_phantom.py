from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import UsageError
from pipelines.tasks.lung_ct.phantom import make_lung_phantom, plan_extents
from pipelines.tasks.lung_ct.severity import SCALES


@pytest.mark.parametrize("extent", [0.004, 0.1, 0.4])
def test_extent_is_met(extent: float) -> None:
    phantom = make_lung_phantom(3, 96, 12, extent)
    counted = (phantom.label == 2).sum() / (phantom.label > 0).sum()
    assert abs(counted - extent) < 0.002
    assert phantom.extent == pytest.approx(counted)


def test_same_seed_same_bits_and_another_seed_another_chest() -> None:
    first, again, other = (make_lung_phantom(seed, 64, 8, 0.1) for seed in (5, 5, 6))
    assert np.array_equal(first.array, again.array)
    assert np.array_equal(first.label, again.label)
    assert not np.array_equal(first.label > 0, other.label > 0)


def test_tissues_lie_in_their_ranges_of_hounsfield_units() -> None:
    phantom = make_lung_phantom(1, 128, 16, 0.3, consolidation=0.3)
    lung = phantom.array[phantom.label == 1]
    assert -900 < np.median(lung) < -800
    lesion = phantom.array[phantom.label == 2]
    glass, dense = ((lesion > -650) & (lesion < -350)).mean(), ((lesion > -100) & (lesion < 60)).mean()
    assert glass > 0.4
    assert dense > 0.15
    assert (phantom.array > 300).sum() > 500  # bone
    corner = phantom.array[:8, :8].astype(float)
    assert corner.mean() == pytest.approx(-1000, abs=20)


def test_vessels_show_inside_the_lung() -> None:
    phantom = make_lung_phantom(1, 160, 24, 0.0)
    inside = phantom.array[phantom.label == 1]
    assert 0.005 < (inside > -500).mean() < 0.15


def test_slices_without_lung_at_both_ends_and_lungs_between() -> None:
    phantom = make_lung_phantom(2, 64, 12, 0.1)
    lung = np.asarray((phantom.label > 0).any(axis=(0, 1)))
    assert not lung[0]
    assert not lung[-1]
    assert lung[3:9].all()


def test_left_lung_is_at_the_patients_left() -> None:
    phantom = make_lung_phantom(2, 64, 12, 0.0)
    for value, sign in ((1, -1), (2, 1)):  # RAS: the left is negative
        voxels = np.argwhere(phantom.lungs == value)
        x = (phantom.affine @ np.c_[voxels, np.ones(len(voxels))].T)[0]
        assert np.sign(x.mean()) == sign
    assert np.array_equal(phantom.lungs > 0, phantom.label > 0)
    voxels = np.argwhere(phantom.array > 350)  # most bone is at the back, which is negative in RAS
    assert (phantom.affine @ np.c_[voxels, np.ones(len(voxels))].T)[1].mean() < 0


@pytest.mark.parametrize("cases", [3, 4, 6, 12, 50])
def test_plan_has_every_class(cases: int) -> None:
    kinds = [SCALES["normal_mild_severe"].name(extent) for extent in plan_extents(cases, 1)]
    assert len(kinds) == cases
    assert sum(kind != "normal" for kind in kinds) >= 3
    if cases >= 6:
        assert kinds.count("normal") >= 1
        assert kinds.count("severe") >= 1
    if cases == 50:
        assert kinds.count("normal") == 14
        assert kinds.count("severe") == 2


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="48 pixels"):
        make_lung_phantom(0, 20, 8)
    with pytest.raises(UsageError, match="extent"):
        make_lung_phantom(0, 64, 8, 1.5)


def test_clear_cut_phantoms_have_no_slice_near_a_threshold() -> None:
    seen = []
    for seed, extent in enumerate((0.02, 0.06, 0.12, 0.3, 0.45)):
        plain = make_lung_phantom(seed, 64, 14, extent)
        phantom = make_lung_phantom(seed, 64, 14, extent, clear_cut=True)
        lung, lesion = ((phantom.label >= low).sum(axis=(0, 1)) for low in (1, 2))
        extents = lesion[lung > 0] / lung[lung > 0]
        one = 1 / lung[lung > 0]  # a voxel
        assert not ((extents > 0) & (extents < 0.02)).any()
        assert not ((extents > 0.18 + one) & (extents < 0.32)).any()
        assert phantom.extent == pytest.approx(extent, abs=0.05)
        assert (phantom.label > 0).sum() == (plain.label > 0).sum(), "the same lungs"
        seen.append(not np.array_equal(plain.label, phantom.label))
    assert any(seen)


def test_bowel_gas_is_drawn_under_the_diaphragm_and_leaves_the_lungs_as_they_are() -> None:
    plain, full = (make_lung_phantom(4, 128, 24, 0.1, bowel_gas=gas) for gas in (False, True))
    assert np.array_equal(plain.label, full.label)
    assert np.array_equal(plain.array[..., 14:], full.array[..., 14:])
    more = (full.array < -900) & (plain.array > -200)
    assert more.sum() * np.prod(np.linalg.norm(full.affine[:3, :3], axis=0)) / 1000 > 150  # mL
    assert not more[full.label > 0].any()
