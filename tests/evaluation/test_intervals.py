from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipelines.evaluation import bootstrap_interval, bootstrap_scores
from pipelines.evaluation.classification import area_under_curve
from pipelines.evaluation.resampling import PatientResamples


def test_equals_scipy_where_each_patient_has_one_case() -> None:
    values = np.random.default_rng(1).beta(5, 2, size=30)
    mine = bootstrap_interval(values, range(30), n_resamples=500, seed=4)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=500, method="BCa", vectorized=False, random_state=np.random.default_rng(4)
    ).confidence_interval
    assert mine.estimate == pytest.approx(values.mean())
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))
    assert (mine.n, mine.n_patients) == (30, 30)


def test_a_mean_of_cases_and_a_score_of_the_set_have_one_interval() -> None:
    generator = np.random.default_rng(3)
    values, patients = generator.beta(5, 2, size=90), generator.integers(0, 40, 90).tolist()
    as_mean = bootstrap_interval(values, patients, n_resamples=300, seed=2)
    as_score = bootstrap_scores(lambda drawn: {"dice": float(values[drawn].mean())}, patients, n_resamples=300, seed=2)
    found, expected = as_score["dice"], (as_mean.estimate, as_mean.low, as_mean.high)
    assert as_mean.n_patients >= 30, "else both are widened, each within its own bounds"
    assert (found.estimate, found.low, found.high) == pytest.approx(expected, rel=0, abs=1e-12)


def test_patients_are_resampled_not_cases() -> None:
    """Copies of a patient's case say nothing new, so they must not narrow the interval."""
    values = np.random.default_rng(2).random(15)
    once = bootstrap_interval(values, range(15), n_resamples=400)
    copied = bootstrap_interval(np.repeat(values, 8), np.repeat(np.arange(15), 8), n_resamples=400)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert (copied.n, copied.n_patients) == (120, 15)
    as_independent = bootstrap_interval(np.repeat(values, 8), range(120), n_resamples=400)
    assert as_independent.high - as_independent.low < 0.5 * (once.high - once.low)


def test_coverage_with_patients_that_differ() -> None:
    generator = np.random.default_rng(0)
    n_patients, n_cases, repeats = 25, 4, 80
    patients = np.repeat(np.arange(n_patients), n_cases)
    covered = {"patients": 0, "cases": 0}
    for _ in range(repeats):
        of_patient = generator.normal(0.7, 0.1, n_patients)
        values = of_patient[patients] + generator.normal(0, 0.03, len(patients))
        for name, clusters in (("patients", patients), ("cases", np.arange(len(patients)))):
            interval = bootstrap_interval(values, clusters.tolist(), n_resamples=150)
            covered[name] += interval.low <= 0.7 <= interval.high
    assert covered["patients"] >= 0.86 * repeats  # 95 % nominal; two in a thousand such simulations fall below
    assert covered["cases"] < 0.8 * repeats


def test_undefined_values_are_left_out() -> None:
    with_gaps = bootstrap_interval([0.2, math.nan, 0.4, 0.9, math.nan], ["a", "a", "b", "c", "d"])
    without = bootstrap_interval([0.2, 0.4, 0.9], ["a", "b", "c"])
    assert with_gaps == without
    assert with_gaps.n_patients == 3


def test_one_patient_has_no_interval() -> None:
    interval = bootstrap_interval([0.5, 0.7], ["a", "a"])
    assert interval.estimate == pytest.approx(0.6)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert (interval.n, interval.n_patients) == (2, 1)


def test_nothing_defined_gives_nothing() -> None:
    interval = bootstrap_interval([math.nan], ["a"])
    assert math.isnan(interval.estimate)
    assert interval.n == 0


def test_equal_values_have_an_interval_of_no_width() -> None:
    interval = bootstrap_interval([0.5] * 4, list("abcd"))
    assert (interval.low, interval.high) == (0.5, 0.5)


def test_another_statistic_and_confidence() -> None:
    values = np.random.default_rng(5).random(40)
    wide = bootstrap_interval(values, range(40), statistic=np.median, n_resamples=300)
    narrow = bootstrap_interval(values, range(40), statistic=np.median, n_resamples=300, confidence=0.5)
    assert wide.estimate == np.median(values)
    assert narrow.high - narrow.low < wide.high - wide.low


def test_the_seed_decides() -> None:
    values = np.random.default_rng(6).random(10)
    first, again, other = (bootstrap_interval(values, range(10), n_resamples=200, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="one patient a value"):
        bootstrap_interval([0.1, 0.2], ["a"])
    with pytest.raises(ValueError, match="infinite"):
        bootstrap_interval([0.1, math.inf], ["a", "b"])
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_interval([0.1, 0.2], ["a", "b"], confidence=95)


def test_a_perfect_score_has_the_exact_interval_of_its_patients() -> None:
    """300 patients, 60 of them negative and all said so: specificity 1, and 0.025 ** (1 / 60) = 0.940 below it."""
    negative = np.arange(300) < 60
    wrong = np.arange(300) % 7 == 6

    def score(drawn: np.ndarray) -> dict[str, float]:
        own = negative[drawn]
        return {
            "specificity": 1.0 if own.any() else float("nan"),
            "sensitivity": float((~wrong[drawn][~own]).mean()) if (~own).any() else float("nan"),
            "area": 1.0 if own.any() and (~own).any() else float("nan"),
        }

    found = bootstrap_scores(score, list(range(300)), n_resamples=100)
    assert found["specificity"].high == 1
    assert found["specificity"].low == pytest.approx(0.025 ** (1 / 60))
    assert 0.78 < found["sensitivity"].low < found["sensitivity"].estimate < found["sensitivity"].high < 0.91
    assert np.isnan(found["area"].low), "no patient alone has an area"


def test_an_area_has_scipys_interval_whatever_the_order_of_its_sums() -> None:
    """The fast way of resampling, against scipy's with a statistic of its own."""
    rng = np.random.default_rng(6)
    positive, patients = rng.random(120) < 0.4, np.arange(120) // 3
    scores = np.round(rng.normal(size=120) + positive, 1)
    resamples = PatientResamples(patients.tolist(), n_resamples=400, seed=5)
    own = resamples.items_by_patient

    def area(drawn: np.ndarray) -> float:
        items = np.concatenate([own[int(patient)] for patient in drawn])
        return area_under_curve(scores[items], positive[items])

    theirs = stats.bootstrap(
        (np.arange(40),), area, n_resamples=400, method="BCa", vectorized=False, random_state=np.random.default_rng(5)
    ).confidence_interval
    found = resamples.area(scores, positive)
    assert resamples.interval(found) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    slow = bootstrap_scores(
        lambda items: {"auc": area_under_curve(scores[items], positive[items])},
        patients.tolist(),
        n_resamples=400,
        seed=5,
    )
    assert (slow["auc"].low, slow["auc"].high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_comparison_and_evaluation_have_one_interval() -> None:
    values, patients = np.random.default_rng(7).beta(5, 2, 30), [f"p{k // 2}" for k in range(30)]
    resamples = PatientResamples(patients)
    found = bootstrap_interval(values, patients, bounds=(0, 1))
    assert resamples.interval(resamples.mean(values), (0, 1)) == (found.low, found.high)


def test_a_difference_is_resampled_with_its_pairs() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.random(40), rng.random(40)
    resamples = PatientResamples(range(40))
    apart = resamples.mean(first) - resamples.mean(second)
    same = resamples.mean(first - second)
    assert apart.estimate == pytest.approx(same.estimate)
    assert resamples.interval(apart) == pytest.approx(resamples.interval(same), abs=1e-9)
    assert np.isnan(resamples.interval(apart.undefined())).all()
