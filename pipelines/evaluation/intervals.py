"""How far a mean over few cases can be trusted: bootstrap intervals over patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipelines.evaluation import metric_names
from pipelines.evaluation.resampling import N_RESAMPLES, PatientResamples


@dataclass(frozen=True)
class Interval:
    """A statistic with its confidence interval.

    Attributes:
        estimate: the statistic of all defined values; NaN if there are none.
        low: lower bound; NaN with fewer than two patients.
        high: upper bound; NaN with fewer than two patients.
        n: cases with a defined value.
        n_patients: patients that these cases come from, what was resampled.
    """

    estimate: float
    low: float
    high: float
    n: int
    n_patients: int


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.floating],
    patients: Sequence[Hashable],
    *,
    statistic: Callable[[NDArray[np.float64]], float] = np.mean,
    n_resamples: int = N_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
    difference: bool = False,
) -> Interval:
    """Confidence interval of a statistic of cases, resampling patients (``PatientResamples.interval``).

    Args:
        values: one number a case; NaN is left out.
        patients: the patient of each case.
        statistic: from a 1D array of at least one value to a number.
        n_resamples: bootstrap samples.
        confidence: share of such intervals that shall hold the true value, above 0 and below 1.
        seed: the same seed and cases in the same order give the same interval.
        bounds: the least and the greatest value that the statistic can have, which a widened interval is cut at; None:
            0 and 1 where all values lie between them, else none. Give none, (-inf, inf), for differences.
        difference: values are differences of two networks (``PatientResamples.interval``).

    Raises:
        ValueError: lengths differ, a value is infinite, or an argument is out of its range.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) != len(patients):
        raise ValueError(f"one patient a value is needed, got {len(patients)} patients for {numbers.shape} values")
    if np.isinf(numbers).any():
        raise ValueError("an infinite value has no mean: give NaN where a metric is undefined")
    if not 0 < confidence < 1 or n_resamples < 1:
        raise ValueError(f"need 0 < confidence < 1 and n_resamples >= 1, got {confidence} and {n_resamples}")

    there = np.flatnonzero(~np.isnan(numbers))
    n, nan = len(there), float("nan")
    if not n:
        return Interval(nan, nan, nan, 0, 0)
    defined = numbers[there]
    resamples = PatientResamples([patients[k] for k in there.tolist()], n_resamples=n_resamples, seed=seed)
    if resamples.n_patients == 1:
        return Interval(float(statistic(defined)), nan, nan, n, 1)
    if statistic is np.mean:
        sampled = resamples.mean(defined)
    else:
        (sampled,) = resamples.each(lambda items: [statistic(defined[items])])
    if bounds is None:
        within = bool(np.all((defined >= 0) & (defined <= 1)))
        bounds = (0.0, 1.0) if within else (-math.inf, math.inf)
    ends = resamples.interval(sampled, bounds, confidence, difference=difference)
    return Interval(sampled.estimate, *ends, n, resamples.n_patients)


def bootstrap_scores(
    score: Callable[[NDArray[np.intp]], Mapping[str, float]],
    patients: Sequence[Hashable],
    *,
    n_resamples: int = N_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Confidence intervals of scores of a set as a whole (accuracy, area under a curve), resampling patients.

    As ``bootstrap_interval``, for scores that are no mean over cases, all from the same resamples. A resample in which
    a score is undefined (no case of a class was drawn) has no part in that score's interval, which is the percentile
    one then. A proportion (``metric_names.is_proportion``) of 0 or 1 in every resample is no proof of perfection: its
    interval is the exact binomial one (Clopper and Pearson 1934) for as many patients as alone define the score, none
    of whom is an exception. Another score that is the same in every resample (an area, an error, a bias) has none.

    Args:
        score: from the indices of the drawn items, with repeats, to scores by name; the names are always the same, and
            say what range a score has (``metric_names.bounds``).
        patients: the patient of each item.
        n_resamples, confidence, seed: as ``bootstrap_interval``.

    Raises:
        ValueError: no items, or an argument out of its range.
    """
    if not len(patients) or not 0 < confidence < 1 or n_resamples < 1:
        raise ValueError(f"need items, 0 < confidence < 1 and n_resamples >= 1, got {confidence} and {n_resamples}")
    resamples = PatientResamples(patients, n_resamples=n_resamples, seed=seed)
    names = list(score(np.arange(len(patients))))

    def of_items(items: NDArray[np.intp]) -> list[float]:
        found = score(items)
        return [found[name] for name in names]

    with np.errstate(all="ignore"):
        sampled = dict(zip(names, resamples.each(of_items), strict=True))
        alone = [score(own) for own in resamples.items_by_patient]
    nan = float("nan")
    found = {}
    for name, each in sampled.items():
        # Of a proportion only those patients say something who alone define it: a class may be that of two of 20.
        counted = metric_names.is_proportion(name)
        number = sum(math.isfinite(own[name]) for own in alone) if counted else len(alone)
        defined = each.drawn[np.isfinite(each.drawn)]
        ends = nan, nan
        if not math.isfinite(each.estimate):
            found[name] = Interval(nan, *ends, 0, resamples.n_patients)
            continue
        if resamples.n_patients > 1 and defined.size and np.ptp(defined) > 1e-12:
            ends = resamples.interval(each, metric_names.bounds(name), confidence, number)
        elif resamples.n_patients > 1 and counted and number and each.estimate in (0.0, 1.0):
            ends = _without_exception(number, each.estimate, confidence)
        found[name] = Interval(each.estimate, *ends, len(patients), resamples.n_patients)
    return found


def _without_exception(number: int, value: float, confidence: float) -> tuple[float, float]:
    """Bounds of a proportion of which all of `number` independent ones were `value`, 0 or 1."""
    bounds = stats.binomtest(round(number * value), number).proportion_ci(confidence, method="exact")
    return float(bounds.low), float(bounds.high)
