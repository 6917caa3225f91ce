"""What a metric's name says of its values: their range, whether more is better, whether they are a proportion."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_LESS = re.compile(r"hd95|hausdorff|(^|_)(ece|brier|loss|mae|rmse|error|distance|seconds)(_|$)")
# Neither more nor less is better: a bias is best at 0, a coverage where it was promised, what is measured of the label
# or the prediction alone is the patient's, and what is left to a person is a price.
_NEITHER = re.compile(r"(^|_)(refer_share|bias|coverage)(_|$)|._(label|prediction)$")
_PROPORTION = re.compile(r"(^|_)(accuracy|sensitivity|specificity|precision|recall|f1|share|coverage)(_|$)")
_PART = re.compile(
    r"(^|_)(dice|iou|nsd|auc|ece|brier|extent_label|extent_prediction|extent_error|extent_mae)(_|$)|average_precision"
)
_CORRELATION = re.compile(r"(^|_)(pearson|spearman)(_|$)")
# Of what is measured of masks, each class on its own: what is looked at first comes first.
_OF_MASKS = ("dice", "iou", "nsd", "hd95_mm", "hd95_px")
_OF_CLASSES = ("auc", "balanced_accuracy", "accuracy", "average_precision", "f1", "ece")
_USUAL_KEYS = ("balanced_accuracy", "auc", "accuracy")
_CLASS = re.compile(rf"(.+)_(?:{'|'.join(_OF_MASKS)}|thresholded_iou|sensitivity|specificity|accuracy)")


def task_of(metrics: Iterable[str]) -> str:
    """What was measured: "segmentation", "classification" or "other"."""
    names = set(metrics)
    if any(name.endswith(("dice", "_iou")) for name in names):
        return "segmentation"
    return "classification" if {"accuracy", "auc"} & names else "other"


def usual_keys(metrics: Iterable[str]) -> list[str]:
    """The metrics that may rank where nobody says by which a network was chosen, the likeliest first."""
    names = sorted(metrics)
    return [*(name for name in names if name.endswith("dice")), *(name for name in _USUAL_KEYS if name in names)]


def usually_shown(metrics: Iterable[str], key: str) -> list[str]:
    """What a table of these metrics shows where nobody says what, in its order: of masks the class of the key metric
    and the Dice of the others."""
    names = sorted(metrics)
    task = task_of(names)
    if task == "segmentation":
        own = [f"{class_of(key)}_{kind}" for kind in _OF_MASKS]
        return [*(name for name in own if name in names), *(n for n in names if n.endswith("_dice") and n not in own)]
    return [name for name in _OF_CLASSES if name in names] if task == "classification" else names


def class_of(metric: str) -> str:
    """The class that a metric of masks is of; empty where it is of none."""
    found = _CLASS.fullmatch(metric)
    return found[1] if found else ""


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better: not of distances, errors and losses, nor where ``has_order`` says no."""
    return has_order(metric) and not _LESS.search(metric)


def has_order(metric: str) -> bool:
    """Whether a metric has a better and a worse at all: a bias, a coverage, or the part referred has none, and ranks
    nothing."""
    return not _NEITHER.search(metric)


def is_proportion(metric: str) -> bool:
    """Whether a metric counts cases that are right among cases, so that none wrong of N has an exact interval.

    An area, an error, a bias or a correlation is none, whatever its value.
    """
    return bool(_PROPORTION.search(metric)) and not _LESS.search(metric)


def bounds(metric: str) -> tuple[float, float]:
    """The least and the greatest value that a metric can have; infinite where its name does not say."""
    if _CORRELATION.search(metric):
        return -1.0, 1.0
    if _PART.search(metric) or is_proportion(metric):
        return 0.0, 1.0
    return (0.0 if _LESS.search(metric) else -math.inf), math.inf
