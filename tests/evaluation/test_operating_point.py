"""The operating threshold, and scores at it, against figures worked out by hand and sklearn's."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from pipelines.evaluation.calibration import operating_threshold, tempered
from pipelines.evaluation.classification import average_precision, binary_scores, class_scores
from pipelines.evaluation.picture_class_report import draw_curves


def test_threshold_is_the_highest_that_finds_the_part() -> None:
    """Of the positives 0.9, 0.8, 0.6, 0.2, three quarters are found from just below 0.6, above the negative 0.5."""
    scores, positive = np.array([0.9, 0.8, 0.6, 0.2, 0.5, 0.1]), np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    threshold = operating_threshold(scores, positive, 0.75)
    assert 0.5 < threshold < 0.6
    assert 0.1 < operating_threshold(scores, positive, 1.0) < 0.2
    assert 0.8 < operating_threshold(scores, positive, 0.25) < 0.9


def test_threshold_does_not_depend_on_how_common_positives_are() -> None:
    generator = np.random.default_rng(0)
    scores, positive = generator.random(400), np.arange(400) < 100
    one = operating_threshold(scores, positive, 0.95)
    fewer = np.r_[0:100, 100:400:10]
    other = operating_threshold(scores[fewer], positive[fewer], 0.95)
    assert one == pytest.approx(other, abs=0.01)
    assert (scores[positive] >= one).mean() == (scores[positive] >= other).mean() == 0.95


@pytest.mark.parametrize("sensitivity", [0.0, 1.1, float("nan")])
def test_impossible_parts_are_refused(sensitivity: float) -> None:
    with pytest.raises(ValueError, match="sensitivity"):
        operating_threshold(np.array([0.5]), np.array([True]), sensitivity)
    with pytest.raises(ValueError, match="no positives"):
        operating_threshold(np.array([0.5]), np.array([False]), 0.9)


def test_extreme_scores_give_a_threshold_between_them() -> None:
    threshold = operating_threshold(np.array([1.0, 1.0, 0.0]), np.array([True, True, False]), 0.95)
    assert 0 < threshold < 1


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_sklearns(ties: bool) -> None:
    generator = np.random.default_rng(1)
    scores, positive = generator.random(200), generator.random(200) < 0.3
    scores = scores.round(1) if ties else scores
    assert average_precision(scores, positive) == pytest.approx(
        sklearn.metrics.average_precision_score(positive, scores)
    )
    assert np.isnan(average_precision(scores, np.zeros(200, bool)))


def test_binary_scores_by_hand() -> None:
    scores = binary_scores(np.array([0.9, 0.4, 0.6, 0.2, 0.1]), np.array([1, 1, 0, 0, 0]), np.array([1, 0, 1, 0, 0]))
    assert scores["sensitivity"] == pytest.approx(1 / 2)
    assert scores["specificity"] == pytest.approx(2 / 3)
    assert scores["precision"] == pytest.approx(1 / 2)
    assert scores["f1_positive"] == pytest.approx(1 / 2)


def test_scores_follow_what_was_said_and_areas_the_probabilities() -> None:
    probabilities, labels = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]]), np.array([1, 1, 0])
    likeliest = class_scores(probabilities, labels, ["normal", "pneumonia"])
    lower = class_scores(probabilities, labels, ["normal", "pneumonia"], np.array([1, 1, 0]))
    assert (likeliest["accuracy"], lower["accuracy"]) == (pytest.approx(2 / 3), 1)
    assert likeliest["auc"] == lower["auc"] == 1


def test_curves_are_drawn() -> None:
    file = io.BytesIO()
    scores, positive = np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False])
    draw_curves(scores, positive, scores > 0.5, "pneumonia", file)
    assert np.asarray(Image.open(file).convert("L")).std() > 5


@pytest.mark.parametrize(
    ("scores", "positive"),
    [
        ([1e-14, 0.9, 1e-20], [1, 1, 0]),  # below what logits were cut at
        ([1e-300, 0.5], [1, 0]),
        ([5e-324, 0.4, 0.9], [1, 0, 1]),
        ([0.0, 0.9, 0.1], [1, 1, 0]),
        ([1 - 1e-13, 1 - 1e-12], [1, 0]),
    ],
)
def test_at_sensitivity_one_every_positive_is_found_whatever_its_probability(
    scores: list[float], positive: list[int]
) -> None:
    values, truth = np.array(scores), np.array(positive, bool)
    threshold = operating_threshold(values, truth, 1.0)
    assert (values[truth] >= threshold).all()
    below = values[values < values[truth].min()]
    assert (below < threshold).all(), "no higher than need be, and no lower"


def test_a_temperature_keeps_the_order_of_probabilities_below_a_billionth() -> None:
    small = np.array([1e-30, 1e-20, 1e-14, 1e-8])
    after = tempered(np.stack([1 - small, small], axis=1), 2.0)[:, 1]
    np.testing.assert_allclose(after, np.sqrt(small), rtol=1e-3)
