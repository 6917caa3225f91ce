"""An encoder that somebody else trained: its weights, what it takes pixels to be, and what of it is held still."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from pipelines.errors import UnreadableFileError
from pipelines.weights import read_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pretrained_state(pretrained: bool | str | Path, url: str) -> dict[str, Tensor] | None:
    """The state dict to start from.

    Args:
        pretrained: True fetches ``url`` (kept in torch.hub's cache; its name holds the first digits of its SHA-256,
            which are checked); False is none; a path is read, ``.safetensors`` or a ``.pth`` with tensors only.
        url: where the library that the network is from has them.

    Raises:
        UnreadableFileError: there is no file, it is damaged, or nothing could be fetched.
        WeightsError: the file would run code, or holds NaN.
    """
    if pretrained is False:
        return None
    if pretrained is not True:
        return read_weights(pretrained)
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True, progress=False
        )
    except (URLError, OSError, RuntimeError) as error:  # a wrong hash is a RuntimeError
        raise UnreadableFileError(
            f"the pretrained weights could not be fetched ({error})",
            where=url,
            how="give the path of a file with them, or false to start from random ones",
        ) from error


def add_statistics(network: nn.Module, coloured: bool = True) -> None:
    """Give a network the buffers ``mean`` and ``std`` (1 x 3 x 1 x 1) of ImageNet's RGB in 0..1, with which such
    encoders were trained; of anything but colours 0 and 1. No checkpoint holds them."""
    for name, values in (
        ("mean", IMAGENET_MEAN if coloured else (0.0,)),
        ("std", IMAGENET_STD if coloured else (1.0,)),
    ):
        network.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1), persistent=False)


def hold_still(encoder: nn.Module, frozen: bool, hold_norm: bool) -> None:
    """After ``train()``: put a frozen encoder, or only its norm layers, back into evaluation mode."""
    for layer in encoder.modules():
        if frozen or (hold_norm and isinstance(layer, nn.BatchNorm2d)):
            layer.training = False


def prepare_encoder(
    network: nn.Module,
    pretrained: bool | str | Path = False,
    freeze_encoder: bool | int | None = None,
    hold_norm: bool = False,
) -> nn.Module:
    """The network's own ``prepare_encoder`` for configs; a network without an encoder from elsewhere is left as it is.

    Args:
        network: the network, which is returned.
        pretrained: ImageNet weights of the encoder: True fetches them, a path reads them, False is none.
        freeze_encoder: the encoder does not learn, or so many of its first layers; None: as the network was designed
            (its ``frozen_by_design``).
        hold_norm: the encoder's norm layers keep their statistics while the rest of it learns.

    Raises:
        ValueError: freezing or ImageNet weights from a file are asked of a network that has no such encoder.
        UnreadableFileError, WeightsError: the pretrained weights cannot be had, or are another network's.
    """
    prepare = getattr(network, "prepare_encoder", None)
    if prepare is not None:
        frozen = getattr(network, "frozen_by_design", False) if freeze_encoder is None else freeze_encoder
        return prepare(pretrained, frozen, hold_norm)
    if freeze_encoder or isinstance(pretrained, str | Path):
        raise ValueError(f"{type(network).__name__} has no pretrained encoder: choose another network")
    return network


def parameter_groups(network: nn.Module, learning_rate: float, encoder_factor: float) -> Sequence[dict[str, Any]]:
    """Parameters for an optimizer: the encoder's learn at ``encoder_factor`` of the rate; what is frozen is left out.

    Args:
        network: one with an ``encoder``, or one without, all of which learns at the rate; also within
            DistributedDataParallel.
        learning_rate: of the decoder.
        encoder_factor: of the encoder's rate, above 0.
    """
    network = getattr(network, "module", network)
    encoder: Any = getattr(network, "encoder", None)
    known = {id(parameter) for parameter in encoder.parameters()} if encoder is not None else set()
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = (
        ([parameter for parameter in learning if id(parameter) not in known], learning_rate),
        ([parameter for parameter in learning if id(parameter) in known], learning_rate * encoder_factor),
    )
    return [{"params": parameters, "lr": rate} for parameters, rate in groups if parameters]
