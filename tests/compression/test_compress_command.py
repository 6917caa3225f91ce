"""`python -m pipelines compress`: faults in a line; and on phantoms all that it does."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.compression import costs
from pipelines.weights import read_weights

PROJECT = Path(__file__).resolve().parents[2]
BUNDLE = PROJECT / "bundles" / "covid_ct_lesion_segmentation"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "smaller"], "no step 'smaller'"),
        (["--network", "huge"], "no network 'huge'"),
        (["--share", "1.5"], "share to prune is 1.5"),
        (["--epochs", "0"], "must be 1 or more"),
        (["--steps", "distil"], "needs a teacher"),
        (["--steps", "distil", "--teacher", "nobody"], "no network 'nobody'"),
        (["--pretrained", "x.pt"], "--pretrained is set by this command"),
        (["--wings", "2"], "'wings' is no knob"),
    ],
)
def test_faults_are_a_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["compress", str(BUNDLE), "--data", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found
    assert not (tmp_path / "out").exists()


def test_a_generator_is_not_compressed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gan = PROJECT / "bundles" / "chest_xray_gan"
    assert main(["compress", str(gan), "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "generates pictures" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.slow
def test_on_phantoms(
    tmp_path: Path,
    new_store: Callable[[Path], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")
    pytest.importorskip("onnx", reason="the extra `fast` is not installed")
    monkeypatch.setattr(costs, "peak_memory", lambda *_: None)  # a process a form; tested by itself
    drawn = ["--size", "48", "--slices", "8", "--cases", "6", "--test", "0.34"]
    assert main(["data", "phantom", "covid_ct", *drawn, "--out", str(tmp_path / "d")]) == 0
    words = ["compress", str(BUNDLE), "--network", "tiny_unet", "--data", str(tmp_path / "d"), "--images", "8"]
    steps = ["--steps", "int8", "prune-tune", "distil", "--teacher", "basic_unet"]
    out = tmp_path / "out"
    store = ["--tracking_uri", new_store(tmp_path), "--epochs", "1", "--slice_size", "[32,32]"]
    assert main([*words, "--out", str(out), *steps, *store]) == 0
    rows = {(row["step"], row["runtime"]): row for row in csv.DictReader((out / "compression.csv").open())}
    assert len(rows) == 5
    assert json.loads((out / "compression.json").read_text())["network"] == "tiny_unet"
    assert int(rows["int8", "onnxruntime"]["bytes"]) < 40_000
    assert (out / "tiny_unet_int8.json").is_file()
    assert abs(float(rows["fp32", "onnxruntime"]["difference"])) < 1e-3
    held = read_weights(out / "tiny_unet_prune-tune.safetensors")
    weights = [each for each in held.values() if each.ndim > 1]
    zeros = sum(int((each == 0).sum()) for each in weights)
    assert zeros >= sum(each.numel() for each in weights) // 2, "the training filled what was pruned"
    begun = read_weights(BUNDLE / "models" / "tiny_unet.safetensors")
    assert any(not bool((held[key] == begun[key]).all()) for key in held if key.endswith("bias")), "it was not trained"
    assert "| distil | eager |" in capsys.readouterr().out
