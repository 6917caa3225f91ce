"""Paired comparisons, against scipy and figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipelines.evaluation import paired_difference


def test_difference_counts_and_p_value() -> None:
    first, second = [0.9, 0.8, 0.7, 0.95, 0.6], [0.8, 0.85, 0.5, 0.9, 0.6]
    found = paired_difference(first, second, list("abcde"))
    assert found.difference.estimate == pytest.approx(np.mean([0.1, -0.05, 0.2, 0.05, 0.0]))
    assert (found.wins, found.losses, found.left_out) == (3, 1, 0)
    assert found.p_value == pytest.approx(stats.wilcoxon(np.subtract(first, second)).pvalue, abs=1e-12)
    assert found.difference.low < found.difference.estimate < found.difference.high


def test_undefined_cases_are_left_out_and_counted() -> None:
    found = paired_difference([1.0, np.nan, 0.5], [0.5, 0.5, np.nan], list("abc"))
    assert (found.difference.estimate, found.left_out) == (0.5, 2)


def test_no_difference_has_no_p_value() -> None:
    assert np.isnan(paired_difference([0.5, 0.6], [0.5, 0.6], list("ab")).p_value)


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="same cases"):
        paired_difference([0.5], [0.5, 0.6], list("a"))
