"""How far a mean over few cases can be trusted: bootstrap intervals over patients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipelines.evaluation import metric_names

FEW_PATIENTS = 30  # below it a bootstrap alone is too narrow, see `widened`


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
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Confidence interval of a statistic of cases, resampling patients.

    Cases of one patient resemble each other, so patients are drawn with replacement and bring all their cases. The
    interval is bias-corrected and accelerated (BCa; Efron 1987, https://doi.org/10.1080/01621459.1987.10478410, by
    scipy.stats.bootstrap), or the percentile one where BCa is undefined, as when all values are equal. With fewer than
    ``FEW_PATIENTS`` patients either kind is too narrow, and is ``widened``.

    Args:
        values: one number a case; NaN is left out.
        patients: the patient of each case.
        statistic: from a 1D array of at least one value to a number.
        n_resamples: bootstrap samples.
        confidence: share of such intervals that shall hold the true value, above 0 and below 1.
        seed: the same seed and cases in the same order give the same interval.
        bounds: the least and the greatest value that the statistic can have, which a widened interval is cut at; None:
            0 and 1 where all values lie between them, else none. Give none, (-inf, inf), for differences.

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
    groups = [numbers[there[places]] for places in _by_patient([patients[k] for k in there.tolist()])]
    n, nan = len(there), float("nan")
    if not groups:
        return Interval(nan, nan, nan, 0, 0)
    estimate = float(statistic(np.concatenate(groups)))
    if len(groups) == 1:
        return Interval(estimate, nan, nan, n, 1)

    drawn, low, high = _resampled(lambda values: [statistic(values)], groups, n_resamples, confidence, seed)
    if bounds is None:
        within = bool(np.all((np.concatenate(groups) >= 0) & (np.concatenate(groups) <= 1)))
        bounds = (0.0, 1.0) if within else (-math.inf, math.inf)
    ends = widened((float(low[0]), float(high[0])), estimate, float(np.std(drawn)), len(groups), confidence, bounds)
    return Interval(estimate, *ends, n, len(groups))


def bootstrap_scores(
    score: Callable[[NDArray[np.intp]], Mapping[str, float]],
    patients: Sequence[Hashable],
    *,
    n_resamples: int = 2000,
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
    groups = _by_patient(patients)
    estimate = score(np.arange(len(patients)))
    names = list(estimate)
    low = high = np.full(len(names), np.nan)

    def of_items(items: NDArray[np.intp]) -> list[float]:
        found = score(items)
        return [found[name] for name in names]

    if len(groups) > 1:
        drawn, low, high = _resampled(of_items, groups, n_resamples, confidence, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a score that is defined in no sample
            spread = np.nanmax(drawn, axis=-1) - np.nanmin(drawn, axis=-1) > 1e-12
        low, high = np.where(spread, (low, high), np.nan)
        with np.errstate(all="ignore"):
            found = [score(group) for group in groups]
        for k, name in enumerate(names):
            # Of a proportion only those patients say something who alone define it: a class may be that of two of 20.
            counted = metric_names.is_proportion(name)
            number = sum(math.isfinite(each[name]) for each in found) if counted else len(groups)
            if spread[k] and number > 1:
                limits, deviation = metric_names.bounds(name), float(np.nanstd(drawn[k]))
                low[k], high[k] = widened((low[k], high[k]), estimate[name], deviation, number, confidence, limits)
            elif not spread[k] and counted and number and estimate[name] in (0.0, 1.0):
                low[k], high[k] = _without_exception(number, estimate[name], confidence)
    return {
        name: Interval(
            float(estimate[name]),
            *((float(low[k]), float(high[k])) if np.isfinite(estimate[name]) else (float("nan"), float("nan"))),
            len(patients) if np.isfinite(estimate[name]) else 0,
            len(groups),
        )
        for k, name in enumerate(names)
    }


def _by_patient(patients: Sequence[Hashable]) -> list[NDArray[np.intp]]:
    """The places of each patient's items, patients in the order in which they come."""
    places: dict[Hashable, list[int]] = {}
    for place, patient in enumerate(patients):
        places.setdefault(patient, []).append(place)
    return [np.asarray(each) for each in places.values()]


def _resampled(
    statistics: Callable[[NDArray], Sequence[float]],
    groups: Sequence[NDArray],
    n_resamples: int,
    confidence: float,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """K statistics of resampled patients: their values (K, n_resamples), and the lower and upper ends (K,) of their
    intervals, BCa where that is defined, else the percentiles of the samples in which the statistic is.

    Args:
        statistics: of the items of a sample, K numbers, NaN where undefined.
        groups: the items of each patient.
    """

    def of_drawn(drawn: NDArray[np.intp], axis: int = -1) -> NDArray[np.float64]:
        samples = drawn.reshape(-1, drawn.shape[-1])
        values = [statistics(np.concatenate([groups[k] for k in sample])) for sample in samples]
        return np.ascontiguousarray(np.transpose(values)).reshape(-1, *drawn.shape[:-1])

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy warns where BCa is undefined, which is looked for here
        result = stats.bootstrap(
            (np.arange(len(groups)),),
            of_drawn,
            n_resamples=n_resamples,
            confidence_level=confidence,
            vectorized=True,
            random_state=np.random.default_rng(seed),
        )
        drawn = result.bootstrap_distribution
        tails = 100 * np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        bca, plain = np.asarray(result.confidence_interval), np.nanpercentile(drawn, tails, axis=-1)
        low, high = np.where(np.isfinite(bca).all(axis=0), bca, plain)
    return drawn, low, high


def widened(
    interval: tuple[float, float],
    estimate: float,
    deviation: float,
    n_patients: int,
    confidence: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float]:
    """An interval from a bootstrap, made as wide as Student's where there are fewer than ``FEW_PATIENTS`` patients.

    No sample of a bootstrap leaves the range of its patients, which two of them miss the truth with half of the time
    and five with a sixteenth, and its deviation lacks the factor n / (n - 1) of a variance (Hesterberg, The American
    Statistician 69:371, 2015). docs/reference/metrics.md has the coverage by number of patients.

    Args:
        interval: of the bootstrap. estimate: of the statistic.
        deviation: standard deviation of the statistic over the samples.
        n_patients: drawn from, at least two.
        confidence: of the interval.
        bounds: the least and the greatest value that the statistic can have.
    """
    if n_patients >= FEW_PATIENTS or not all(map(math.isfinite, interval)):
        return interval
    spread = deviation * math.sqrt(n_patients / (n_patients - 1))
    reach = float(stats.t.ppf((1 + confidence) / 2, n_patients - 1)) * spread
    return max(min(interval[0], estimate - reach), bounds[0]), min(max(interval[1], estimate + reach), bounds[1])


def _without_exception(number: int, value: float, confidence: float) -> tuple[float, float]:
    """Bounds of a proportion of which all of `number` independent ones were `value`, 0 or 1."""
    bounds = stats.binomtest(round(number * value), number).proportion_ci(confidence, method="exact")
    return float(bounds.low), float(bounds.high)
