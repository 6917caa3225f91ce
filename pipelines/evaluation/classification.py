"""How good classes are: scores of a set of slices, from their probabilities.

One rule for classes that are missing, in every table: a class without a true case has no sensitivity, one that fills
the set no specificity, either no area under its curve; F1 needs the class in truth or prediction. Undefined is NaN,
and left out of averages over classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import precision_recall_curve, roc_curve

from pipelines.evaluation.calibration import calibration_error

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # x and y of its points


def confusion(labels: NDArray, predicted: NDArray, classes: int) -> NDArray[np.int64]:
    """Counts, rows by truth and columns by prediction: classes x classes."""
    pairs = np.asarray(labels, dtype=np.intp) * classes + np.asarray(predicted, dtype=np.intp)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def area_under_curve(scores: NDArray, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties counted half (the Mann-Whitney statistic; Hanley and McNeil, Radiology 143:29,
    1982); NaN where one kind is missing.

    sklearn's gives the same and takes a hundred times as long, which the bootstrap multiplies by thousands.

    Args:
        scores: (N,), higher for positives. positive: (N,).
    """
    number = int(positive.sum())
    others = positive.size - number
    if number == 0 or others == 0:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - number * (number + 1) / 2) / (number * others))


def class_scores(
    probabilities: NDArray, labels: NDArray, names: Sequence[str], predicted: NDArray | None = None
) -> dict[str, float]:
    """Scores of N slices or pictures in K classes.

    Args:
        probabilities: (N, K), rows that sum to 1.
        labels: (N,), 0..K-1.
        names: of the K classes.
        predicted: (N,) classes by another rule than the highest probability (an operating threshold).

    Returns:
        ``accuracy``, ``balanced_accuracy`` (mean sensitivity), ``f1`` (mean over classes), ``auc`` (mean one against
        the rest), for each class ``NAME_sensitivity``, ``NAME_specificity``, ``NAME_f1``, ``NAME_auc``, and ``ece``
        (expected calibration error of the highest probability). All 0..1, NaN where undefined.
    """
    labels = np.asarray(labels)
    auc = np.array([area_under_curve(probabilities[:, k], labels == k) for k in range(len(names))])
    scores = label_scores(labels, probabilities.argmax(axis=1) if predicted is None else predicted, names)
    scores |= {f"{name}_auc": float(auc[k]) for k, name in enumerate(names)}
    return scores | {"auc": _mean(auc), "ece": calibration_error(probabilities, labels)}


def binary_scores(scores: NDArray, labels: NDArray, predicted: NDArray) -> dict[str, float]:
    """What is asked of a test for one condition.

    Args:
        scores: (N,), higher where the condition is likelier.
        labels: (N,), 1 with the condition, 0 without.
        predicted: (N,), 1 where the test says so.

    Returns:
        ``sensitivity`` (recall), ``specificity``, ``precision``, ``f1_positive``, ``average_precision`` (area under the
        precision-recall curve, as a step function; sklearn's definition). NaN where undefined.
    """
    labels, predicted = np.asarray(labels) == 1, np.asarray(predicted) == 1
    hits = int((labels & predicted).sum())
    positive, called = int(labels.sum()), int(predicted.sum())
    negative = labels.size - positive

    def part(number: float, whole: float) -> float:
        return number / whole if whole else float("nan")

    return {
        "sensitivity": part(hits, positive),
        "specificity": part(int((~labels & ~predicted).sum()), negative),
        "precision": part(hits, called),
        "f1_positive": part(2 * hits, positive + called),
        "average_precision": average_precision(scores, labels),
    }


def average_precision(scores: NDArray, positive: NDArray[np.bool_]) -> float:
    """Area under the precision-recall curve: the mean precision over the recalls that are reached, ties taken together;
    NaN without positives. As ``area_under_curve``, by ourselves for the bootstrap; the tests hold it against sklearn's.

    Args:
        scores: (N,), higher for positives. positive: (N,).
    """
    number = int(np.count_nonzero(positive))
    if not number:
        return float("nan")
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.cumsum(np.asarray(positive)[order])
    last = np.append(np.diff(np.asarray(scores)[order]) != 0, True)  # the last of each tie
    recall, precision = hits[last] / number, hits[last] / (np.flatnonzero(last) + 1)
    return float((np.diff(np.insert(recall, 0, 0.0)) * precision).sum())


def curve_points(scores: NDArray, positive: NDArray[np.bool_]) -> tuple[Curve, Curve]:
    """The ROC curve (1 - specificity, sensitivity) and the precision-recall curve (recall, precision) at every score
    that occurs, from the highest down; without points where one kind is missing.

    Args:
        scores: (N,), higher for positives. positive: (N,).
    """
    if positive.all() or not positive.any():
        return (np.empty(0), np.empty(0)), (np.empty(0), np.empty(0))
    false, found, _ = roc_curve(positive, scores, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(positive, scores)
    return (false, found), (recall[-2::-1], precision[-2::-1])  # the last is sklearn's own, of no score


def label_scores(labels: NDArray, predicted: NDArray, names: Sequence[str]) -> dict[str, float]:
    """The scores of ``class_scores`` that need no probabilities.

    Args:
        labels: (N,), 0..K-1.
        predicted: (N,), 0..K-1, or K for an item that was given no class, which is wrong whatever it is.
        names: of the K classes.
    """
    classes = len(names)
    counts = confusion(labels, predicted, classes + 1)
    hits, true, called = (each[:classes] for each in (np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)))
    total = counts.sum()
    sensitivity = _ratio(hits, true)
    specificity = _ratio(total - true - called + hits, total - true)
    f1 = _ratio(2 * hits, true + called)
    scores = {
        "accuracy": float(hits.sum() / total) if total else float("nan"),
        "balanced_accuracy": _mean(sensitivity),
        "f1": _mean(f1),
    }
    for k, name in enumerate(names):
        scores |= {
            f"{name}_sensitivity": float(sensitivity[k]),
            f"{name}_specificity": float(specificity[k]),
            f"{name}_f1": float(f1[k]),
        }
    return scores


def _ratio(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
