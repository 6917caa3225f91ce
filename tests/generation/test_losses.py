"""The losses of a GAN, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pipelines.errors import ConfigError
from pipelines.generation import DiscriminatorLoss, GeneratorLoss


class Mean(nn.Module):
    """Says of a picture what it is filled with."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(1, 2, 3))[:, None]


def filled(value: float) -> Tensor:
    return torch.full((2, 1, 4, 4), value, requires_grad=True)


def test_discriminator_is_told_both_halves() -> None:
    loss = DiscriminatorLoss(Mean())(filled(0.25), filled(0.5))
    assert loss.item() == pytest.approx((-math.log(0.5) - math.log(0.75)) / 2, rel=1e-5)


def test_smoothing_is_of_the_real_ones_alone() -> None:
    loss = DiscriminatorLoss(Mean(), label_smoothing=0.1)(filled(0.25), filled(0.8))
    real = -0.9 * math.log(0.8) - 0.1 * math.log(0.2)
    assert loss.item() == pytest.approx((real - math.log(0.75)) / 2, rel=1e-5)


def test_the_discriminators_loss_does_not_reach_the_generator() -> None:
    fakes = filled(0.25)
    judge = nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Sigmoid())
    DiscriminatorLoss(judge)(fakes, filled(0.5)).backward()
    assert fakes.grad is None
    GeneratorLoss(judge)(fakes).backward()
    assert fakes.grad is not None


def test_generator_wants_its_pictures_taken_for_real() -> None:
    assert GeneratorLoss(Mean())(filled(0.25)).item() == pytest.approx(-math.log(0.25), rel=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 0.5])
def test_smoothing_is_checked(smoothing: float) -> None:
    with pytest.raises(ConfigError, match="label_smoothing"):
        DiscriminatorLoss(Mean(), label_smoothing=smoothing)
