"""Weights that are 0 when a training starts stay 0: a pruned network is fine-tuned and stays pruned."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events


class HeldZeros:
    """Holds the zeros that a network's weights have when the trainer starts (attach it behind ``WeightsLoader``).

    After each step they are 0 again, as under the masks of ``torch.nn.utils.prune``; and the weights keep their names,
    so that checkpoints are those of the network. Where a training goes on from ``last.pt``, that has the zeros.

    Args:
        network: that is trained. What has two dimensions or more is held: biases and norms may begin at 0 and learn.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network
        self._zeros: list[tuple[torch.Tensor, torch.Tensor]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._find)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._hold)

    def _find(self, engine: Engine) -> None:
        weights = (each for each in self.network.parameters() if each.ndim > 1)
        self._zeros = [(each, each.detach() == 0) for each in weights]

    def _hold(self, engine: Engine) -> None:
        with torch.no_grad():
            for weight, zero in self._zeros:
                weight.masked_fill_(zero, 0.0)
