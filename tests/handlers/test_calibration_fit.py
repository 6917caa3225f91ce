"""The temperature is fitted on the validation that chose the best weights, and on no other."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from scipy.special import softmax

from pipelines.handlers import CalibrationFit
from pipelines.networks import TinyUNet
from pipelines.transforms.temperature import read_calibration


@pytest.fixture
def trained(tmp_path):
    """A trainer that validates each epoch and, in the last handler before the fit, writes the best weights."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(3, 40, 3))  # epochs x slices x classes
    labels = np.array([[rng.choice(3, p=row) for row in softmax(each, axis=1)] for each in logits])
    labels[:, :5] = -1  # not rated
    overconfident = softmax(4 * logits, axis=2)
    answers: list = [None]
    evaluator = Engine(lambda engine, batch: answers[0])
    evaluator.state.best_metric_epoch = -1
    trainer = Engine(lambda engine, batch: None)

    def validate(engine: Engine) -> None:
        epoch = engine.state.epoch - 1
        answers[0] = [{"pred": torch.from_numpy(overconfident[epoch].T)}]
        if epoch == 1:
            evaluator.state.best_metric_epoch = 2
            torch.save(TinyUNet().state_dict(), tmp_path / "model.pt")
        evaluator.run([[{"label": torch.from_numpy(labels[epoch])}]])

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    return SimpleNamespace(
        trainer=trainer, evaluator=evaluator, labels=labels, probabilities=overconfident, path=tmp_path / "model.pt"
    )


def test_the_best_epoch_is_the_one_that_is_fitted(trained):
    CalibrationFit(trained.evaluator, str(trained.path), ["a", "b", "c"], [0.1, 0.2]).attach(trained.trainer)
    trained.trainer.run([0], max_epochs=3)
    found = read_calibration(trained.path)
    assert found is not None
    assert found.items == 35
    assert (found.names, found.thresholds) == (["a", "b", "c"], [0.1, 0.2])
    wrong = trained.probabilities[1].argmax(axis=1)[5:] != trained.labels[1][5:]
    assert found.mistakes == wrong.sum()
    assert found.temperature > 1.5
    assert found.nll_after < found.nll_before
    assert found.ece_after < found.ece_before


def test_only_one_process_writes(trained):
    CalibrationFit(trained.evaluator, str(trained.path), ["a", "b", "c"], [0.1, 0.2], save=False).attach(
        trained.trainer
    )
    trained.trainer.run([0], max_epochs=3)
    assert read_calibration(trained.path) is None


def test_weights_that_are_there_are_calibrated_by_an_evaluator_alone(trained):
    torch.save(TinyUNet().state_dict(), trained.path)
    evaluator = Engine(lambda engine, batch: [{"pred": torch.from_numpy(trained.probabilities[0].T)}])
    CalibrationFit(None, str(trained.path), ["a", "b", "c"], []).attach(evaluator)
    evaluator.run([[{"label": torch.from_numpy(trained.labels[0])}]])
    found = read_calibration(trained.path)
    assert found is not None
    assert found.items == 35
    wrong = trained.probabilities[0].argmax(axis=1)[5:] != trained.labels[0][5:]
    assert found.mistakes == wrong.sum()


def test_no_answer_is_made_surer_where_the_least_temperature_forbids_it(trained):
    flat = softmax(np.log(trained.probabilities[0]) / 8, axis=1)  # far less sure than it is right
    for least in (0.0, 1.0):
        torch.save(TinyUNet().state_dict(), trained.path)
        evaluator = Engine(lambda engine, batch: [{"pred": torch.from_numpy(flat.T)}])
        fit = CalibrationFit(None, str(trained.path), ["a", "b", "c"], [], least_temperature=least)
        fit.attach(evaluator)
        evaluator.run([[{"label": torch.from_numpy(trained.labels[0])}]])
        found = read_calibration(trained.path)
        assert found is not None
        assert (found.temperature == 1.0) == bool(least)
        assert ("no less than 1 taken" in found.note) == bool(least)
        assert found.temperature == 1.0 or found.temperature < 0.9
