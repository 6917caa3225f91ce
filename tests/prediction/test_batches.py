"""A case as a batch of one: what MONAI's collating gives, and no copy of the image."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, CropForegroundd, Orientationd

from pipelines.prediction.batches import case_as_batch


def a_case() -> dict:
    meta = {"kind": "volume", "filename_or_obj": "scan", "spatial_shape": np.array([20, 21, 5])}
    image = MetaTensor(torch.rand(1, 20, 21, 5), affine=torch.diag(torch.tensor([-1.0, 2, 3, 1])), meta=meta)
    crop = CropForegroundd(
        "image", "image", select_fn=lambda x: x > 0.9, start_coord_key=None, end_coord_key=None, allow_smaller=True
    )
    return Compose([Orientationd("image", axcodes="LPS", labels=None), crop])({"image": image, "case": "scan"})


def test_it_is_monais_batch_of_the_same_memory():
    case = a_case()
    monai, ours = list_data_collate([case]), case_as_batch([case])
    assert ours.keys() == monai.keys()
    assert ours["case"] == monai["case"]
    assert torch.equal(ours["image"].as_tensor(), monai["image"].as_tensor())
    assert str(vars(ours["image"])) == str(vars(monai["image"]))  # meta, operations to invert, what it is a batch of
    assert ours["image"].data_ptr() == case["image"].data_ptr()
    (back,), (expected,) = decollate_batch(ours), decollate_batch(monai)
    assert str(vars(back["image"])) == str(vars(expected["image"]))


def test_several_cases_are_collated_as_ever():
    cases = [{"image": torch.zeros(1, 4, 4)}, {"image": torch.ones(1, 4, 4)}]
    assert case_as_batch(cases)["image"].shape == (2, 1, 4, 4)
