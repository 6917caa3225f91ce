"""Certainties held against the truth: the curve that makes probabilities of them, and an interval of the extent.

Everything that is told of a fit is told of patients that it was not made on: fits are cross-validated by patient.

Sources: Platt, Probabilistic outputs for support vector machines (1999); Dunn, Wasserman and Ramdas, Distribution-free
prediction sets for two-layer hierarchical models (https://arxiv.org/abs/1809.07441), whose pooled distribution lets
each patient count the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression

from pipelines.errors import DatalistError
from pipelines.evaluation.classification import area_under_curve
from pipelines.transforms.mask_confidence import Curve, ExtentInterval, log_odds

FOLDS = 10  # of patients, where there are more
LEAST_ITEMS, LEAST_PATIENTS = 20, 5
FLOOR = 0.02  # of an extent, added to it: small ones are known no better than this
_PENALTY = 10.0  # sklearn's C: so weak that it matters only where good and bad are told apart wholly


def fit_curve(certainty: ArrayLike, good: ArrayLike, patients: Sequence[object]) -> tuple[Curve, NDArray[np.float64]]:
    """The curve from certainty to the probability that a mask, or a part of one, is good.

    Args:
        certainty: (N,) 0..1. good: (N,) whether it is. patients: (N,) of whom.

    Returns:
        The curve, and for each item the probability that a curve gives which was fitted on other patients alone.

    Raises:
        DatalistError: fewer than 20 items, or than 5 patients.
    """
    odds = np.array([log_odds(float(each)) for each in np.asarray(certainty, dtype=np.float64)])
    right = np.asarray(good, dtype=bool)
    groups = _groups(patients)
    _demand(len(right), groups)
    unseen = np.empty(len(right))
    for left_out in _folds(groups):
        slope, intercept = _logistic(odds[~left_out], right[~left_out])
        unseen[left_out] = 1 / (1 + np.exp(-(slope * odds[left_out] + intercept)))
    slope, intercept = _logistic(odds, right)
    both = bool(right.any() and not right.all())
    return Curve(
        slope=slope,
        intercept=intercept,
        items=len(right),
        patients=int(groups.max()) + 1,
        share=float(right.mean()),
        brier=float(((unseen - right) ** 2).mean()),
        ece=_error(unseen, right),
        auc=float(area_under_curve(unseen, right)) if both else None,
    ), unseen


def fit_extent(
    extents: ArrayLike, true: ArrayLike, patients: Sequence[object], coverage: float = 0.9, floor: float = FLOOR
) -> ExtentInterval:
    """The interval of an extent by conformal prediction: how many times (extent + floor) hold the truth that often.

    Each patient counts the same, however many slices he has; the quantile is raised for one patient more, the next.

    Args:
        extents, true: (N,) 0..1, as measured on the mask and on the truth. patients: (N,) of whom.
        coverage: of the interval. floor: see ``ExtentInterval``.

    Raises:
        DatalistError: too few patients for such a coverage (9 for 0.9), or fewer than 20 items.
    """
    found, truth = np.asarray(extents, dtype=np.float64), np.asarray(true, dtype=np.float64)
    groups = _groups(patients)
    _demand(len(found), groups)
    score = np.abs(truth - found) / (found + floor)
    factor = _pooled_quantile(score, groups, coverage)
    if factor is None:
        number = math.ceil(coverage / (1 - coverage) - 1e-9)
        what = f"{int(groups.max()) + 1} patients are too few for an interval that holds {100 * coverage:g} %"
        raise DatalistError(what, how=f"give {number} or more, or none of the extents")
    held = np.zeros(len(found))
    widths = np.full(len(found), np.nan)
    for left_out in _folds(groups):
        own = _pooled_quantile(score[~left_out], _groups(groups[~left_out]), coverage)
        own = float(score[~left_out].max()) if own is None else own
        held[left_out] = score[left_out] <= own
        half = own * (found[left_out] + floor)
        widths[left_out] = np.minimum(found[left_out] + half, 1) - np.maximum(found[left_out] - half, 0)
    return ExtentInterval(
        coverage=coverage,
        factor=factor,
        floor=floor,
        items=len(found),
        patients=int(groups.max()) + 1,
        covered=_by_patient(held, groups),
        width=float(np.median(widths)),
    )


def kept_and_good(probability: NDArray, good: NDArray, least: float) -> tuple[float, float]:
    """The share of items whose probability is at least so much, and how many of these are good; NaN of none."""
    kept = probability >= least
    return float(kept.mean()), float(good[kept].mean()) if kept.any() else float("nan")


def _groups(patients: Sequence[object] | NDArray) -> NDArray[np.intp]:
    return np.unique(np.asarray([str(each) for each in patients]), return_inverse=True)[1]


def _demand(items: int, groups: NDArray[np.intp]) -> None:
    patients = int(groups.max()) + 1 if items else 0
    if items < LEAST_ITEMS or patients < LEAST_PATIENTS:
        what = f"there are {items} masks of {patients} patients to learn from"
        raise DatalistError(what, how=f"give {LEAST_ITEMS} or more, of {LEAST_PATIENTS} or more patients")


def _folds(groups: NDArray[np.intp]) -> Iterator[NDArray[np.bool_]]:
    """Items of the patients that are left out, each patient once."""
    number = int(groups.max()) + 1
    of_patient = np.random.default_rng(0).permutation(number) % min(FOLDS, number)
    for fold in range(min(FOLDS, number)):
        yield of_patient[groups] == fold


def _logistic(odds: NDArray, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope, not below 0, and intercept; with one good and one bad item of even odds more, so that neither share is 0
    (Platt softens the targets to the same end)."""
    shown = np.concatenate([odds, [0.0, 0.0]])[:, None]
    targets = np.concatenate([right, [True, False]])
    model = LogisticRegression(C=_PENALTY).fit(shown, targets)
    slope = float(model.coef_[0, 0])
    if slope >= 0:
        return slope, float(model.intercept_[0])
    share = float(targets.mean())
    return 0.0, math.log(share / (1 - share))


def _error(probability: NDArray, right: NDArray[np.bool_]) -> float:
    """Expected calibration error of the probability that an item is good, in ten bins of it."""
    bins = np.minimum((probability * 10).astype(int), 9)
    number = np.bincount(bins, minlength=10)
    gap = np.abs(np.bincount(bins, probability, minlength=10) - np.bincount(bins, right, minlength=10))
    return float(gap[number > 0].sum() / number.sum())


def _pooled_quantile(score: NDArray, groups: NDArray[np.intp], coverage: float) -> float | None:
    """The least score that so much of the patients' mean distribution does not exceed; None of too few patients."""
    number = int(groups.max()) + 1
    wanted = coverage * (1 + 1 / number)
    if wanted > 1 + 1e-9:
        return None
    weight = 1 / np.bincount(groups)[groups] / number
    order = np.argsort(score, kind="stable")
    reached = np.cumsum(weight[order])
    return float(score[order][min(int(np.searchsorted(reached, min(wanted, 1.0) - 1e-9)), len(order) - 1)])


def _by_patient(values: NDArray, groups: NDArray[np.intp]) -> float:
    return float((np.bincount(groups, values) / np.bincount(groups)).mean())
