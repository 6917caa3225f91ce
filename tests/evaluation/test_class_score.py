"""The metric that training watches."""

from __future__ import annotations

import math

import pytest
import torch

from pipelines.errors import ConfigError
from pipelines.evaluation import ClassScore

NAMES = ["normal", "mild", "severe"]


def test_slices_of_all_cases_count_and_unrated_ones_do_not():
    metric = ClassScore("accuracy", NAMES)
    first = torch.tensor([[0.8, 0.2, 0.9], [0.1, 0.7, 0.1], [0.1, 0.1, 0.0]])  # classes x slices: 0, 1, 0
    metric([first, first[:, :1]], [torch.tensor([0, 1, -1]), torch.tensor([2])])
    assert metric.aggregate().item() == pytest.approx(2 / 3)
    metric.reset()
    metric(torch.tensor([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]), torch.tensor([0, 1]))  # a batch of training
    assert metric.aggregate().item() == 0.5


def test_balanced_log_likelihood_by_hand():
    """Three normal slices at 1/2 and one severe at 1/8: (ln 1/2 + ln 1/8) / 2."""
    metric = ClassScore("balanced_log_likelihood", NAMES)
    probabilities = torch.tensor([[0.5, 0.25, 0.25]] * 3 + [[0.5, 0.375, 0.125]])
    metric(probabilities, torch.tensor([0, 0, 0, 2]))
    assert metric.aggregate().item() == pytest.approx((math.log(0.5) + math.log(0.125)) / 2)


def test_nothing_seen_or_nothing_rated_is_no_number():
    metric = ClassScore("balanced_accuracy", NAMES)
    assert metric.aggregate().isnan()
    metric([torch.rand(3, 2)], [torch.tensor([-1, -1])])
    assert metric.aggregate().isnan()


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ConfigError, match="choose one of accuracy"):
        ClassScore("kappa", NAMES)
    with pytest.raises(ValueError, match="a class an item"):
        ClassScore("accuracy", NAMES)([torch.rand(3, 2)], [torch.tensor([1])])
    with pytest.raises(ValueError, match="needs y"):
        ClassScore("accuracy", NAMES)(torch.rand(1, 3))
