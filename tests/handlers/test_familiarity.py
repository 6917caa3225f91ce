"""What is told from training pictures, and by which limits; and the pictures of reconstructions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from pipelines.errors import ConfigError, StaleCacheError
from pipelines.evaluation.familiarity import beyond, code_statistics, limits_of, measure
from pipelines.handlers import CodeStatistics, FamiliarityFit, ReconstructionPicture
from pipelines.handlers.reconstructions import beside, difference
from pipelines.networks import EncodedClassifier
from pipelines.transforms import Calibration, calibration_path
from pipelines.transforms.temperature import read_calibration
from pipelines.weights import save_weights, weights_digest

NAMES = ["normal", "pneumonia"]


@pytest.fixture
def network() -> EncodedClassifier:
    torch.manual_seed(0)
    return EncodedClassifier(as_two_classes=True)


class Perfect(torch.nn.Module):
    """An autoencoder that gives a picture back, ``off`` lighter."""

    def __init__(self, off: float) -> None:
        super().__init__()
        self.off = torch.nn.Parameter(torch.tensor(off))
        self.autoencoder = SimpleNamespace(decode=lambda code: code + self.off)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def code_distance(self, codes: torch.Tensor) -> torch.Tensor:
        return codes.mean(dim=(1, 2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.off


def test_errors_worked_out_by_hand() -> None:
    picture = torch.rand(1, 32, 24, generator=torch.Generator().manual_seed(0)) * 0.5
    found = measure(Perfect(0.1), picture)
    assert found.mse == pytest.approx(0.01, rel=1e-4)
    assert found.code_distance == pytest.approx(float(picture.mean()), rel=1e-5)
    assert measure(Perfect(0.0), picture).ssim == pytest.approx(1, abs=1e-5)
    assert found.ssim < 1
    assert measure(Perfect(0.0), picture, (16, 16)).picture.shape == (16, 16)


def test_statistics_tell_what_varies_from_what_does_not() -> None:
    drawn = np.random.default_rng(0).normal([1.0, -2.0], [0.1, 5.0], (500, 2))
    mean, precision = code_statistics(drawn)
    np.testing.assert_allclose(mean, [1, -2], atol=0.5)
    assert precision[0, 0] > 10 * precision[1, 1]


def test_limits_are_percentiles_and_the_far_side_of_each_measure_counts() -> None:
    measured = [{"mse": k / 100, "ssim": k / 100, "code_distance": k} for k in range(101)]
    limits = limits_of(measured, 99)
    assert limits == pytest.approx({"mse": 0.99, "ssim": 0.01, "code_distance": 99})
    far = {"mse": 1.0, "ssim": 0.005, "code_distance": 98.0}
    assert len(beyond(far, limits, ["mse", "ssim", "code_distance"])) == 2
    assert beyond(far, limits, ["code_distance"]) == []
    assert "MSE" in beyond(far, limits, ["mse"])[0]


class Codes:
    """What ``CodeStatistics`` asks of a data set."""

    def __init__(self, stale: bool = False) -> None:
        self.features = np.random.default_rng(0).random((2, 70, 256, 2, 2)).astype(np.float16)
        self.stale = stale

    def require(self, network: Any) -> None:
        if self.stale:
            raise StaleCacheError("of another encoder")


def test_training_keeps_what_its_codes_are_like(network: EncodedClassifier) -> None:
    codes = Codes()
    CodeStatistics(codes, network)(Engine(lambda *_: None))
    pooled = codes.features.astype(np.float32).mean(axis=(3, 4)).reshape(140, 256)
    np.testing.assert_allclose(network.state_dict()["mean"], pooled.mean(axis=0), rtol=1e-5)
    inside = network.code_distance(torch.as_tensor(codes.features[0].astype(np.float32)))
    outside = network.code_distance(torch.full((1, 256, 2, 2), 3.0))
    assert outside > 3 * inside.max()
    with pytest.raises(StaleCacheError):
        CodeStatistics(Codes(stale=True), network)(Engine(lambda *_: None))


def test_limits_go_into_the_calibration_of_the_best_weights(network: EncodedClassifier, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(network, path)
    Calibration(1.5, 0.2, 0.1, 0.5, 0.4, 90, 4, weights_digest(path), NAMES, []).write(calibration_path(path))
    ended = EncodedClassifier(as_two_classes=True)  # training ended with other weights than its best
    last = {key: value.clone() for key, value in ended.state_dict().items()}
    pictures = [{"image": torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(k))} for k in range(5)]
    FamiliarityFit(ended, str(path), pictures, dict, [32, 32], percentile=100)(Engine(lambda *_: None))
    found = read_calibration(path)
    assert found is not None
    assert found.familiarity is not None
    assert (found.temperature, found.familiarity.items, found.familiarity.percentile) == (1.5, 5, 100)
    worst = max(measure(network, each["image"], [32, 32]).mse for each in pictures)
    assert found.familiarity.limits["mse"] == pytest.approx(worst, rel=1e-5)
    assert all(torch.equal(value, last[key]) for key, value in ended.state_dict().items())
    with pytest.raises(ConfigError, match="percentile"):
        FamiliarityFit(ended, str(path), pictures, dict, percentile=1)


def test_pictures_stand_beside_each_other_and_differences_are_grey() -> None:
    light, dark = np.ones((3, 5)), np.zeros((3, 5))
    drawn = np.asarray(beside([[light, dark], [dark, light]]))
    assert drawn.shape == (5 + 4 + 5, 3 + 4 + 3)
    assert drawn[0, 0] == 255
    assert drawn[0, -1] == 0
    assert (difference(dark, dark) == 0.5).all()
    assert (difference(dark, dark + 0.1) > 0.5).all()


@pytest.mark.parametrize(("noise", "rows"), [(0.0, 3), (0.1, 4)])
def test_reconstructions_are_drawn_of_the_best_epoch(tmp_path: Path, noise: float, rows: int) -> None:
    pictures = [{"image": torch.full((1, 20, 10), k / 10)} for k in range(9)]
    handler = ReconstructionPicture(str(tmp_path / "seen.png"), pictures, Perfect(0.0), count=3, noise=noise)
    engine = Engine(lambda *_: None)
    engine.state.key_metric_name, engine.state.best_metric = "val_mse", 0.2  # type: ignore[attr-defined]
    engine.state.metrics = {"val_mse": 0.3}
    handler(engine)
    assert not (tmp_path / "seen.png").exists()
    engine.state.metrics = {"val_mse": 0.2}
    handler(engine)
    assert Image.open(tmp_path / "seen.png").size == (3 * 20 + 2 * 4, rows * 10 + (rows - 1) * 4)
