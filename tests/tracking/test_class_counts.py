"""Precision and recall by bins, against scikit-learn; and a label brought onto the grid of its image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Compose, CropForegroundd, Orientationd
from sklearn.metrics import precision_score, recall_score

from pipelines.tracking.class_counts import BINS, ClassCounts, count_forward, strides, thinned, truth_on_grid

NAMES = {0: "none", 1: "one", 2: "two"}


def test_curves_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    logits, label = random.normal(size=(60, 3)), random.integers(0, 3, 60)
    counts = ClassCounts(NAMES)
    for part in (slice(0, 25), slice(25, 60)):
        output = {"pred": torch.tensor(logits[part]).float(), "label": torch.tensor(label[part])}
        count_forward(counts, output)
    probabilities = torch.tensor(logits).float().softmax(dim=1).numpy()
    curves = counts.curves()
    assert list(curves) == list(NAMES.values())
    for value, name in NAMES.items():
        for index in (10, 40, 63):
            called = probabilities[:, value] >= index / (BINS - 1)
            wanted = precision_score(label == value, called), recall_score(label == value, called)
            curve = curves[name]
            assert (curve.precision[index], curve.recall[index]) == pytest.approx(wanted)
            assert curve.counts[:, index].sum() == 60


def test_slices_without_a_class_are_not_counted_and_a_class_without_items_has_no_curve() -> None:
    counts = ClassCounts(NAMES)
    logits = torch.zeros(1, 3, 4)  # one case of four slices
    logits[0, 1, 1] = 5
    count_forward(counts, {"pred": logits, "label": torch.tensor([[0, 1, -1, 0]])})
    curves = counts.curves()
    assert list(curves) == ["none", "one"]
    assert curves["one"].counts[:, 0].tolist() == [1, 2, 0, 0]


def test_voxels_of_one_channel_are_those_of_the_one_label() -> None:
    counts = ClassCounts({0: "background", 1: "thing"})
    label = torch.zeros(1, 1, 8, 8)
    label[..., :4] = 1
    count_forward(counts, {"image": torch.rand(1, 3, 8, 8), "pred": 20 * (label - 0.5), "label": label})
    curve = counts.curves()["thing"]
    assert curve.precision[BINS // 2] == curve.recall[BINS // 2] == 1
    assert curve.counts[:, BINS // 2].tolist() == [32, 0, 32, 0]


def test_what_has_another_form_is_left_out() -> None:
    counts = ClassCounts(NAMES)
    count_forward(counts, {"pred": torch.rand(1, 3)})
    count_forward(counts, {"pred": torch.zeros(1, 1, 4, 4, dtype=torch.uint8), "label": torch.zeros(1, 1, 4, 4)})
    count_forward(counts, {"pred": [torch.rand(3)], "label": torch.tensor([1])})
    assert counts.curves() == {}


def test_a_label_is_brought_onto_the_turned_and_cropped_grid_of_its_image() -> None:
    """Against the transforms themselves, done to the label too."""
    random = np.random.default_rng(1)
    affine = np.diag([-0.7, 0.7, 2.5, 1.0])[[1, 0, 2, 3]]
    affine[:3, 3] = 5, -8, 30
    image = torch.tensor(random.random((1, 150, 20, 9)), dtype=torch.float32)
    image[:, :6] = image[:, :, 15:] = 0
    label = torch.tensor(random.integers(0, 3, (1, 150, 20, 9)), dtype=torch.float32)
    item = {key: MetaTensor(value, affine=torch.tensor(affine)) for key, value in (("image", image), ("label", label))}
    both, alone = ["image", "label"], ["image"]

    def prepared(keys: list[str]) -> dict:
        steps = [Orientationd(keys=keys, axcodes="LPS", labels=None), CropForegroundd(keys=keys, source_key="image")]
        return dict(Compose(steps)({key: MetaTensor(value.clone()) for key, value in item.items()}))

    wanted, batch = prepared(both)["label"], list_data_collate([prepared(alone)])
    shape = batch["image"].shape[2:]
    assert batch["label"].shape[2:] != shape
    steps = strides(shape)
    assert max(steps) == 2
    found = truth_on_grid(batch, 0, shape, steps)
    assert found is not None
    assert torch.equal(found, thinned(wanted.as_tensor(), steps)[0])
