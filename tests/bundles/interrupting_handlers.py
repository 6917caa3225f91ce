"""Handlers that a test lays over ``train#handlers``: they stop a training where no user could do it as exactly."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from ignite.engine import Engine, Events


class Broken(Exception):
    """What ``Crash`` raises."""


class _InMidEpoch:
    """Acts once, within the given epoch, after its first iteration and before its last."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        length = engine.state.epoch_length or 0
        assert length > 1, "an epoch of one iteration has no middle"
        if engine.state.epoch == self.epoch and engine.state.iteration % length == 1:
            self.act()

    act: Callable[[], None]


class KillItself(_InMidEpoch):
    """SIGKILL: nothing of Python runs after it."""

    def act(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Crash(_InMidEpoch):
    """An error that nobody expects."""

    def act(self) -> None:
        raise Broken("something broke")
