"""Scores of classes, calibration, paired tests and costs, against hand-worked values, sklearn and published ones."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from monai.networks.nets import BasicUNet
from scipy.special import softmax

from pipelines.evaluation import bootstrap_interval, bootstrap_scores, class_scores, mcnemar, network_cost
from pipelines.evaluation.calibration import (
    calibration_error,
    fit_temperature,
    mean_negative_log_likelihood,
    reliability,
    tempered,
)
from pipelines.evaluation.classification import area_under_curve, confusion, label_scores
from pipelines.networks import LesionUNet, SeverityResNet, SeverityShuffleNet, TinyUNet

NAMES = ["normal", "mild", "severe"]


def drawn(seed: int = 0, number: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, number, p=[0.4, 0.5, 0.1])
    return softmax(rng.normal(size=(number, 3)) + 1.5 * np.eye(3)[labels], axis=1), labels


def test_scores_by_hand():
    """Four slices: two normal (one called mild), one mild and one severe, both right."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    scores = class_scores(probabilities, np.array([0, 0, 1, 2]), NAMES)
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert (scores["normal_sensitivity"], scores["normal_specificity"]) == (0.5, 1)
    assert (scores["mild_sensitivity"], scores["mild_specificity"]) == (1, pytest.approx(2 / 3))
    assert scores["mild_f1"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert scores["auc"] == 1


def test_scores_are_sklearns():
    probabilities, labels = drawn()
    said, scores = probabilities.argmax(axis=1), class_scores(probabilities, labels, NAMES)
    assert scores["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, said))
    assert scores["f1"] == pytest.approx(sklearn.metrics.f1_score(labels, said, average="macro"))
    assert scores["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    np.testing.assert_array_equal(confusion(labels, said, 3), sklearn.metrics.confusion_matrix(labels, said))
    ties = np.round(probabilities[:, 0], 1)
    assert area_under_curve(ties, labels == 0) == pytest.approx(sklearn.metrics.roc_auc_score(labels == 0, ties))


def test_what_was_given_no_class_is_wrong_and_no_class_of_its_own():
    labels, said = np.repeat([0, 1, 2], 30), np.repeat([0, 1, 2], 30)
    said[0] = 3
    scores = label_scores(labels, said, NAMES)
    assert scores["accuracy"] == pytest.approx(89 / 90)
    assert scores["f1"] == pytest.approx((2 * 29 / 59 + 1 + 1) / 3)
    assert scores["normal_sensitivity"] == pytest.approx(29 / 30)


def test_a_class_that_is_not_there_is_undefined_and_left_out():
    probabilities, labels = drawn()
    probabilities, labels = probabilities[labels < 2], labels[labels < 2]
    scores = class_scores(probabilities, labels, NAMES)
    assert np.isnan(scores["severe_sensitivity"])
    assert np.isnan(scores["severe_auc"])
    assert scores["severe_specificity"] <= 1
    assert scores["balanced_accuracy"] == pytest.approx((scores["normal_sensitivity"] + scores["mild_sensitivity"]) / 2)
    alone = class_scores(probabilities[labels == 0], labels[labels == 0], NAMES)
    assert np.isnan(alone["normal_specificity"])


def test_calibration_error_by_hand():
    """Two slices at 0.65, one of them right, and two at 0.95, both right: (|0.65 - 0.5| + |0.95 - 1|) / 2."""
    probabilities = np.array([[0.65, 0.35, 0], [0.65, 0.35, 0], [0.05, 0.95, 0], [0, 0.05, 0.95]])
    labels = np.array([0, 1, 1, 2])
    assert calibration_error(probabilities, labels) == pytest.approx(0.1)
    number, confidence, accuracy = reliability(probabilities, labels)
    assert number[[6, 9]].tolist() == [2, 2]
    assert confidence[[6, 9]] == pytest.approx([0.65, 0.95])
    assert accuracy[[6, 9]].tolist() == [0.5, 1]
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0  # a confidence of 1 has a bin


def test_a_known_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(20_000, 3))
    labels = np.array([rng.choice(3, p=row) for row in softmax(logits, axis=1)])
    overconfident = softmax(3 * logits, axis=1)
    temperature, note = fit_temperature(overconfident, labels)
    assert temperature == pytest.approx(3, rel=0.05)
    assert note == ""
    mended = tempered(overconfident, temperature)
    assert calibration_error(mended, labels) < 0.02 < calibration_error(overconfident, labels)
    assert mean_negative_log_likelihood(overconfident, labels, temperature) < mean_negative_log_likelihood(
        overconfident, labels
    )
    np.testing.assert_allclose(tempered(mended, 1 / temperature), overconfident, atol=1e-6)


def test_without_mistakes_there_is_nothing_to_fit():
    temperature, note = fit_temperature(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    assert temperature == 1
    assert "no mistakes" in note
    with pytest.raises(ValueError, match="needs slices"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, int))
    noise, note = fit_temperature(np.array([[0.999, 0.001]] * 4), np.array([0, 1, 0, 1]))
    assert noise == pytest.approx(10, rel=1e-2)
    assert "bound" in note


def test_intervals_of_scores_are_those_of_means_where_a_score_is_a_mean():
    probabilities, labels = drawn(number=90)
    patients = [f"p{i // 5}" for i in range(90)]
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    scores = bootstrap_scores(lambda i: class_scores(probabilities[i], labels[i], NAMES), patients, n_resamples=300)
    assert scores["accuracy"] == bootstrap_interval(right, patients, n_resamples=300)
    assert all(each.low <= each.estimate <= each.high for each in scores.values() if np.isfinite(each.estimate))


def test_a_rare_class_has_an_interval_from_the_resamples_that_have_it():
    probabilities, labels = drawn(number=60)
    labels = np.where(labels == 2, 1, labels)
    labels[0] = 2
    scores = bootstrap_scores(
        lambda i: class_scores(probabilities[i], labels[i], NAMES), list(range(60)), n_resamples=300
    )
    assert np.isfinite([scores["severe_auc"].low, scores["severe_auc"].high]).all()
    same = bootstrap_scores(lambda i: {"all": 0.7}, list(range(10)), n_resamples=50)["all"]
    assert same.estimate == pytest.approx(0.7)
    assert np.isnan([same.low, same.high]).all(), "resamples that all agree say nothing of how uncertain it is"
    missing = bootstrap_scores(lambda i: {"none": float("nan")}, list(range(10)), n_resamples=50)["none"]
    assert np.isnan([missing.estimate, missing.low, missing.high]).all()
    assert missing.n == 0
    with pytest.raises(ValueError, match="need items"):
        bootstrap_scores(lambda i: {}, [])


def test_an_interval_of_accuracy_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for seed in range(100):
        right = rng.random(80) < 0.8
        found = bootstrap_scores(
            lambda i, r=right: {"a": float(r[i].mean())}, list(range(80)), n_resamples=400, seed=seed
        )
        covered += found["a"].low <= 0.8 <= found["a"].high
    assert 88 <= covered <= 100


def test_mcnemar_is_the_exact_binomial_test():
    """Fagerland, Lydersen and Laake, BMC Med Res Methodol 13:91 (2013), table 1: 1 and 7 discordant pairs, exact
    conditional p = 0.0703."""
    first = [True] * 1 + [False] * 7 + [True] * 12 + [False]
    second = [False] * 1 + [True] * 7 + [True] * 12 + [False]
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (1, 7)
    assert found.p_value == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar([True, False], [True, False]).p_value == 1
    with pytest.raises(ValueError, match="same cases"):
        mcnemar([True], [True, False])


@pytest.mark.parametrize(
    ("network", "activation", "parameter"),
    [
        (SeverityResNet, 664.00, 42.63),
        (LesionUNet, 1620.00, 29.61),
        (SeverityShuffleNet, 106.88, 1.32),
        (TinyUNet, 238.00, 0.04),
    ],
)
def test_memory_is_that_of_the_reference(network, activation, parameter):
    """reference/networks.md, section 1, "the comparison that was asked for": one 512 x 512 slice."""
    cost = network_cost(network(), (1, 1, 512, 512))
    assert cost.activation_mb == pytest.approx(activation, abs=0.006)
    assert cost.parameter_mb == pytest.approx(parameter, abs=0.005)


def test_multiplications_by_hand():
    layer = torch.nn.Sequential(torch.nn.Conv2d(2, 5, 3, padding=1), torch.nn.ReLU()).train()
    cost = network_cost(layer, (1, 2, 8, 10))
    assert cost.macs == 8 * 10 * 5 * 2 * 9
    assert cost.parameters == 5 * 2 * 9 + 5
    assert layer.training, "the network is left as it was"
    assert network_cost(BasicUNet(2, 1, 3), (1, 1, 64, 64)).macs > 0
