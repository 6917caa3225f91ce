"""How far a probability can be taken at its word: expected calibration error, and the temperature that mends it.

Source: Guo et al., On Calibration of Modern Neural Networks (https://arxiv.org/abs/1706.04599).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax

BINS = 10
TEMPERATURES = (0.25, 10.0)  # a fit beyond these says that the set is too small to fit anything
_EDGES = (1e-12, float(np.finfo(np.float64).tiny))
_SMALLEST = 1e-45  # what a softmax in single precision has beside 0, which stands for something smaller


def reliability(
    probabilities: NDArray, labels: NDArray, bins: int = BINS
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Slices by confidence (their highest probability) in equal bins of 0..1.

    Args:
        probabilities: (N, K). labels: (N,).

    Returns:
        For each bin: how many slices, their mean confidence, and the share of them that is right; NaN where empty.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    number = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return (
            number,
            np.bincount(place, confidence, minlength=bins) / number,
            np.bincount(place, right, minlength=bins) / number,
        )


def calibration_error(probabilities: NDArray, labels: NDArray, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of confidence from accuracy, bins weighed by their slices; 0..1."""
    number, confidence, accuracy = reliability(probabilities, labels, bins)
    filled = number > 0
    if not filled.any():
        return float("nan")
    return float((number[filled] * np.abs(confidence[filled] - accuracy[filled])).sum() / number.sum())


def logits_of(probabilities: NDArray) -> NDArray[np.float64]:
    """Logits (N, K) whose softmax the probabilities are; what a temperature divides does not depend on their offset."""
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _SMALLEST))


def tempered(probabilities: NDArray, temperature: float) -> NDArray[np.float64]:
    """Probabilities (N, K) as they are when their logits are divided by a temperature above 0."""
    return softmax(logits_of(probabilities) / temperature, axis=1)


def mean_negative_log_likelihood(probabilities: NDArray, labels: NDArray, temperature: float = 1.0) -> float:
    """Of the true classes, in nats."""
    scores = log_softmax(logits_of(probabilities) / temperature, axis=1)
    return float(-scores[np.arange(len(labels)), np.asarray(labels, dtype=np.intp)].mean())


def fit_temperature(probabilities: NDArray, labels: NDArray) -> tuple[float, str]:
    """The temperature with the least negative log-likelihood, and a word on it where it is not to be trusted.

    Where nothing was classified wrongly there is nothing to fit (the likelihood grows for ever as the temperature
    falls), and the temperature stays 1. It is searched for in 0.25..10.

    Args:
        probabilities: (N, K) of slices that the network did not train on. labels: (N,).

    Raises:
        ValueError: no slices.
    """
    if len(labels) == 0:
        raise ValueError("a temperature needs slices to be fitted on")
    if (np.asarray(probabilities).argmax(axis=1) == np.asarray(labels)).all():
        return 1.0, "no mistakes in validation, so nothing to fit: probabilities are the network's own"
    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    found = minimize_scalar(
        lambda x: mean_negative_log_likelihood(probabilities, labels, math.exp(x)), bounds=bounds, method="bounded",
        options={"xatol": 1e-6},
    )  # fmt: skip
    temperature = math.exp(float(found.x))
    at_bound = min(abs(float(found.x) - bound) for bound in bounds) < 1e-3
    return temperature, "the temperature lies at the bound of its search" if at_bound else ""


def operating_threshold(scores: NDArray, positive: NDArray[np.bool_], sensitivity: float) -> float:
    """The highest probability from which at least a stated part of the positives is found.

    It looks at positives alone, so it does not depend on how common they are where it was chosen. It lies half way, on
    the scale of logits, between the last score that must be found and the next lower one of any kind, so that neither
    decides by a hair; where no number lies between them, it is the last score itself. It is never above that score,
    however small that is: 0, from which everything is positive, where the network gives one of those positives 0.

    Args:
        scores: (N,) probabilities of the positive class.
        positive: (N,).
        sensitivity: the part, above 0 and up to 1.

    Raises:
        ValueError: there are no positives, or the part is out of its range.
    """
    if not 0 < sensitivity <= 1:
        raise ValueError(f"the sensitivity must be above 0 and up to 1, got {sensitivity}")
    found = np.sort(np.asarray(scores, dtype=np.float64)[np.asarray(positive, dtype=bool)])[::-1]
    if not found.size:
        raise ValueError("there are no positives to choose a threshold on")
    last = found[math.ceil(sensitivity * found.size - 1e-9) - 1]
    below = np.asarray(scores, dtype=np.float64)
    below = below[below < last]
    lower = float(below.max()) if below.size else last / 2
    for edge in _EDGES:  # what lies beyond the first is certainty, and its logits say nothing, unless all lies there
        threshold = float(expit(logit(np.clip([lower, last], edge, 1 - 1e-9)).mean()))
        if lower < threshold <= last:
            return threshold
    return float(last)
