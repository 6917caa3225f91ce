"""The operating threshold, and scores at it, against figures worked out by hand and sklearn's."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from pipelines.evaluation.calibration import operating_threshold, tempered
from pipelines.evaluation.class_pictures import draw_curves
from pipelines.evaluation.classification import (
    area_under_curve,
    average_precision,
    binary_scores,
    class_scores,
    curve_points,
)


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
def test_areas_are_sklearns(ties: bool) -> None:
    generator = np.random.default_rng(1)
    scores, positive = generator.random(200), generator.random(200) < 0.3
    scores = scores.round(1) if ties else scores
    assert average_precision(scores, positive) == pytest.approx(
        sklearn.metrics.average_precision_score(positive, scores), rel=0, abs=1e-12
    )
    assert area_under_curve(scores, positive) == pytest.approx(
        sklearn.metrics.roc_auc_score(positive, scores), rel=0, abs=1e-12
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


@pytest.mark.parametrize("decimals", [16, 1])  # with one decimal most scores are tied
def test_curves_have_the_points_that_counting_gives(decimals: int) -> None:
    generator = np.random.default_rng(4)
    positive = generator.random(150) < 0.3
    scores = (generator.random(150) + 0.3 * positive).round(decimals)
    cuts = np.unique(scores)[::-1]
    hits = np.array([np.count_nonzero(positive & (scores >= cut)) for cut in cuts])
    false = np.array([np.count_nonzero(~positive & (scores >= cut)) for cut in cuts])
    roc, recalls = curve_points(scores, positive)
    np.testing.assert_allclose(roc[0], [0, *false / (~positive).sum()], rtol=0, atol=1e-12)
    np.testing.assert_allclose(roc[1], [0, *hits / positive.sum()], rtol=0, atol=1e-12)
    np.testing.assert_allclose(recalls[0], hits / positive.sum(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(recalls[1], hits / (hits + false), rtol=0, atol=1e-12)
    assert np.trapezoid(roc[1], roc[0]) == pytest.approx(area_under_curve(scores, positive), rel=0, abs=1e-12)
    area = float((np.diff(recalls[0], prepend=0) * recalls[1]).sum())
    assert area == pytest.approx(average_precision(scores, positive), rel=0, abs=1e-12)


@pytest.mark.parametrize("kind", [True, False])
def test_of_one_kind_alone_there_is_no_curve_and_the_picture_is_drawn(kind: bool) -> None:
    file = io.BytesIO()
    scores, positive = np.array([0.9, 0.2, 0.1]), np.full(3, kind)
    assert [len(each) for curve in curve_points(scores, positive) for each in curve] == [0, 0, 0, 0]
    draw_curves(scores, positive, np.zeros(3, bool), "pneumonia", file)
    assert np.asarray(Image.open(file).convert("L")).std() > 5


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
