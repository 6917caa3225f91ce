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

from pipelines.evaluation.calibration import calibration_error


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


def class_scores(probabilities: NDArray, labels: NDArray, names: Sequence[str]) -> dict[str, float]:
    """Scores of N slices in K classes.

    Args:
        probabilities: (N, K), rows that sum to 1.
        labels: (N,), 0..K-1.
        names: of the K classes.

    Returns:
        ``accuracy``, ``balanced_accuracy`` (mean sensitivity), ``f1`` (mean over classes), ``auc`` (mean one against
        the rest), for each class ``NAME_sensitivity``, ``NAME_specificity``, ``NAME_f1``, ``NAME_auc``, and ``ece``
        (expected calibration error of the highest probability). All 0..1, NaN where undefined.
    """
    labels = np.asarray(labels)
    auc = np.array([area_under_curve(probabilities[:, k], labels == k) for k in range(len(names))])
    scores = label_scores(labels, probabilities.argmax(axis=1), names)
    scores |= {f"{name}_auc": float(auc[k]) for k, name in enumerate(names)}
    return scores | {"auc": _mean(auc), "ece": calibration_error(probabilities, labels)}


def label_scores(labels: NDArray, predicted: NDArray, names: Sequence[str]) -> dict[str, float]:
    """The scores of ``class_scores`` that need no probabilities.

    Args:
        labels: (N,), 0..K-1.
        predicted: (N,), 0..K-1, or K for an item that was given no class, which is wrong whatever it is.
        names: of the K classes.
    """
    classes = len(names)
    counts = confusion(labels, predicted, classes + 1)
    hits, true, said = (each[:classes] for each in (np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)))
    total = counts.sum()
    sensitivity = _ratio(hits, true)
    specificity = _ratio(total - true - said + hits, total - true)
    f1 = _ratio(2 * hits, true + said)
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
