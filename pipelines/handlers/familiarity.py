"""Fits what tells a familiar picture from one that is unlike training's: codes' statistics, and limits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from pipelines.errors import ConfigError
from pipelines.evaluation.familiarity import TITLES, code_statistics, limits_of, measure
from pipelines.transforms.temperature import FamiliarityLimits, calibration_path, read_calibration
from pipelines.weights import load_weights

logger = logging.getLogger(__name__)


class CodeStatistics:
    """When training starts, keeps in the network what the training pictures' codes are like (``fit_codes``).

    Attach it to the trainer after what loads weights: it also holds the encoder against the one that the codes are of.

    Args:
        dataset: ``CachedCodes`` of the training pictures.
        network: an ``EncodedClassifier``.

    Raises:
        StaleCacheError: while running, where the codes are of another encoder than the network's.
    """

    def __init__(self, dataset: Any, network: torch.nn.Module) -> None:
        self.dataset = dataset
        self.network = network

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.dataset.require(self.network)
        codes = self.dataset.features
        pooled = np.concatenate([codes[v, k : k + 64].astype(np.float32).mean(axis=(2, 3))
                                 for v in range(len(codes)) for k in range(0, codes.shape[1], 64)])  # fmt: skip
        mean, precision = code_statistics(pooled)
        network: Any = getattr(self.network, "module", self.network)
        network.fit_codes(torch.as_tensor(mean), torch.as_tensor(precision))


class FamiliarityFit:
    """Adds to the calibration of weights the limits beyond which a picture is unlike the training pictures.

    Attach it to the trainer, whose best weights are measured when it has ended; or, after ``CalibrationFit``, to an
    evaluator of weights that are there.

    Args:
        network: an ``EncodedClassifier``.
        checkpoint: the best weights, ``model.pt``, beside which the calibration lies.
        data: validation items of a datalist. transform: gives ``image``, (1, W, H), 0..1.
        image_size: (W, H) that pictures are resampled to.
        percentile: of each measure on these pictures, 50 to 100.
        save: False on every rank but 0.

    Raises:
        ConfigError: ``percentile`` is out of its range.
        UnreadableFileError, WeightsError, OutputError: while running, see ``read_calibration`` and ``load_weights``.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        checkpoint: str,
        data: Sequence[Mapping[str, Any]],
        transform: Callable,
        image_size: Sequence[int] | None = None,
        percentile: float = 99.0,
        save: bool = True,
    ) -> None:
        if not 50 <= percentile <= 100:
            raise ConfigError(f"the percentile is {percentile}", how="give one from 50 to 100")
        self.network = network
        self.checkpoint = Path(checkpoint)
        self.data = data
        self.transform = transform
        self.image_size = image_size
        self.percentile = percentile
        self.save = save

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if not self.save or not calibration_path(self.checkpoint).is_file():
            return
        network: Any = getattr(self.network, "module", self.network)
        kept = {key: value.clone() for key, value in network.state_dict().items()}
        load_weights(network, self.checkpoint)
        measured = [measure(network, self.transform(dict(each))["image"], self.image_size) for each in self.data]
        network.load_state_dict(kept)  # what a training ended with is not its best
        limits = limits_of([each.measures for each in measured], self.percentile)
        found = read_calibration(self.checkpoint)
        assert found is not None  # it is a file
        replace(found, familiarity=FamiliarityLimits(limits, self.percentile, len(measured))).write(
            calibration_path(self.checkpoint)
        )
        said = ", ".join(f"{TITLES[name]} {value:.4g}" for name, value in limits.items())
        logger.info("limits from %d pictures: %s", len(measured), said)
