"""Randomness that a resumed training repeats: every epoch starts from its own seed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms import Randomizable


class EpochSeed:
    """Seeds all randomness from (seed, epoch, rank) when an epoch starts, and starts a fresh pass over the data.

    So epoch 7 draws the same order, crops and noise whether it follows epoch 6 or a restart from its checkpoint, and
    nothing but the epoch's number has to be saved. ``SeededLoader`` takes its items' seeds from torch's state, so that
    its batches do not depend on who loads them; another loader's workers have seeds of their own.

    Args:
        seed: the training's seed.
        transform: the training data's random transforms (``Compose``), seeded too where there are no workers.
    """

    def __init__(self, seed: int, transform: Any = None) -> None:
        self.seed = seed
        self.transform = transform

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        rank = getattr(engine.state, "rank", 0)
        seed = int(np.random.SeedSequence((self.seed, engine.state.epoch, rank)).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - MONAI's transforms and loaders draw from the global state
        torch.manual_seed(seed)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed=seed)
        if engine.state.dataloader is not None:
            engine.set_data(engine.state.dataloader)
