"""A temperature lies beside the weights it was fitted for, and is used for no others."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.networks import TinyUNet
from pipelines.transforms import Calibration, TemperatureScaled, calibration_path
from pipelines.transforms.temperature import read_calibration
from pipelines.weights import save_weights, weights_digest


@pytest.fixture
def weights(tmp_path):
    """Weights with a calibration of temperature 2."""
    path = tmp_path / "net.safetensors"
    save_weights(TinyUNet(), path)
    Calibration(2.0, 0.2, 0.1, 0.9, 0.8, 30, 4, weights_digest(path), ["a", "b"], [0.1]).write(calibration_path(path))
    return path


def test_logits_are_divided(weights):
    assert calibration_path(weights).name == "net.calibration.json"
    found = TemperatureScaled("pred", str(weights))({"pred": torch.tensor([[4.0], [2.0]])})
    assert found["pred"].tolist() == [[2.0], [1.0]]


def test_the_former_name_of_a_key_is_read(weights):
    path = calibration_path(weights)
    content = json.loads(path.read_text())
    content["slices"] = content.pop("items")
    path.write_text(json.dumps(content))
    found = read_calibration(weights)
    assert found is not None
    assert (found.items, found.temperature) == (30, 2.0)


def test_the_digest_does_not_depend_on_the_kind_of_file(weights, tmp_path):
    network = TinyUNet()
    save_weights(network, tmp_path / "a.safetensors")
    torch.save(network.state_dict(), tmp_path / "a.pt")
    assert weights_digest(tmp_path / "a.safetensors") == weights_digest(tmp_path / "a.pt") != weights_digest(weights)


def test_without_a_calibration_logits_stay_and_that_is_said(tmp_path, caplog):
    save_weights(TinyUNet(), tmp_path / "plain.safetensors")
    logits = torch.tensor([[4.0], [2.0]])
    with caplog.at_level(logging.WARNING):
        found = TemperatureScaled("pred", str(tmp_path / "plain.safetensors"))({"pred": logits})
    assert torch.equal(found["pred"], logits)
    assert "no calibration" in caplog.text
    caplog.clear()
    assert torch.equal(TemperatureScaled("pred")({"pred": logits})["pred"], logits)
    assert not caplog.text


def test_that_of_other_weights_is_refused(weights):
    save_weights(TinyUNet(), weights)
    with pytest.raises(WeightsError, match="other weights"):
        read_calibration(weights)


def test_weights_for_other_classes_are_refused(weights):
    scaled = TemperatureScaled("pred", str(weights))
    scaled.require(["a", "b"], (0.1,))
    with pytest.raises(WeightsError, match="trained for a, b from"):
        scaled.require(["a", "b"], [0.2])
    TemperatureScaled("pred").require(["x"], [])


@pytest.mark.parametrize("content", ["", "[]", '{"temperature": 1}', "zero", "-1", "NaN"])
def test_a_damaged_one_is_named(weights, content):
    path = calibration_path(weights)
    if content in ("zero", "-1", "NaN"):
        whole = json.loads(path.read_text()) | {"temperature": {"zero": 0, "-1": -1, "NaN": float("nan")}[content]}
        content = json.dumps(whole)
    path.write_text(content)
    with pytest.raises(UnreadableFileError, match="damaged"):
        read_calibration(weights)
