"""The paired tests against definitions, scipy, statsmodels and published examples; the intervals in simulations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from pipelines.comparison.statistics import delong, delong_covariance, holm, signed_rank
from pipelines.evaluation import mcnemar
from pipelines.evaluation.classification import area_under_curve
from pipelines.evaluation.resampling import PatientResamples


def by_definition(scores: NDArray, positive: NDArray) -> tuple[NDArray, NDArray]:
    """DeLong et al. 1988, equations 1 to 6, pair by pair."""
    hits, others = scores[:, positive], scores[:, ~positive]
    kernel = (hits[:, :, None] > others[:, None, :]) + 0.5 * (hits[:, :, None] == others[:, None, :])
    v10, v01 = kernel.mean(axis=2), kernel.mean(axis=1)
    area = kernel.mean(axis=(1, 2))
    s10 = (v10 - area[:, None]) @ (v10 - area[:, None]).T / (hits.shape[1] - 1)
    s01 = (v01 - area[:, None]) @ (v01 - area[:, None]).T / (others.shape[1] - 1)
    return area, s10 / hits.shape[1] + s01 / others.shape[1]


@pytest.mark.parametrize("decimals", [8, 1])  # with one decimal many scores are tied
def test_delong_is_its_definition(decimals: int) -> None:
    rng = np.random.default_rng(3)
    positive = rng.random(90) < 0.4
    scores = np.round(rng.normal(size=(3, 90)) + positive * np.array([[1.5], [0.8], [0.0]]), decimals)
    areas, covariance = delong_covariance(scores, positive)
    expected_areas, expected = by_definition(scores, positive)
    np.testing.assert_allclose(areas, expected_areas, atol=1e-12)
    np.testing.assert_allclose(covariance, expected, atol=1e-12)
    found = delong(scores[0], scores[1], positive)
    variance = expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]
    z = (expected_areas[0] - expected_areas[1]) / np.sqrt(variance)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), abs=1e-12)
    assert found.low < found.first - found.second < found.high


def test_delong_on_a_published_example() -> None:
    """Ratings of 109 CT images (Hanley and McNeil, Radiology 143:29, 1982, table I); area, standard error and interval
    as Stata's manual prints them for its ``roctab disease rating``, which follows DeLong."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    ratings = np.repeat([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], [*normal, *abnormal])
    positive = np.repeat([False, True], [sum(normal), sum(abnormal)])
    (area,), ((variance,),) = delong_covariance(ratings, positive)
    error = np.sqrt(variance)
    assert (round(area, 4), round(error, 4)) == (0.8932, 0.0307)
    assert round(area - stats.norm.ppf(0.975) * error, 5) == 0.83295
    assert round(area + stats.norm.ppf(0.975) * error, 5) == 0.95339


def test_delong_of_equal_scores_shows_no_difference() -> None:
    scores, positive = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    assert delong(scores, scores, positive).p_value == 1.0
    assert np.isnan(delong(scores, scores, np.array([False, False, False, True])).p_value)  # no variance of one


def test_mcnemar_is_the_binomial_test_of_what_only_one_has_right() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = rng.random(60) < 0.8, rng.random(60) < 0.6
        one, other = int((first & ~second).sum()), int((second & ~first).sum())
        expected = stats.binomtest(one, one + other, 0.5).pvalue
        assert mcnemar(first, second).p_value == pytest.approx(expected, rel=0, abs=1e-12)
    assert mcnemar(first, first).p_value == 1


def test_holm_on_its_worked_example_and_with_gaps() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-12)
    found = holm([0.01, float("nan"), 0.04])
    assert np.isnan(found[1])
    assert [found[0], found[2]] == pytest.approx(multipletests([0.01, 0.04], method="holm")[1], abs=1e-12)
    assert holm([]) == []


def test_wilcoxon_is_scipys_and_takes_a_patient_once() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(20), rng.random(20)
    assert signed_rank(first, second, range(20)) == pytest.approx(stats.wilcoxon(first - second).pvalue, abs=1e-6)
    twice = signed_rank(np.repeat(first, 3), np.repeat(second, 3), np.repeat(np.arange(20), 3).tolist())
    assert twice == pytest.approx(signed_rank(first, second, range(20)), abs=1e-12)  # copies are no evidence
    assert signed_rank(first, first, range(20)) == 1.0
    first[0] = np.nan
    assert signed_rank(first, second, range(20)) == pytest.approx(stats.wilcoxon((first - second)[1:]).pvalue, abs=1e-6)


def test_resamples_score_as_the_drawn_items_would() -> None:
    rng = np.random.default_rng(2)
    patients = [f"p{k // 2}" for k in range(40)]
    positive, scores = rng.random(40) < 0.5, np.round(rng.random(40), 1)
    resamples = PatientResamples(patients, n_resamples=25, seed=4)
    areas, means = resamples.area(scores, positive), resamples.mean(np.where(positive, scores, np.nan))
    drawn = np.random.default_rng(4).integers(0, 20, (25, 20))
    own = [np.flatnonzero(np.arange(40) // 2 == patient) for patient in range(20)]
    samples = [np.concatenate([own[patient] for patient in sample]) for sample in drawn]
    for found_area, found_mean, items in zip(areas.drawn, means.drawn, samples, strict=True):
        assert found_area == pytest.approx(area_under_curve(scores[items], positive[items]), abs=1e-12)
        assert found_mean == pytest.approx(scores[items][positive[items]].mean(), abs=1e-12)
    for patient in range(20):
        items = np.flatnonzero(np.arange(40) // 2 != patient)
        assert areas.without[patient] == pytest.approx(area_under_curve(scores[items], positive[items]), abs=1e-12)
        assert means.without[patient] == pytest.approx(scores[items][positive[items]].mean(), abs=1e-12)
    assert areas.estimate == pytest.approx(area_under_curve(scores, positive), abs=1e-12)


def test_one_patient_has_no_interval_and_no_p_value() -> None:
    resamples = PatientResamples(["a", "a"])
    drawn = resamples.mean([0.1, 0.2])
    assert np.isnan(resamples.interval(drawn)).all()
    assert np.isnan(resamples.p_value(drawn))
    with pytest.raises(ValueError, match="nothing to draw"):
        PatientResamples([])


def test_p_value_of_the_bootstrap_is_two_sided_and_never_zero() -> None:
    resamples = PatientResamples(range(30), n_resamples=999)
    far = resamples.p_value(resamples.mean(np.linspace(0.4, 0.6, 30)))
    assert 0 < far < 0.001
    assert resamples.p_value(resamples.mean(-np.linspace(0.4, 0.6, 30))) == far
    assert resamples.p_value(resamples.mean(np.linspace(-1, 1, 30))) > 0.5


def test_interval_and_p_value_of_the_bootstrap_agree() -> None:
    values = np.random.default_rng(5).normal(0.5, 1, 25)
    resamples = PatientResamples(range(25), n_resamples=4000)
    low, _ = resamples.interval(resamples.mean(values))
    assert resamples.p_value(resamples.mean(values - low)) == pytest.approx(0.05, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("n_patients", [12, 40])
def test_intervals_of_paired_differences_cover_in_95_of_100_simulations(n_patients: int) -> None:
    """Dice of two networks on the cases of few patients who differ from one another, one to three cases each."""
    rng = np.random.default_rng(7)
    covered, simulations, truth = 0, 2000, 0.02
    for number in range(simulations):
        patients = np.repeat(np.arange(n_patients), rng.integers(1, 4, size=n_patients))
        of_patient = rng.normal(0, 0.04, n_patients)
        apart = truth + of_patient[patients] + rng.normal(0, 0.03, patients.size)
        resamples = PatientResamples(patients.tolist(), n_resamples=1000, seed=number)
        low, high = resamples.interval(resamples.mean(apart), difference=True)
        covered += low <= truth <= high
    assert 0.93 <= covered / simulations <= 0.97


@pytest.mark.slow
def test_intervals_of_areas_cover_in_95_of_100_simulations() -> None:
    """Two scores of 160 items: DeLong's interval of the difference of their areas, and the bootstrap's."""
    rng = np.random.default_rng(8)
    truth = stats.norm.cdf(1.2 / np.sqrt(2)) - stats.norm.cdf(0.9 / np.sqrt(2))
    covered, simulations = np.zeros(2), 2000
    positive = np.arange(160) % 2 == 0
    for number in range(simulations):
        shared = rng.normal(size=160) * np.sqrt(0.5)
        first, second = (shared + rng.normal(size=160) * np.sqrt(0.5) + d * positive for d in (1.2, 0.9))
        found = delong(first, second, positive)
        resamples = PatientResamples(range(160), n_resamples=500, seed=number)
        apart = resamples.area(first, positive) - resamples.area(second, positive)
        low, high = resamples.interval(apart, difference=True)
        covered += [found.low <= truth <= found.high, low <= truth <= high]
    assert (covered / simulations >= 0.93).all()
    assert (covered / simulations <= 0.97).all()


@pytest.mark.slow
def test_p_values_under_no_difference_reject_in_5_of_100_simulations() -> None:
    rng = np.random.default_rng(9)
    rejected, simulations = np.zeros(3), 2000
    positive = np.arange(120) % 2 == 0
    for number in range(simulations):
        apart = rng.normal(0, 0.05, 40)
        resamples = PatientResamples(range(40), n_resamples=1000, seed=number)
        first, second = (rng.normal(size=120) + positive for _ in range(2))
        rejected += [
            signed_rank(apart, np.zeros(40), range(40)) < 0.05,
            resamples.p_value(resamples.mean(apart)) < 0.05,
            delong(first, second, positive).p_value < 0.05,
        ]
    assert (rejected / simulations <= 0.075).all()
    assert (rejected / simulations >= 0.03).all()


def test_a_clear_difference_outlives_the_correction_over_many_pairs() -> None:
    """2,000 samples alone say no less than p = 0.001, which Holm's correction over 55 pairs makes 0.055."""
    rng = np.random.default_rng(3)
    resamples = PatientResamples(list(range(900)))
    clear = resamples.mean(rng.normal(0.07, 0.35, 900))  # six standard errors from 0
    p = resamples.p_value(clear)
    assert p < 1e-6
    assert holm([p, *[0.5] * 54])[0] < 0.05
    z = float(clear.drawn.mean() / clear.drawn.std())
    assert p == pytest.approx(2 * stats.t.sf(z * np.sqrt(899 / 900), 899), rel=1e-6)
    near = resamples.mean(rng.normal(0.01, 0.35, 900))
    fewer = min((near.drawn <= 0).sum(), (near.drawn >= 0).sum())
    assert fewer > 0
    assert resamples.p_value(near) == pytest.approx(2 * (fewer + 1) / (len(near.drawn) + 1), rel=0.05)
