"""The report of a chest X-ray that was classified by its code: the reconstruction, and what is unlike training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import ConfigError
from pipelines.evaluation.familiarity import measure
from pipelines.networks import EncodedClassifier
from pipelines.readers import read_xray
from pipelines.tasks.chest_xray.encoded_writer import UNLIKE, EncodedXrayWriter
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.transforms import Calibration, calibration_path
from pipelines.transforms.temperature import FamiliarityLimits
from pipelines.weights import save_weights, weights_digest

NAMES = ["normal", "pneumonia"]


@pytest.fixture(scope="module")
def network() -> EncodedClassifier:
    torch.manual_seed(0)
    network = EncodedClassifier(as_two_classes=True).eval()
    network.fit_codes(torch.zeros(256), torch.eye(256))
    return network


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(make_chest_xray_phantom(2, 120, pneumonia=True).picture).save(tmp_path / "child.png")
    return tmp_path / "child.png"


def report(network: EncodedClassifier, picture: Path, factor: float | None, **knobs: Any) -> dict[str, Any]:
    """Of a picture whose limits are so many times its own measures; None: there are no limits."""
    path = picture.with_name("model.safetensors")
    save_weights(network, path)
    plane = torch.from_numpy(np.ascontiguousarray(read_xray(picture).array, dtype=np.float32) / 255)[None]
    own = measure(network, plane, (64, 64)).measures
    limits = None if factor is None else FamiliarityLimits({k: v * factor for k, v in own.items()}, 99, 50)
    about = Calibration(1.0, 0.2, 0.1, 0.5, 0.4, 90, 4, weights_digest(path), NAMES, [], familiarity=limits)
    about.write(calibration_path(path))
    out = picture.parent / "out"
    common = {"output_dir": str(out), "names": NAMES, "checkpoint": str(path), "network": network}
    writer = EncodedXrayWriter(**common, image_size=[64, 64], target_layer="classifier.features.7", **knobs)
    files = writer.write_case("child", read_xray(picture), {"pred": torch.tensor([0.1, 0.9])})
    assert Image.open(files["reconstruction"]).size == (3 * 64 + 2 * 4, 64)
    assert Image.open(files["overlay"]).size == (2 * 120, 120)
    found = json.loads(files["report"].read_text())
    said = {key: found["reconstruction"][key] for key in own}
    assert said == pytest.approx(own, rel=1e-3)
    return found


def test_a_picture_within_the_limits_is_not_called_unlike(network: EncodedClassifier, picture: Path) -> None:
    found = report(network, picture, 1.1)
    assert UNLIKE not in str(found["reason"])
    assert found["class"] == "pneumonia"


def test_one_beyond_the_limit_is_referred_with_the_reason(network: EncodedClassifier, picture: Path) -> None:
    found = report(network, picture, 0.9)
    assert found["refer"] is True
    assert f"{UNLIKE}: distance of the code" in found["reason"]
    assert "MSE" not in found["reason"]
    assert "MSE" in report(network, picture, 0.9, unlike_by=["mse"])["reason"]


def test_limits_may_be_missing_or_not_asked(network: EncodedClassifier, picture: Path) -> None:
    assert UNLIKE not in str(report(network, picture, 0.9, unlike_by=[])["reason"])
    found = report(network, picture, None)
    assert found["reconstruction"]["limits"] is None
    assert UNLIKE not in str(found["reason"])


def test_an_unknown_measure_is_refused(network: EncodedClassifier, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="psnr"):
        EncodedXrayWriter(["psnr"], output_dir=str(tmp_path), names=NAMES, network=network)
