"""Weights averaged over a training's steps (exponential moving average), which generalise better than the last ones."""

from __future__ import annotations

import copy
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipelines.errors import ConfigError
from pipelines.handlers.accumulation import stepped


class AveragedWeights:
    """Keeps an exponential moving average of a network's weights, and of its norm layers' statistics.

    ``network`` is a copy for validation and for ``model.pt``. After the last step, before that epoch is validated, the
    average becomes the trained network's own weights, so that ``last.pt`` holds it too.

    Args:
        trained: the network that is trained (under DistributedDataParallel, its ``module`` is averaged).
        decay: of the average a step, 0 to below 1; 0 averages nothing, and ``network`` is ``trained`` itself.

    Attributes:
        network: the averaged network.

    Raises:
        ConfigError: a decay outside its range.
    """

    def __init__(self, trained: torch.nn.Module, decay: float = 0.0) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"the decay of averaged weights is {decay}", how="give 0 (none) to below 1, as 0.999")
        self.trained = trained
        self.decay = decay
        self._average: AveragedModel | None = None
        self.network = trained
        if decay:
            self._average = AveragedModel(
                copy.deepcopy(_inner(trained)), multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
            )
            self.network = self._average.module

    def attach(self, engine: Engine) -> None:
        if self._average is None:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)

    def state_dict(self) -> dict[str, Any]:
        return {} if self._average is None else self._average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._average is not None and state:
            self._average.load_state_dict(state)

    def _start(self, engine: Engine) -> None:
        """The average starts from what training starts from, unless it goes on."""
        if self._average is not None and int(self._average.n_averaged) == 0:
            self.network.load_state_dict(_inner(self.trained).state_dict())

    def _update(self, engine: Engine) -> None:
        if self._average is not None and stepped(engine):
            self._average.update_parameters(_inner(self.trained))
            if engine.state.iteration == (engine.state.max_epochs or 0) * (engine.state.epoch_length or 0):
                _inner(self.trained).load_state_dict(self.network.state_dict())


def _inner(network: torch.nn.Module) -> torch.nn.Module:
    return network.module if isinstance(network, torch.nn.parallel.DistributedDataParallel) else network
