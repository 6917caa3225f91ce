"""Chest X-rays as other scanners have them: the fixed shifts and the random ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipelines.errors import ConfigError
from pipelines.tasks.chest_xray.shifts import (
    SHIFTS,
    RandXrayScannerd,
    ShiftedPictures,
    bordered,
    cropped,
    each_shifted,
    shifted,
)

PLANE = np.random.default_rng(0).random((64, 48), dtype=np.float32)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_keeps_size_and_range_and_is_the_same_each_time(name: str) -> None:
    found = shifted(PLANE, name, "case")
    assert found.shape == PLANE.shape
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.array_equal(found, shifted(PLANE, name, "case"))
    assert np.array_equal(found, PLANE) == (name == "none")


def test_what_is_random_in_a_shift_is_the_pictures_own() -> None:
    assert not np.array_equal(shifted(PLANE, "noise", "one"), shifted(PLANE, "noise", "another"))


def test_an_unknown_shift_is_named() -> None:
    with pytest.raises(ConfigError, match="no shift 'sideways'"):
        shifted(PLANE, "sideways", "case")


def test_a_crop_takes_the_sides_that_it_says() -> None:
    ramp = np.tile(np.linspace(0, 1, 100, dtype=np.float32)[:, None], (1, 50))
    assert cropped(ramp, 0.2, 0, 0, 0)[0, 25] == pytest.approx(0.2, abs=0.01)
    assert cropped(ramp, 0, 0.3, 0, 0)[-1, 25] == pytest.approx(0.7, abs=0.01)
    assert cropped(ramp + 0.5, -0.25, 0, 0, 0)[:15].max() == 0


def test_a_border_is_even_and_the_rest_untouched() -> None:
    found = bordered(PLANE, 0.125, 0.0)
    assert found[:8].max() == found[:, -6:].max() == 0
    assert np.array_equal(found[8:-8, 6:-6], PLANE[8:-8, 6:-6])


def test_every_shift_has_its_turn_within_a_class() -> None:
    items = [{"label": k % 2, "case": str(k)} for k in range(2 * len(SHIFTS))]
    for label in (0, 1):
        assert [each["shift"] for each in each_shifted(items) if each["label"] == label] == list(SHIFTS)
    assert each_shifted(items, False) == items


def test_the_dataset_shifts_what_says_so() -> None:
    def load(item: Any) -> dict[str, Any]:
        return {**item, "image": MetaTensor(PLANE[None])}

    data = [{"case": "a", "label": 0}, {"case": "a", "label": 0, "shift": "dark"}]
    plain, dark = ShiftedPictures(data, load)
    assert torch.equal(plain["image"].as_tensor(), torch.from_numpy(PLANE[None]))
    assert isinstance(dark["image"], MetaTensor)
    assert dark["image"].numpy() == pytest.approx(PLANE[None] ** 1.6, abs=1e-5)


def test_random_changes_follow_the_seed_and_stay_in_range() -> None:
    change = RandXrayScannerd("image", prob=1.0)
    found = []
    for seed in (0, 0, *range(1, 40)):
        change.set_random_state(seed)
        found.append(np.asarray(change({"image": MetaTensor(PLANE[None])})["image"]))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])
    assert all(each.shape == (1, *PLANE.shape) and each.min() >= 0 and each.max() <= 1 for each in found)


def test_nothing_is_changed_at_probability_zero() -> None:
    item = {"image": MetaTensor(PLANE[None])}
    assert torch.equal(RandXrayScannerd("image", prob=0.0)(item)["image"], item["image"])
