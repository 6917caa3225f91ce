"""Fits a temperature on the validation cases whenever training finds its best weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, Trainer

from pipelines.errors import ConfigError, OutputError
from pipelines.evaluation.calibration import (
    calibration_error,
    fit_temperature,
    mean_negative_log_likelihood,
    operating_threshold,
    tempered,
)
from pipelines.transforms import Calibration, OperatingPoint, calibration_path
from pipelines.weights import weights_digest

logger = logging.getLogger(__name__)


class CalibrationFit:
    """Writes ``model.calibration.json`` beside ``model.pt`` each time that TrainingCheckpoint has replaced the latter.

    Attach it to the trainer after TrainingCheckpoint; or to an evaluator of weights that are there, whose calibration
    is then fitted when it has seen all items. ``TemperatureScaled`` and ``ClassificationReport`` read the file.
    A kill between the two files leaves a calibration of other weights, which its digest gives away.

    Args:
        evaluator: validates (None: the engine that this is attached to); each item of its output has ``pred``,
            (classes, Z) probabilities without a temperature,
            and of its batch or output ``label``, (Z,) classes; below 0 for none.
        checkpoint: the best weights, ``model.pt``.
        names, thresholds: of the classes, to be kept with the temperature.
        save: False on every rank but 0.
        positive: of two classes, the one that an operating threshold is chosen for; None for none.
        sensitivity: the part of the positive validation items that shall be found at it.
        least_temperature: a lower one is not taken: 1 lets what is right here make no answer surer than the network is.

    Raises:
        ConfigError: an operating point that cannot be chosen.
        OutputError: while running, where the file cannot be written.
    """

    def __init__(
        self,
        evaluator: Evaluator | None,
        checkpoint: str,
        names: Sequence[str],
        thresholds: Sequence[float],
        save: bool = True,
        positive: str | None = None,
        sensitivity: float = 0.95,
        least_temperature: float = 0.0,
    ) -> None:
        if positive is not None and (positive not in names or len(names) != 2 or not 0 < sensitivity <= 1):
            raise ConfigError(f"an operating point for {positive!r} at {sensitivity} of {list(names)} cannot be chosen")
        self.positive, self.sensitivity = positive, sensitivity
        self.least_temperature = least_temperature
        self.evaluator = evaluator
        self.names, self.thresholds = list(names), list(thresholds)
        self.checkpoint = Path(checkpoint)
        self.save = save
        self._rows: list[np.ndarray] = []

    def attach(self, engine: Trainer | Evaluator) -> None:
        evaluator = cast(Evaluator, engine) if self.evaluator is None else self.evaluator
        evaluator.add_event_handler(Events.EPOCH_STARTED, lambda _: self._rows.clear())
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        evaluator.add_event_handler(Events.COMPLETED, self._gather)
        if evaluator is engine:
            engine.add_event_handler(Events.COMPLETED, lambda _: self._fit())
        else:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._fit_if_best, evaluator)

    def _collect(self, evaluator: Engine) -> None:
        for given, output in zip(cast(list, evaluator.state.batch), cast(list, evaluator.state.output), strict=True):
            probabilities = output["pred"].detach().cpu().double().numpy()
            labels = torch.as_tensor(output.get("label", given["label"])).cpu().numpy().reshape(-1)
            rows = np.column_stack([probabilities.reshape(len(probabilities), -1).T, labels])
            self._rows.append(rows[labels >= 0])

    def _gather(self, _: Engine) -> None:
        """Collective, hence after each validation, in every process."""
        self._rows = [rows for part in cast(list, idist.all_gather(self._rows)) for rows in part]

    def _fit_if_best(self, engine: Engine, evaluator: Evaluator) -> None:
        if evaluator.state.best_metric_epoch == engine.state.epoch:
            self._fit()

    def _fit(self) -> None:
        if not self.save:
            return
        rows = np.concatenate(self._rows)
        if not len(rows):
            logger.warning("no validation item has a class, so no temperature is fitted")
            return
        probabilities, labels = rows[:, :-1], rows[:, -1].astype(int)
        found = calibrated(
            probabilities,
            labels,
            self.names,
            self.thresholds,
            weights_digest(self.checkpoint),
            positive=self.positive,
            sensitivity=self.sensitivity,
            least_temperature=self.least_temperature,
        )
        path = calibration_path(self.checkpoint)
        try:
            found.write(path)
        except OSError as error:
            raise OutputError(f"the calibration cannot be written ({error.strerror})", where=path) from error
        logger.info("temperature %.3f from %d items, %d of them wrong", found.temperature, len(labels), found.mistakes)


def calibrated(
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    thresholds: Sequence[float],
    weights: str,
    *,
    positive: str | None = None,
    sensitivity: float = 0.95,
    least_temperature: float = 0.0,
) -> Calibration:
    """What items that the network was not trained on say of its confidence.

    Args:
        probabilities: (N, classes), without a temperature. labels: (N,) true classes.
        names, thresholds: of the classes.
        weights: the digest of those that answered.
        positive, sensitivity, least_temperature: as ``CalibrationFit``.
    """
    temperature, note = fit_temperature(probabilities, labels)
    if temperature < least_temperature:
        note = "; ".join(
            filter(None, [note, f"fitted: {temperature:.3f}, and no less than {least_temperature:g} taken"])
        )
        temperature = least_temperature
    return Calibration(
        temperature=temperature,
        ece_before=calibration_error(probabilities, labels),
        ece_after=calibration_error(tempered(probabilities, temperature), labels),
        nll_before=mean_negative_log_likelihood(probabilities, labels),
        nll_after=mean_negative_log_likelihood(probabilities, labels, temperature),
        items=len(labels),
        mistakes=int((probabilities.argmax(axis=1) != labels).sum()),
        weights=weights,
        names=list(names),
        thresholds=list(thresholds),
        note=note,
        operating_point=None
        if positive is None
        else _operating_point(tempered(probabilities, temperature), labels, list(names), positive, sensitivity),
    )


def _operating_point(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str], name: str, sensitivity: float
) -> OperatingPoint | None:
    at = names.index(name)
    positive = labels == at
    if not positive.any() or positive.all():
        logger.warning("there are items of one class only, so no operating threshold is chosen")
        return None
    threshold = operating_threshold(probabilities[:, at], positive, sensitivity)
    predicted = probabilities[:, at] >= threshold
    return OperatingPoint(
        name, threshold, sensitivity, float(predicted[positive].mean()), float((~predicted)[~positive].mean())
    )
