"""Weights hold tensors and nothing else; a file with a pickle in it is refused, and nothing in it runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from bundle_under_test import Bundle
from conftest import Chain
from monai.bundle import ConfigWorkflow

from pipelines.errors import PipelinesError
from pipelines.weights import load_weights

pytestmark = pytest.mark.contract("supervised")


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


def fault(workflow: ConfigWorkflow) -> PipelinesError:
    """Runs a workflow that a fault of the user's must stop; MONAI wraps it in an error of its own."""
    with pytest.raises(RuntimeError) as raised:
        workflow.run()
    assert isinstance(raised.value.__cause__, PipelinesError)
    return raised.value.__cause__


@pytest.mark.parametrize("name", ["model.pt", "last.pt"])
def test_what_training_leaves_loads_without_running_code(trained: Chain, name: str) -> None:
    assert torch.load(trained.ckpt_dir / name, weights_only=True)


@pytest.mark.contract("weights")
def test_shipped_weights_fit_their_network(bundle: Bundle) -> None:
    for path in sorted((bundle.root / "models").glob("*.safetensors")):
        load_weights(bundle.network(path.stem), path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_pickle_is_refused(
    bundle: Bundle, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "evil"))
    torch.save({"weight": Evil()}, tmp_path / f"weights{suffix}")
    knobs = {"checkpoint": tmp_path / f"weights{suffix}", "output_dir": tmp_path / "out", "dataset_dir": phantoms}
    workflow = bundle.workflow("infer", "inference", bundle.smallest, **knobs)
    workflow.initialize()
    assert re.search(r"run code|damaged", str(fault(workflow)))
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [["inference"], ["train", "evaluate"]], ids="+".join)
def test_weights_of_another_network_are_refused(
    bundle: Bundle, phantoms: Path, trained: Chain, tmp_path: Path, names: list[str]
) -> None:
    other = next((name for name in bundle.networks if name != bundle.smallest), None)
    if other is None:
        pytest.skip("the bundle has one network")
    knobs = {"checkpoint": trained.checkpoint, "output_dir": tmp_path / "out", "dataset_dir": phantoms}
    if "train" in names:
        knobs["ckpt_dir"] = tmp_path / "ckpt"
    kind = "train" if "train" in names else "infer"
    workflow = bundle.workflow(kind, *names[:1], other, *names[1:], **knobs)
    workflow.initialize()
    assert "not those of" in str(fault(workflow))
    assert not (tmp_path / "out").exists()
