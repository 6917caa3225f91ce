"""What a mask's certainty means: the file beside weights that says it, fitted on masks whose truth is known.

``NETWORK.confidence.json`` beside ``NETWORK.safetensors`` turns a certainty (``pipelines.transforms.confidence``) into
the probability that the mask's Dice is above a limit, that a part is right, and an extent into an interval. It belongs
to its weights: beside others it is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.fetched import local
from pipelines.files import text, write_file
from pipelines.weights import weights_digest

CONFIDENCE = ".confidence.json"  # in the place of the ending of weights
_EDGE = 1e-4


@dataclass(frozen=True)
class Curve:
    """A logistic curve over the log odds of a certainty (Platt 1999), and how it did on cases it was not fitted on.

    Attributes:
        slope, intercept: of the curve; the slope is 0 or more.
        items, patients: masks or parts that it was fitted on, and of how many patients.
        share: of them that are good.
        brier, ece, auc: of cross-validation by patient: mean squared error, expected calibration error, and how often a
            good one has the higher probability; the last None where all are good, or none is.
    """

    slope: float
    intercept: float
    items: int
    patients: int
    share: float
    brier: float
    ece: float
    auc: float | None

    def probability(self, certainty: float) -> float:
        """0..1, of a certainty 0..1."""
        return 1 / (1 + math.exp(-(self.slope * log_odds(certainty) + self.intercept)))


@dataclass(frozen=True)
class ExtentInterval:
    """An interval of an extent: ``factor`` times (extent + ``floor``) to each side, cut to 0..1.

    Attributes:
        coverage: what it was made for, 0..1.
        factor, floor: see above.
        items, patients: slices that it was fitted on, and of how many patients.
        covered: the share of slices of patients left out that it holds, each patient counting the same.
        width: its median width there, in parts of 1.
    """

    coverage: float
    factor: float
    floor: float
    items: int
    patients: int
    covered: float
    width: float

    def around(self, extent: float) -> tuple[float, float]:
        """Least and greatest extent."""
        half = self.factor * (extent + self.floor)
        return max(0.0, extent - half), min(1.0, extent + half)


@dataclass(frozen=True)
class MaskConfidence:
    """What is known of the certainty of a network's masks.

    Attributes:
        weights: digest of the weights it belongs to (``pipelines.weights.weights_digest``).
        dice: the limit: a mask is good whose Dice is above it.
        labels: name to its curve; of masks that are not empty.
        parts: of parts: good is one of which at least half lies in the truth; None: not measured.
        extent: None where the bundle measures none.
        note: what it was measured on.
    """

    weights: str
    dice: float
    labels: Mapping[str, Curve]
    parts: Curve | None = None
    extent: ExtentInterval | None = None
    note: str = ""

    def write(self, path: Path) -> None:
        """Write as JSON, in one step.

        Raises:
            OutputError: it cannot be written.
        """
        write_file(path, text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"))


def log_odds(certainty: float) -> float:
    """Of a certainty, 0..1; both ends are held off a little."""
    held = min(1 - _EDGE, max(_EDGE, certainty))
    return math.log(held / (1 - held))


def confidence_path(checkpoint: str | Path) -> Path:
    """Where the confidence of weights lies: ``skips.safetensors`` has ``skips.confidence.json`` beside it."""
    return local(checkpoint).with_suffix(CONFIDENCE)


def read_confidence(checkpoint: str | Path) -> MaskConfidence | None:
    """What lies beside weights; None where nothing does.

    Raises:
        UnreadableFileError: the file is damaged.
        WeightsError: it belongs to other weights.
    """
    path = confidence_path(checkpoint)
    if not path.is_file():
        return None
    try:
        found = _parsed(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        how = "measure it again (python -m pipelines confidence), or delete it to predict without"
        raise UnreadableFileError("what is known of the masks' confidence is damaged", where=path, how=how) from error
    if found.weights != weights_digest(checkpoint):
        how = "measure it again (python -m pipelines confidence), or delete it to predict without"
        raise WeightsError("the masks' confidence belongs to other weights", where=path, how=how)
    return found


def _parsed(content: Mapping[str, Any]) -> MaskConfidence:
    """Raises ValueError, TypeError, KeyError or AttributeError where it is not one."""
    curves = {str(name): Curve(**each) for name, each in content["labels"].items()}
    parts = None if content.get("parts") is None else Curve(**content["parts"])
    extent = None if content.get("extent") is None else ExtentInterval(**content["extent"])
    numbers = [
        number for each in (*curves.values(), parts) if each is not None for number in (each.slope, each.intercept)
    ]
    numbers += [] if extent is None else [extent.factor, extent.floor]
    dice = float(content["dice"])
    if not all(math.isfinite(number) for number in numbers) or not 0 < dice < 1:
        raise ValueError("a number is out of its range")
    if any(each.slope < 0 for each in (*curves.values(), parts) if each is not None):
        raise ValueError("a slope is below 0")
    return MaskConfidence(str(content["weights"]), dice, curves, parts, extent, str(content.get("note", "")))
