from __future__ import annotations

import logging
import math
import warnings

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine
from monai.transforms import AsDiscreted

from pipelines.evaluation import LabelDice, LabelIoU

LABEL = torch.tensor([[[2, 2, 0], [0, 1, 1]]])  # 1 x 2 x 3, two pixels of lesion
HALF = torch.tensor([[[2, 0, 0], [2, 1, 1]]])  # one of them found, one false: Dice 0.5
EMPTY = torch.zeros(1, 2, 3)


def test_batches_and_lists_of_differing_shapes() -> None:
    metric = LabelDice(2)
    assert metric(torch.stack([HALF, LABEL]), torch.stack([LABEL, LABEL])).tolist() == [[0.5], [1.0]]
    volume = torch.zeros(1, 4, 5, 6)
    volume[0, 0, 0, 0] = 2
    metric([volume, HALF], [torch.zeros(1, 4, 5, 6), LABEL])
    assert metric.aggregate().item() == pytest.approx((0.5 + 1 + 0 + 0.5) / 4)
    metric.reset()
    metric([LABEL], [LABEL])
    assert metric.aggregate().item() == 1


def test_it_measures_the_label_it_was_told() -> None:
    metric = LabelDice(label=1)
    metric([HALF], [LABEL])
    assert metric.aggregate().item() == 1


def test_only_cases_without_the_label_in_both_are_left_out() -> None:
    metric = LabelDice(2)
    metric([EMPTY, HALF, EMPTY, HALF], [EMPTY, EMPTY, LABEL, LABEL])
    assert metric.get_buffer().flatten().tolist() == pytest.approx([math.nan, 0, 0, 0.5], nan_ok=True)
    assert metric.aggregate().item() == pytest.approx(0.5 / 3)


def test_undefined_is_nan_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert math.isnan(LabelDice(2).aggregate().item())
        metric = LabelDice(2)
        metric([EMPTY], [EMPTY])
        assert math.isnan(metric.aggregate().item())
    assert len(caplog.records) == 2


def test_large_volumes_count_exactly() -> None:
    mask = torch.full((1, 1, 300, 300, 300), 2, dtype=torch.uint8)  # 27 million voxels, beyond float32's whole numbers
    missing = mask.clone()
    missing[0, 0, 0, 0, 0] = 0
    assert LabelDice(2)(missing, mask).item() == pytest.approx(1 - 1 / (2 * 300**3), abs=1e-7)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="one channel"):
        LabelDice(2)(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="share a grid"):
        LabelDice(2)([torch.zeros(1, 4, 4)], [torch.zeros(1, 4, 5)])
    with pytest.raises(ValueError, match="needs y"):
        LabelDice(2)(torch.zeros(1, 1, 4, 4))


class Answer(torch.nn.Module):
    """Logits whose argmax is the image: the image is the prediction that a test wants."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-((x - value) ** 2) for value in range(3)], dim=1)


def test_as_key_metric_of_an_evaluator() -> None:
    items = [
        {"image": MetaTensor(HALF.float()), "label": MetaTensor(LABEL.to(torch.uint8))},
        {"image": MetaTensor(torch.zeros(1, 5, 4)), "label": MetaTensor(torch.full((1, 5, 4), 2.0))},
    ]
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=1),
        network=Answer(),
        postprocessing=AsDiscreted(keys="pred", argmax=True),
        key_val_metric={
            "val_lesion_dice": IgniteMetricHandler(LabelDice(label=2), output_transform=from_engine(["pred", "label"]))
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator.run()
    assert evaluator.state.metrics["val_lesion_dice"] == pytest.approx(0.25)
    assert evaluator.state.best_metric == pytest.approx(0.25)
    assert type(evaluator.state.metric_details["val_lesion_dice"]) is torch.Tensor


def test_iou_of_each_case() -> None:
    """One pixel of two found and one false: IoU 1/3; the mean over cases, not the IoU of their mean Dice."""
    metric = LabelIoU(2)
    assert metric(torch.stack([HALF, LABEL]), torch.stack([LABEL, LABEL])).flatten().tolist() == pytest.approx(
        [1 / 3, 1]
    )
    assert metric.aggregate().item() == pytest.approx((1 / 3 + 1) / 2)
