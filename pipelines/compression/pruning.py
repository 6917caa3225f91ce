"""Weights set to 0 by torch.nn.utils.prune: the smallest of all, or whole channels."""

from __future__ import annotations

import copy

import torch
from torch.nn.utils import prune

from pipelines.errors import ConfigError, UsageError

_TRANSPOSED = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)
_LAYERS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, *_TRANSPOSED, torch.nn.Linear)


def check_share(share: float) -> None:
    """Raises:
    UsageError: it is no part that can be pruned.
    """
    if not 0 < share < 1:
        raise UsageError(f"the share to prune is {share:g}", how="give --share above 0 and below 1")


def pruned(network: torch.nn.Module, share: float) -> torch.nn.Module:
    """A copy whose smallest weights, by magnitude over all convolutions and linear layers together, are 0
    (``global_unstructured`` with ``L1Unstructured``; Han et al., https://arxiv.org/abs/1506.02626). Biases and norms
    stay. It is as large in memory and on the disk, and runs as long, as the network: zeros are stored and multiplied.

    Args:
        network: stays as it is.
        share: of those weights, above 0 and below 1.

    Raises:
        UsageError: a share that cannot be.
        ConfigError: the network has no such layers.
    """
    check_share(share)
    made = copy.deepcopy(network)
    weights = [(layer, "weight") for layer in _layers(made)]
    prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=share)
    return _made_plain(made)


def pruned_channels(network: torch.nn.Module, image: torch.Tensor, share: float) -> torch.nn.Module:
    """A copy in which this share of each layer's output channels, those of the smallest L2 norm, have no weights
    (``ln_structured``; Li et al., https://arxiv.org/abs/1608.08710). The last layer, whose channels are the answer,
    stays whole. The shapes stay: the network is no smaller and no faster until something takes the empty channels out,
    which nothing here does; a channel's bias and norm stay too.

    Args:
        network: stays as it is.
        image: (B, C, …), to find the last layer by.
        share: of the channels of each layer, above 0 and below 1.

    Raises:
        UsageError, ConfigError: as ``pruned``.
    """
    check_share(share)
    made = copy.deepcopy(network)
    last = _last(made, image)
    for layer in _layers(made):
        if layer is last:
            continue
        axis = 1 if isinstance(layer, _TRANSPOSED) else 0
        channels = int(dict(layer.named_parameters())["weight"].shape[axis])
        if 1 <= round(share * channels) < channels:
            prune.ln_structured(layer, "weight", amount=share, n=2, dim=axis)
    return _made_plain(made)


def _layers(network: torch.nn.Module) -> list[torch.nn.Module]:
    found: list[torch.nn.Module] = [module for module in network.modules() if isinstance(module, _LAYERS)]
    if not found:
        raise ConfigError("the network has no convolution and no linear layer", how="leave out the pruning steps")
    return found


def _last(network: torch.nn.Module, image: torch.Tensor) -> torch.nn.Module:
    """The layer that runs last."""
    ran: list[torch.nn.Module] = []
    hooks = [layer.register_forward_hook(lambda module, *_: ran.append(module)) for layer in _layers(network)]
    try:
        with torch.no_grad():
            network.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
    return ran[-1]


def _made_plain(network: torch.nn.Module) -> torch.nn.Module:
    """Masks become zeros in the weights, under the weights' own names."""
    for layer in _layers(network):
        if prune.is_pruned(layer):
            prune.remove(layer, "weight")
    return network.eval()
