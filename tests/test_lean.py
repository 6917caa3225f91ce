"""A prediction imports what it needs: half of the time to a first answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("mlflow", "pandas", "matplotlib.pyplot", "tensorboard", "sympy", "torch._dynamo", "torch.distributed.fsdp")


def test_a_prediction_imports_neither_tracking_nor_plots_nor_a_compiler(tmp_path: Path) -> None:
    """The X-ray's, which has torchvision's network: the way that imports most. It answers nevertheless."""
    grey = np.tile(np.linspace(40, 200, 96).astype(np.uint8), (96, 1))
    Image.fromarray(grey).save(tmp_path / "picture.png")
    words = ["chest_xray_pneumonia_classification", str(tmp_path / "picture.png"), "--out", str(tmp_path / "out")]
    code = "import sys; from pipelines.__main__ import main; main(); print('imported', *sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code, "predict", *words, "--fast"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (tmp_path / "out" / "manifest.jsonl").is_file(), ended.stderr[-2000:]
    imported = set(ended.stdout.split("imported ")[1].split())
    assert {"monai.engines", "ignite.engine", "torchvision.models"} <= imported
    assert not imported & set(LEFT_OUT)


CHECKS = """
import gc, sys
from pipelines import lean
from pipelines.lean import LEFT_OUT
with lean.starting():
    assert not gc.isenabled()
assert gc.isenabled()
assert not LEFT_OUT & set(sys.modules), LEFT_OUT & set(sys.modules)
import torch
from ignite.handlers import Checkpoint
network = torch.nn.Linear(2, 2)
optimizer = torch.optim.AdamW(network.parameters())
saved = {}
handler = Checkpoint({"optimizer": optimizer}, lambda state, name, metadata: saved.update(state))
from ignite.engine import Engine
handler(Engine(lambda engine, batch: None))
assert saved["param_groups"], saved
from torch.distributed.optim import ZeroRedundancyOptimizer
assert issubclass(ZeroRedundancyOptimizer, torch.optim.Optimizer)
import matplotlib.pyplot
import mlflow
from monai.handlers import MLFlowHandler
try:
    MLFlowHandler()
except Exception as error:
    assert "left out for a faster start" in str(error), error
else:
    raise AssertionError("MONAI took an MLflow that was left out")
"""


def test_what_was_left_out_can_be_imported_afterwards_and_the_rest_of_monai_works() -> None:
    ended = subprocess.run([sys.executable, "-c", CHECKS], cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_torchvision_asks_the_compiler_when_it_needs_it() -> None:
    """As ever: its answer is that of PyTorch's compiler, imported by then."""
    check = """
import sys
from pipelines.networks import torchvision_import
assert "torch._dynamo" not in sys.modules
from torchvision.ops import roi_align
answer = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
import torch._dynamo.utils
assert answer == torch._dynamo.utils.is_compile_supported("cpu")
"""
    ended = subprocess.run([sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]
