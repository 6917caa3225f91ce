"""Pruned copies: the smallest weights, or the smallest channels, are 0; nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.compression.costs import parameters
from pipelines.compression.pruning import pruned, pruned_channels
from pipelines.errors import ConfigError, UsageError
from pipelines.networks import TinyUNet


def network() -> TinyUNet:
    torch.manual_seed(0)
    return TinyUNet().eval()


def weights(of: nn.Module) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in of.parameters() if each.ndim > 1])


def test_the_smallest_weights_of_all_layers_together_are_zero() -> None:
    whole = network()
    before = {key: value.clone() for key, value in whole.state_dict().items()}
    made = pruned(whole, 0.25)
    due, found = weights(whole), weights(made)
    assert int((found == 0).sum()) == round(0.25 * len(due))
    assert due[found == 0].abs().max() <= due[found != 0].abs().min()
    assert torch.equal(found[found != 0], due[found != 0])
    assert made.state_dict().keys() == before.keys(), "masks are no weights of a checkpoint"
    assert all(torch.equal(value, before[key]) for key, value in whole.state_dict().items())
    assert all(torch.equal(made.state_dict()[key], before[key]) for key in before if key.endswith("bias"))
    total, non_zero = parameters(made)
    assert (total, non_zero) == (9235, 9235 - round(0.25 * len(due)))


def test_channels_are_whole_and_the_answer_has_all_of_its_own() -> None:
    whole = network()
    made = pruned_channels(whole, torch.zeros(1, 1, 8, 8), 0.5)
    for name in ("top1", "top2", "bottom1", "bottom2"):
        norms = getattr(whole, name).weight.flatten(1).norm(dim=1)
        left = getattr(made, name).weight.flatten(1).norm(dim=1)
        assert int((left == 0).sum()) == 8
        assert norms[left == 0].max() <= norms[left != 0].min()
    up = made.up.weight.transpose(0, 1).flatten(1).norm(dim=1)  # a transposed convolution has its outputs second
    assert int((up == 0).sum()) == 8
    assert torch.equal(made.final.weight, whole.final.weight)


def test_a_layer_of_one_channel_stays() -> None:
    single = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1))
    made = pruned_channels(single, torch.zeros(1, 1, 4, 4), 0.5)
    assert torch.equal(made[0].weight, single[0].weight)
    assert int((made[1].weight == 0).sum()) == 2
    assert torch.equal(made[2].weight, single[2].weight)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_is_a_part(share: float) -> None:
    with pytest.raises(UsageError, match="share to prune"):
        pruned(network(), share)
    with pytest.raises(UsageError, match="share to prune"):
        pruned_channels(network(), torch.zeros(1, 1, 8, 8), share)


def test_a_network_without_layers_is_said() -> None:
    with pytest.raises(ConfigError, match="no convolution"):
        pruned(nn.Sequential(nn.ReLU()), 0.5)
