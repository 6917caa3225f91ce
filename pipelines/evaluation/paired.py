"""Whether one method beats another on the same cases."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wilcoxon
from statsmodels.stats import contingency_tables

from pipelines.evaluation.intervals import Interval, bootstrap_interval


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two classifiers on the same cases.

    Attributes:
        only_first: cases that only the first has right.
        only_second: cases that only the second has right.
        p_value: exact, two-sided; 1 where they are never right and wrong apart.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """The exact test (McNemar, Psychometrika 12:153, 1947): among the cases that one has right and the other wrong,
    either is as often right under the null hypothesis, so their number is binomial (by statsmodels).

    Cases of one patient are taken as independent; where they are not, the p value is too small.

    Args:
        first_right, second_right: (N,) bool, the same cases in the same order.

    Raises:
        ValueError: lengths differ.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"the same cases are needed twice, got {first.shape} and {second.shape}")
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    return McNemar(one, other, float(contingency_tables.mcnemar([[0, one], [other, 0]], exact=True).pvalue))


@dataclass(frozen=True)
class PairedDifference:
    """What the first method has more than the second, in a metric of the same cases.

    Attributes:
        difference: mean of first minus second, with its 95 % bootstrap interval over patients.
        p_value: of Wilcoxon's signed-rank test, two-sided; NaN where no case differs.
        wins, losses: cases in which the first is larger, and smaller.
        left_out: cases in which the metric of either is undefined.
    """

    difference: Interval
    p_value: float
    wins: int
    losses: int
    left_out: int


def paired_difference(first: ArrayLike, second: ArrayLike, patients: Sequence[Hashable]) -> PairedDifference:
    """Compare a metric of two methods case by case (Wilcoxon, Biometrics Bulletin 1:80, 1945; by scipy).

    Cases of one patient are taken as independent by the test, and not by the interval.

    Args:
        first, second: (N,) values, the same cases in the same order; NaN where undefined.
        patients: the patient of each case.

    Raises:
        ValueError: lengths differ.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1 or len(patients) != len(one):
        raise ValueError(
            f"the same cases are needed twice, got {one.shape}, {other.shape} and {len(patients)} patients"
        )
    difference = one - other
    defined = difference[np.isfinite(difference)]
    p_value = float(wilcoxon(defined).pvalue) if np.any(defined != 0) else float("nan")
    return PairedDifference(
        bootstrap_interval(difference, patients, bounds=(-math.inf, math.inf), difference=True),
        p_value,
        int((defined > 0).sum()),
        int((defined < 0).sum()),
        len(difference) - len(defined),
    )
