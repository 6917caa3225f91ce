"""A bundle's ``export.yaml`` exports its network with its answer; another runtime predicts what eager predicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bundle_under_test import Bundle, python
from conftest import Chain
from PIL import Image

from pipelines.prediction import Model, predict

pytestmark = pytest.mark.contract("supervised")
RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("onnxruntime", "openvino")
]


def test_the_overlay_says_what_goes_in(bundle: Bundle) -> None:
    """The scaling, and the sizes and label names of the inference, by reference."""
    config = bundle.config("inference", "export")
    assert {"holds", "axes", "scaling", "resampling"} <= config["export_image"].keys()
    assert config["export"]["label_names"] == "@label_names"
    assert config["export"]["answer"] == ("mask" if bundle.kind == "segmentation" else "probabilities")
    assert config["export_to"] == "onnx"
    if "calibration" in config:
        assert config["export"]["calibration"] == "@calibration", "probabilities would not be those of `predict`"
    if "threshold" in config and bundle.kind == "segmentation":
        assert config["export"]["threshold"] == "@threshold"


def test_inference_has_the_knob(bundle: Bundle) -> None:
    config = bundle.config("inference")
    assert (config["runtime"], config["precision"]) == ("eager", "auto"), "MONAI's own tools run what was trained"
    assert config["evaluator"]["network"] == "@running_network"
    assert config["running_network"]["network"] == "@network"


@pytest.mark.slow
def test_what_was_trained_is_exported_by_the_command(
    bundle: Bundle, trained: Chain, phantoms: Path, env: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")
    first = phantoms / json.loads((phantoms / "datalist.json").read_text())["test"][0]["image"]
    words = ["-m", "pipelines", "export", str(bundle.root), "--network", bundle.smallest, "--out", str(tmp_path)]
    done = python([*words, "--checkpoint", str(trained.checkpoint), "--input", str(first)], tmp_path, env)
    assert "against PyTorch, logits within" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {f"{bundle.smallest}.onnx", f"{bundle.smallest}.json"}


def answer(report: str, mask: str | None) -> np.ndarray:
    """The mask's labels, or the probabilities of the classes."""
    if mask is not None:
        return np.asarray(nib.load(mask).dataobj if mask.endswith(".nii.gz") else Image.open(mask))
    found = list(numbers(json.loads(Path(report).read_text()), inside=False))
    assert found, "the report has no probabilities"
    return np.array(found)


def numbers(content: object, inside: bool) -> Iterator[float]:
    """What stands below ``probabilities``, wherever that is."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from numbers(value, inside or key == "probabilities")
    elif isinstance(content, list):
        for value in content:
            yield from numbers(value, inside)
    elif inside:
        yield float(content)  # type: ignore[arg-type]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_another_runtime_predicts_what_eager_does(
    bundle: Bundle, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    """With fresh weights of the smallest network: the windows, the way back and the files are the same."""
    from pipelines.weights import save_weights

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = tmp_path / "net.safetensors"
    save_weights(bundle.network(bundle.smallest), weights)
    first = phantoms / json.loads((phantoms / "datalist.json").read_text())["test"][0]["image"]
    found = {}
    config = bundle.config("inference")
    knobs = {**bundle.small("inference", bundle.smallest), "checkpoint": str(weights), "precision": "fp32"}
    knobs |= {"calibration": None} if "calibration" in config else {}
    knobs |= {"target_layer": None} if "target_layer" in config else {}
    for name in ("eager", runtime):
        ((outcome, code),) = predict(
            bundle.root, first, tmp_path / name, network=bundle.smallest, runtime=name, **knobs
        )
        assert code == 0, outcome.error
        assert outcome.report is not None
        found[name] = answer(outcome.report, outcome.mask)
        assert json.loads(Path(outcome.report).read_text()).get("runtime") == (
            None if name == "eager" else f"{name} fp32"
        )
    assert found["eager"].shape == found[runtime].shape
    if bundle.kind == "segmentation":
        assert (found["eager"] == found[runtime]).mean() >= 0.999
    else:
        np.testing.assert_allclose(found["eager"], found[runtime], atol=1e-3)


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_auto_takes_a_runtime_where_there_is_enough_to_do_and_eager_else(
    bundle: Bundle, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.runtimes import RuntimeNetwork
    from pipelines.weights import save_weights

    monkeypatch.setattr(
        RuntimeNetwork, "_seconds", lambda self, shape, ways, inputs: {way: float(way[0] == "eager") for way in ways}
    )
    monkeypatch.setattr("pipelines.runtimes.network.SLICES", 1000)  # however many slices a phantom of the kind has
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = tmp_path / "net.safetensors"
    save_weights(bundle.network(bundle.smallest), weights)
    first = phantoms / json.loads((phantoms / "datalist.json").read_text())["test"][0]["image"]
    config = bundle.config("inference")
    knobs = {**bundle.small("inference", bundle.smallest), "checkpoint": str(weights), "runtime": "auto"}
    knobs |= {"calibration": None} if "calibration" in config else {}
    model = Model(bundle.root, bundle.smallest, **knobs)
    assert "runtime" not in model(first).report
    assert not (tmp_path / "cache").exists(), "one case pays nothing"
    model.cases = 1000
    assert model(first).report["runtime"].split()[0] in ("onnxruntime", "openvino")
    assert list((tmp_path / "cache").rglob("*.json"))
