"""Stray labels in volumes."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from pipelines.tasks.lung_ct.transforms import RemoveStrayLabelsd


def scan(kind: str) -> dict[str, MetaTensor]:
    """A body with two lungs, one of them wholly lesion; a blob in the middle and a patch of room air, both labelled."""
    image = np.zeros((1, 60, 50, 6), np.float32)
    image[:, 5:55, 5:45] = 0.75
    labels = np.zeros(image.shape, np.uint8)
    for low, value in ((10, 1), (36, 2)):
        labels[:, low : low + 14, 15:35] = value
    image[labels == 1] = 0.1
    labels[:, 28:31, 20:23, 2:4] = 2  # no lung near it
    labels[:, 0:4, 0:30] = 1  # above the patient
    meta = {"kind": kind}
    return {"image": MetaTensor(image, meta=meta), "pred": MetaTensor(labels, meta=meta)}


def test_volume_keeps_both_lungs_and_nothing_else():
    pred = RemoveStrayLabelsd("pred")(scan("volume"))["pred"]
    assert isinstance(pred, MetaTensor)
    assert pred.dtype == torch.uint8
    assert (pred[0, 10:24, 15:35] == 1).all()
    assert (pred[0, 36:50, 15:35] == 2).all()
    assert int((pred > 0).sum()) == 2 * 14 * 20 * 6


def test_a_cropped_picture_is_left_alone():
    whole = scan("picture")
    before = {key: MetaTensor(value[:, 7:53, 7:43], meta=value.meta) for key, value in whole.items()}
    assert torch.equal(RemoveStrayLabelsd("pred")(before)["pred"], before["pred"])


def test_a_picture_of_the_whole_body_loses_what_is_outside_it_and_gas():
    data = scan("picture")
    data["image"][:, 26:34, 36:42] = 0.0  # gas, as dark as the room, which was called lung
    data["pred"][:, 26:34, 36:42] = 1
    pred = RemoveStrayLabelsd("pred")(data)["pred"]
    assert not pred[:, 0:4].any()
    assert not pred[:, 26:34, 36:42].any()
    assert (pred[0, 10:24, 15:35] == 1).all(), "lung is brighter than air"
    assert (pred[0, 36:50, 15:35] == 2).all()


def test_empty_prediction_stays_empty():
    data = scan("volume")
    data["pred"] = data["pred"] * 0
    assert not RemoveStrayLabelsd("pred")(data)["pred"].any()


def test_lungs_that_touch_padding_are_not_outside_the_body():
    """A circular field of view, or a crop set back into its grid: lung and padding are one dark body."""
    for kind in ("volume", "picture"):
        data = scan(kind)
        data["pred"][:, 0:4] = 0
        data["image"][:, :, 20:] = 0.0  # both lungs reach it
        data["image"][:, 10:24, 20:30] = 0.1
        before = data["pred"].clone()
        lost = int((before > 0).sum()) - int((RemoveStrayLabelsd("pred")(data)["pred"] > 0).sum())
        assert lost <= 36, kind
