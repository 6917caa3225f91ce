"""A network's logits together with what some of its layers gave on the way, from one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch


class Watched(torch.nn.Module):
    """Another module, whose call gives its answer and behind it the outputs of some of its layers.

    The hooks are there while a call lasts: whoever else runs the network meanwhile has to wait for the same lock.

    Args:
        network: its answer is one tensor.
        layers: names of its modules, of which each gives one tensor; of a layer that runs several times it is the last.

    Raises:
        AttributeError: the network has no such layer.
    """

    def __init__(self, network: torch.nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.layers = tuple(layers)
        for layer in self.layers:
            network.get_submodule(layer)
        self.training = network.training  # an export puts the mode back to this, the network's too

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: dict[str, torch.Tensor] = {}

        def keep(name: str, _layer: torch.nn.Module, _given: Any, output: torch.Tensor) -> torch.Tensor:
            found[name] = output
            return output.clone()  # what follows may work in place

        hooks = [self.network.get_submodule(each).register_forward_hook(partial(keep, each)) for each in self.layers]
        try:
            answer = self.network(inputs)
        finally:
            for each in hooks:
                each.remove()
        return (answer, *(found[name] for name in self.layers))
