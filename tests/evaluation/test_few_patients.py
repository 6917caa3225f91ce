"""Intervals of few patients hold the truth as often as they say, and no score has an interval of another kind's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipelines.evaluation import bootstrap_interval, bootstrap_scores, paired_difference
from pipelines.evaluation.classification import class_scores
from pipelines.evaluation.metric_names import bounds, has_order, higher_is_better, is_proportion
from pipelines.tasks.lung_ct.severity_summary import extent_agreement


@pytest.mark.parametrize("n_patients", [2, 3, 5])
def test_intervals_of_few_patients_cover(n_patients: int) -> None:
    """A bootstrap alone covers in 46, 72 and 81 of 100."""
    generator = np.random.default_rng(n_patients)
    covered, repeats = 0, 60
    for seed in range(repeats):
        values = generator.normal(0.7, 0.1, n_patients)
        found = bootstrap_interval(values, range(n_patients), n_resamples=99, seed=seed, bounds=(-9, 9))
        covered += found.low <= 0.7 <= found.high
    assert covered >= 0.87 * repeats  # of 95 %: three in a hundred such simulations fall below


def test_few_patients_have_students_interval_where_it_is_the_wider() -> None:
    values = np.array([0.2, 0.5, 0.9])
    found = bootstrap_interval(values, range(3), n_resamples=4000, bounds=(-math.inf, math.inf))
    expected = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.04)


def test_an_interval_stays_within_what_a_metric_can_be() -> None:
    found = bootstrap_interval([0.2, 0.9], "ab")
    assert (found.low, found.high) == (0.0, 1.0)
    assert bootstrap_interval([2.0, 9.0], "ab", bounds=bounds("lesion_hd95_mm")).low == 0.0
    difference = paired_difference([0.9, 0.5], [0.1, 0.4], "ab").difference
    assert difference.low < 0, "a difference may be negative, whatever the signs of two cases"


def test_a_class_of_two_patients_has_an_interval_of_two_patients() -> None:
    """Of 20 patients two have the class, and half of its slices are found: 18 others say nothing of that."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(20), 10)
    labels = ((patients < 2) & (np.arange(200) % 2 == 0)).astype(int)
    said = np.where(labels == 1, rng.random(200) < np.where(patients == 0, 0.3, 0.8), 0).astype(int)
    probabilities = np.stack([1.0 - said, said], axis=1)

    def score(drawn: np.ndarray) -> dict[str, float]:
        return class_scores(probabilities[drawn], labels[drawn], ["no", "yes"])

    found = bootstrap_scores(score, patients.tolist(), n_resamples=200)
    assert found["yes_sensitivity"].high - found["yes_sensitivity"].low > 0.9
    assert found["accuracy"].high - found["accuracy"].low < 0.2


def test_no_error_and_no_bias_have_no_proportions_interval() -> None:
    true = np.linspace(0.1, 0.3, 12)

    def score(drawn: np.ndarray) -> dict[str, float]:
        return extent_agreement(true[drawn], true[drawn], true[drawn] - 0.1, true[drawn] + 0.1)

    found = bootstrap_scores(score, list(range(12)), n_resamples=60)
    for name in ("extent_mae", "extent_bias", "extent_pearson"):
        assert math.isnan(found[name].low), name
        assert math.isnan(found[name].high), name
    assert found["interval_coverage"].low == pytest.approx(0.025 ** (1 / 12)), "which is a proportion"


def test_a_perfect_calibration_and_area_have_no_proportions_interval() -> None:
    labels = np.arange(24) % 2
    probabilities = np.stack([1.0 - labels, labels], axis=1)

    def score(drawn: np.ndarray) -> dict[str, float]:
        return class_scores(probabilities[drawn], labels[drawn], ["no", "yes"])

    found = bootstrap_scores(score, (np.arange(24) // 2).tolist(), n_resamples=60)
    assert math.isnan(found["ece"].high)
    assert math.isnan(found["auc"].low)
    assert found["accuracy"].low == pytest.approx(0.025 ** (1 / 12))


def test_what_names_say() -> None:
    for name in ("refer_share", "extent_bias", "interval_coverage", "lesion_extent_label", "lesion_extent_prediction"):
        assert not has_order(name), name
        assert not higher_is_better(name), name
    for name in ("lesion_dice", "auc", "pneumonia_f1", "accuracy_not_referred", "log_likelihood"):
        assert higher_is_better(name), name
    for name in ("lesion_hd95_mm", "ece_before", "extent_mae", "lesion_extent_error"):
        assert has_order(name), name
        assert not higher_is_better(name), name
    assert [is_proportion(n) for n in ("f1_positive", "refer_share", "auc", "extent_error", "ece")] == [True] * 2 + [
        False
    ] * 3
    assert bounds("normal_auc") == (0, 1)
    assert bounds("extent_bias") == (-math.inf, math.inf)
    assert bounds("extent_spearman") == (-1, 1)
    assert bounds("train_loss") == (0, math.inf)
