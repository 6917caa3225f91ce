"""The example of docs/how-to/export.md runs where there is no PyTorch, and gives PyTorch's mask."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import BasicUNet
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.__main__ import main
from pipelines.tasks.lung_ct.intensity import LUNG_WINDOW
from pipelines.weights import load_weights

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "how-to" / "export.md"
BLOCKED = """
import sys
for name in ("torch", "monai", "pipelines", "scipy", "PIL", "skimage", "nibabel", "onnx"):
    sys.modules[name] = None
"""


def test_the_example_needs_onnxruntime_and_numpy_alone(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")
    pytest.importorskip("onnx", reason="the extra `fast` is not installed")
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    bundle = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
    assert main(["export", str(bundle), "--network", "basic_unet", "--out", str(tmp_path / "export")]) == 0
    x, y = np.mgrid[-1:1:512j, -1:1:512j]
    hu = np.where(x**2 + y**2 < 0.7, 40, -1000).astype(np.float32)
    hu[(abs(abs(x) - 0.4) < 0.25) & (abs(y) < 0.4)] = -860
    np.save(tmp_path / "slice.npy", hu)
    (tmp_path / "example.py").write_text(BLOCKED + example)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [sys.executable, "-W", "error", "example.py"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mask = np.load(tmp_path / "mask.npy")
    network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=3, norm="batch").eval()
    load_weights(network, bundle / "models" / "basic_unet.safetensors")
    low, high = LUNG_WINDOW
    small = hu.reshape(256, 2, 256, 2).mean((1, 3))
    with torch.no_grad():
        due = network(torch.from_numpy((small.clip(low, high) - low) / (high - low))[None, None]).argmax(1)[0].numpy()
    assert mask.dtype == np.uint8
    assert (mask == 1).sum() > 1000, "no lung: the example feeds the network something else"
    assert (mask == due).mean() > 0.999


def test_phantoms_that_are_unlike_the_training_are_compared_on_all_the_same(tmp_path: Path) -> None:
    """As they are to whoever has fitted the looks of a bundle to images of their own."""
    skin = PROJECT / "bundles" / "skin_lesion_segmentation"  # scans in Hounsfield units are never refused
    bundle = Path(shutil.copytree(skin, tmp_path / "own", ignore=shutil.ignore_patterns("eval")))
    looks = bundle / "configs" / "looks.safetensors"
    with safe_open(looks, "pt") as file:
        tensors, about = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    fitted = [{**each, "limit": each["limit"] / 1000} for each in json.loads(about["looks"])]
    save_file(tensors, looks, {**about, "looks": json.dumps(fitted)})
    assert main(["export", str(bundle), "--to", "torchscript", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "skips.ts").is_file()


def test_a_generator_is_not_exported_and_the_reason_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["export", str(PROJECT / "bundles" / "chest_xray_gan"), "--out", str(tmp_path / "out")]) == 2
    assert "marked as synthetic" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"), [(["--input", "nothing.nii.gz"], "nothing.nii.gz"), (["--network", "x"], "'x'")]
)
def test_faults_are_a_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `fast` is not installed")
    bundle = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
    assert main(["export", str(bundle), "--out", str(tmp_path / "out"), "--to", "torchscript", *words]) in (2, 10)
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found
