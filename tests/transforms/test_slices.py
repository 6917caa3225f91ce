"""Slices drawn for training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipelines.errors import IntensityError
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.transforms import ScaleCTd
from pipelines.transforms import RandSlicesd


def make_case() -> dict[str, torch.Tensor]:
    label = torch.zeros(1, 4, 5, 100, dtype=torch.uint8)
    label[..., 40:60] = 1
    label[:, 1, 1, 50:52] = 2
    return {"image": torch.arange(100.0).expand(1, 4, 5, 100).clone(), "label": label}


def test_image_and_label_come_from_the_same_slice():
    case = make_case()
    drawn = RandSlicesd(["image", "label"], num_samples=30).set_random_state(0)(case)
    assert len(drawn) == 30
    for item in drawn:
        z = int(item["image"][0, 0, 0])
        assert item["image"].shape == item["label"].shape == (1, 4, 5)
        assert torch.equal(item["label"], case["label"][..., z])


def test_lesion_slices_are_drawn_far_more_often_than_they_occur():
    drawn = RandSlicesd(["image", "label"], num_samples=100, ratios=(0.1, 0.3, 0.6)).set_random_state(1)(make_case())
    share = np.mean([item["label"].max() == 2 for item in drawn])
    assert 0.45 < share < 0.75  # 2 % of the slices
    assert any(item["label"].max() == 0 for item in drawn)


def test_a_picture_gives_its_one_slice():
    case = {"image": torch.rand(1, 4, 5, 1), "label": torch.zeros(1, 4, 5, 1, dtype=torch.uint8)}
    assert len(RandSlicesd(["image", "label"], num_samples=8)(case)) == 1


def test_same_seed_same_slices():
    def draw(seed: int) -> list[int]:
        transform = RandSlicesd(["image", "label"], num_samples=10).set_random_state(seed)
        return [int(item["image"][0, 0, 0]) for item in transform(make_case())]

    assert draw(5) == draw(5) != draw(6)


def test_windows():
    assert scale_ct(np.array([-2000, -1000, -300, 400, 3000]), "hu").tolist() == [0, 0, 0.5, 1, 1]
    assert scale_ct(np.array([0, 51, 255], np.uint8), "display").tolist() == pytest.approx([0, 0.2, 1])
    with pytest.raises(IntensityError, match="'raw'"):
        scale_ct(np.zeros(3), "raw")


@pytest.mark.parametrize("tissue", [180, 220, 255])
def test_pictures_in_any_window_show_soft_tissue_alike(tissue):
    picture = np.zeros((1, 40, 40, 1), np.float32)
    picture[:, 10:] = tissue
    picture[:, 30:] = 30
    scaled = ScaleCTd("image")({"image": MetaTensor(picture, meta={"intensity": "display"})})["image"]
    assert float(scaled[0, 20, 0, 0]) == pytest.approx(0.74, abs=1e-6)
    assert float(scaled[0, 0, 0, 0]) == 0
    assert 0 < float(scaled[0, 35, 0, 0]) < 0.13


def test_scans_in_hounsfield_units_and_dark_pictures_are_not_anchored():
    scan = np.full((1, 10, 10, 1), 400.0, np.float32)
    scan[:, :5] = -1000
    scaled = ScaleCTd("image")({"image": MetaTensor(scan, meta={"intensity": "hu"})})["image"]
    assert sorted(set(scaled.flatten().tolist())) == [0, 1]
    dark = MetaTensor(np.full((1, 10, 10, 1), 25.5, np.float32), meta={"intensity": "display"})
    assert float(ScaleCTd("image")({"image": dark})["image"].max()) == pytest.approx(0.1)
