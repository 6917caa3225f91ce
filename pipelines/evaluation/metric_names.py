"""What a metric's name says of its values: their range, whether more is better, whether they are a proportion."""

from __future__ import annotations

import math
import re

_LESS = re.compile(r"hd95|hausdorff|(^|_)(ece|brier|loss|mae|rmse|error|distance|seconds)(_|$)")
# Neither more nor less is better: a bias is best at 0, a coverage where it was promised, what is measured of the label
# or the prediction alone is the patient's, and what is left to a person is a price.
_NEITHER = re.compile(r"(^|_)(refer_share|bias|coverage)(_|$)|._(label|prediction)$")
_PROPORTION = re.compile(r"(^|_)(accuracy|sensitivity|specificity|precision|recall|f1|share|coverage)(_|$)")
_PART = re.compile(
    r"(^|_)(dice|iou|nsd|auc|ece|brier|extent_label|extent_prediction|extent_error|extent_mae)(_|$)|average_precision"
)
_CORRELATION = re.compile(r"(^|_)(pearson|spearman)(_|$)")


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
