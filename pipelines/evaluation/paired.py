"""Whether one method beats another on the same cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest


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
    either is as often right under the null hypothesis, so their number is binomial.

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
    return McNemar(one, other, 1.0 if one + other == 0 else float(binomtest(one, one + other, 0.5).pvalue))
