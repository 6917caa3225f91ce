"""Paired tests for models that were measured on the same cases.

What scipy and statsmodels have is theirs: Wilcoxon's test, McNemar's (``pipelines.evaluation.mcnemar``). Neither has
DeLong's test. The bootstrap is the evaluation's (``pipelines.evaluation.resampling``).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata, wilcoxon


@dataclass(frozen=True)
class DeLong:
    """Two areas under ROC curves of the same items.

    Attributes:
        first, second: the areas, 0..1.
        variance: of their difference.
        low, high: 95 % interval of first minus second (normal).
        p_value: two-sided; 1 where the curves are equal, NaN where the variance is 0 and they are not.
    """

    first: float
    second: float
    variance: float
    low: float
    high: float
    p_value: float


def delong_covariance(scores: ArrayLike, positive: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas under ROC curves of the same items, and the covariance of these areas.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44:837, 1988, by mid-ranks, which is fast: Sun and Xu, IEEE Signal
    Processing Letters 21:1389, 2014.

    Args:
        scores: (M, N), a row a model, higher for positives.
        positive: (N,) bool.

    Returns:
        (M,) areas and (M, M) covariance. NaN with fewer than two items of either kind.
    """
    values, truth = np.atleast_2d(np.asarray(scores, dtype=np.float64)), np.asarray(positive, dtype=bool)
    m, n = int(truth.sum()), int((~truth).sum())
    if m < 2 or n < 2:
        return np.full(len(values), np.nan), np.full((len(values), len(values)), np.nan)
    hits, others = values[:, truth], values[:, ~truth]
    together = rankdata(np.concatenate([hits, others], axis=1), axis=1)
    ranks_hits, ranks_others = rankdata(hits, axis=1), rankdata(others, axis=1)
    areas = together[:, :m].sum(axis=1) / (m * n) - (m + 1) / (2 * n)
    of_hits = (together[:, :m] - ranks_hits) / n  # the structural components of the paper
    of_others = 1 - (together[:, m:] - ranks_others) / m
    covariance = np.cov(of_hits).reshape(len(values), -1) / m + np.cov(of_others).reshape(len(values), -1) / n
    return areas, covariance


def delong(first: ArrayLike, second: ArrayLike, positive: ArrayLike) -> DeLong:
    """Whether one area under the ROC curve is larger than the other (``delong_covariance``).

    Items of one patient are taken as independent; where they are not, the p value is too small.

    Args:
        first, second: (N,) scores, higher for positives, of the same items in the same order.
        positive: (N,) bool.

    Raises:
        ValueError: lengths differ.
    """
    areas, covariance = delong_covariance(np.stack([np.asarray(first), np.asarray(second)]), positive)
    difference = float(areas[0] - areas[1])
    variance = max(float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]), 0.0)
    spread = math.sqrt(variance)
    if math.isnan(difference):
        p_value = math.nan
    elif spread < 1e-12:
        p_value = 1.0 if abs(difference) < 1e-12 else math.nan
    else:
        p_value = float(2 * norm.sf(abs(difference) / spread))
    reach = float(norm.ppf(0.975)) * spread
    return DeLong(float(areas[0]), float(areas[1]), variance, difference - reach, difference + reach, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (Scandinavian Journal of Statistics 6:65, 1979); NaN stays, and is no test.

    statsmodels has the same, and runs Python's garbage collector at each call, which beside torch takes a second.
    """
    corrected = np.array(p_values, dtype=np.float64)
    order = np.argsort(corrected)[: int((~np.isnan(corrected)).sum())]  # NaN are sorted last
    steps = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(each) for each in corrected]


def signed_rank(first: ArrayLike, second: ArrayLike, patients: Sequence[Hashable]) -> float:
    """The two-sided p value of Wilcoxon's signed-rank test (scipy) on patients: the mean difference of each.

    Args:
        first, second: (N,) values of the same cases; a case where either is NaN is left out.
        patients: the patient of each case.

    Returns:
        NaN without cases, 1 where no patient differs.
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    by_patient: dict[Hashable, list[float]] = {}
    for patient, value in zip(patients, difference, strict=True):
        if math.isfinite(value):
            by_patient.setdefault(patient, []).append(float(value))
    means = np.array([np.mean(values) for values in by_patient.values()])
    if not means.size:
        return math.nan
    return float(wilcoxon(means).pvalue) if np.any(means != 0) else 1.0
