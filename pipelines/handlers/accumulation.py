"""Steps of several batches each (``accumulation_steps`` of MONAI's trainer), as if of one large batch."""

from __future__ import annotations

from ignite.engine import Engine
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from monai.handlers import LrScheduleHandler


def stepped(engine: Engine) -> bool:
    """Whether the optimiser steps in this iteration: after each ``accumulation_steps`` batches, and an epoch's last."""
    accumulated, length = getattr(engine, "accumulation_steps", 1), engine.state.epoch_length
    place = (engine.state.iteration - 1) % length + 1 if length else engine.state.iteration
    return place % accumulated == 0 or place == length


class StepSchedule(LrScheduleHandler):
    """MONAI's LrScheduleHandler, which changes the rate with each step of the optimiser, not with each batch."""

    def __call__(self, engine: Engine) -> None:
        if self.epoch_level or stepped(engine):
            super().__call__(engine)


class AccumulatedMean:
    """Gradients of a step are the mean over its batches, also in an epoch's last step, which may have fewer.

    MONAI divides by ``accumulation_steps`` there too, so that this step would be smaller than the others.
    """

    def attach(self, engine: Trainer) -> None:
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        length, accumulated = engine.state.epoch_length or 0, engine.accumulation_steps  # type: ignore[attr-defined]
        rest = length and length % accumulated
        if rest and engine.state.iteration % length == 0:
            for group in engine.optimizer.param_groups:  # type: ignore[attr-defined]
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.mul_(accumulated / rest)
