"""Calibration at inference: the temperature that was fitted for certain weights lies in a file beside them.

Source: Guo et al., On Calibration of Modern Neural Networks (https://arxiv.org/abs/1706.04599).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.fetched import local
from pipelines.files import text, write_file
from pipelines.weights import weights_digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OperatingPoint:
    """From where on a picture is called positive.

    Attributes:
        positive: name of that class.
        threshold: probability, after the temperature, from which it is said.
        wanted_sensitivity: what the threshold was chosen for.
        sensitivity, specificity: on the validation pictures that it was chosen on.
        rule: in words.
    """

    positive: str
    threshold: float
    wanted_sensitivity: float
    sensitivity: float
    specificity: float
    rule: str = (
        "the highest probability from which at least the wanted part of the positive validation pictures is found"
    )

    def predict(self, probabilities: Any, names: Sequence[str]) -> np.ndarray:
        """Classes (N,) of probabilities (N, 2)."""
        at = list(names).index(self.positive)
        return np.where(np.asarray(probabilities)[:, at] >= self.threshold, at, 1 - at)


@dataclass(frozen=True)
class FamiliarityLimits:
    """Beyond what a picture is unlike those of training (``pipelines.evaluation.familiarity``).

    Attributes:
        limits: by measure.
        percentile: of the validation pictures that lie within each.
        items: how many these were.
    """

    limits: Mapping[str, float]
    percentile: float
    items: int


@dataclass(frozen=True)
class Calibration:
    """What the validation cases taught about a network's confidence.

    Attributes:
        temperature: what logits are divided by, above 0; above 1 where the network was too sure.
        ece_before, ece_after: expected calibration error on the validation items (slices, pictures), 0..1.
        nll_before, nll_after: mean negative log-likelihood there.
        items, mistakes: how many that were, and how many of them were classified wrongly.
        weights: digest of the weights it belongs to (``pipelines.weights.weights_digest``).
        names, thresholds: the classes they were trained for.
        note: anything to be known of it.
        operating_point: of two classes, what is called positive and from which probability; None where the likelier
            class is said.
        familiarity: of a network with an autoencoder, from where on a picture is unlike those of training.
    """

    temperature: float
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float
    items: int
    mistakes: int
    weights: str
    names: Sequence[str]
    thresholds: Sequence[float]
    note: str = ""
    operating_point: OperatingPoint | None = None
    familiarity: FamiliarityLimits | None = None

    def write(self, path: Path) -> None:
        """Write as JSON, in one step.

        Raises:
            OutputError: it cannot be written.
        """
        write_file(path, text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"))


def calibration_path(checkpoint: str | Path) -> Path:
    """Where the calibration of a checkpoint lies: ``model.pt`` has ``model.calibration.json`` beside it."""
    return local(checkpoint).with_suffix(".calibration.json")


def read_calibration(checkpoint: str | Path) -> Calibration | None:
    """The calibration of a checkpoint, None where it has none.

    Raises:
        UnreadableFileError: the file is damaged, or its temperature is not above 0.
        WeightsError: it belongs to other weights.
    """
    path = calibration_path(checkpoint)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if "slices" in content:  # the key's former name
            content["items"] = content.pop("slices")
        if content.get("operating_point") is not None:
            content["operating_point"] = OperatingPoint(**content["operating_point"])
        if content.get("familiarity") is not None:
            content["familiarity"] = FamiliarityLimits(**content["familiarity"])
        found = Calibration(**content)
        sound = math.isfinite(found.temperature) and found.temperature > 0
        point = found.operating_point
        sound &= point is None or (
            0 <= point.threshold <= 1 and point.positive in found.names and len(found.names) == 2
        )
    except (OSError, ValueError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise UnreadableFileError(
            "the calibration is damaged", where=path, how="train again, or delete it to infer without"
        )
    if found.weights != weights_digest(checkpoint):
        raise WeightsError(
            "the calibration belongs to other weights", where=path, how="train again, or delete it to infer without"
        )
    return found


class TemperatureScaled(MapTransform):
    """Divides logits by the temperature that was fitted for a checkpoint (``Calibration``).

    Args:
        keys: logits, any shape.
        checkpoint: the weights that made them; None (while training) and a checkpoint without a calibration leave the
            logits as they are. The file is read at the first call, so that a config may be built before it is there.

    Raises:
        UnreadableFileError, WeightsError: at the first call, see ``read_calibration``.
    """

    def __init__(self, keys: KeysCollection, checkpoint: str | None = None, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.checkpoint = checkpoint
        self._read = False
        self._found: Calibration | None = None

    @property
    def calibration(self) -> Calibration | None:
        """The calibration in use, None where there is none."""
        if not self._read:
            self._found = None if self.checkpoint is None else read_calibration(self.checkpoint)
            if self._found is None and self.checkpoint is not None:
                logger.warning("%s has no calibration: probabilities are the network's own", self.checkpoint)
            self._read = True
        return self._found

    @property
    def temperature(self) -> float:
        """The temperature in use, 1 without a calibration."""
        return 1.0 if self.calibration is None else self.calibration.temperature

    def predict(self, probabilities: Any, names: Sequence[str]) -> np.ndarray:
        """Classes (N,) of probabilities (N, classes): by the operating point, or the likeliest where there is none."""
        point = None if self.calibration is None else self.calibration.operating_point
        return np.asarray(probabilities).argmax(axis=1) if point is None else point.predict(probabilities, names)

    def require(self, names: Sequence[str], thresholds: Sequence[float]) -> None:
        """Hold the classes that the weights were trained for against those that are wanted.

        Raises:
            WeightsError: they differ.
        """
        found = self.calibration
        if found is not None and (list(found.names), list(found.thresholds)) != (list(names), list(thresholds)):
            raise WeightsError(
                f"the weights were trained for {', '.join(found.names)} from {list(found.thresholds)}",
                where=self.checkpoint,
                how="give the thresholds that they were trained with, or train again",
            )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = torch.as_tensor(d[key]) / self.temperature
        return d
