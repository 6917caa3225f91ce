"""The multi-GPU overlay, on two CPU processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_under_test import Bundle, python
from conftest import Runs
from test_bundle_resume import equal, last, overlay

from pipelines.tracking.run_file import read_run_file
from pipelines.weights import load_weights

pytestmark = pytest.mark.slow
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def items_in_an_epoch(bundle: Bundle, phantoms: Path, folder: Path) -> int:
    """Items of the training set: cases, or what a bundle makes of them (slices)."""
    workflow = bundle.workflow("train", "train", bundle.smallest, dataset_dir=phantoms, ckpt_dir=folder / "none")
    workflow.initialize()
    return len(workflow.train_dataset)


def test_two_processes_train_one_network_and_make_one_run(
    bundle: Bundle, phantoms: Path, env: dict[str, str], tmp_path: Path, runs: Runs
) -> None:
    before = runs.all().keys()
    words = bundle.command(
        "train", bundle.smallest, "multi_gpu_train", dataset_dir=phantoms, ckpt_dir=tmp_path / "ckpt", batch_size=1
    )
    done = python([*TORCHRUN, *words], tmp_path, env | {"CUDA_VISIBLE_DEVICES": ""})
    record = read_run_file(tmp_path / "ckpt")
    assert record is not None
    assert runs.all().keys() - before == {record.run_id}
    run = runs.all()[record.run_id]
    assert run.info.status == "FINISHED"
    length = int(run.data.params["epoch_length"])
    assert length == -(-items_in_an_epoch(bundle, phantoms, tmp_path) // 2), "each process saw every item"
    load_weights(bundle.network(bundle.smallest), tmp_path / "ckpt" / "model.pt")  # keys without "module."
    assert torch.load(tmp_path / "ckpt" / "last.pt", weights_only=True)["progress"]["epoch"] == 2
    assert done.stderr.count("Epoch[2] Metrics -- val") + done.stdout.count("Epoch[2] Metrics -- val") == 1


def test_two_processes_that_were_killed_resume_to_the_same_weights(
    bundle: Bundle, phantoms: Path, env: dict[str, str], tmp_path: Path
) -> None:
    env = env | {"CUDA_VISIBLE_DEVICES": ""}
    configs = ("train", bundle.smallest, "multi_gpu_train")
    knobs = {"dataset_dir": phantoms, "batch_size": 1}
    whole, killed = ({**knobs, "ckpt_dir": tmp_path / name} for name in ("whole", "killed"))
    python([*TORCHRUN, *bundle.command(*configs, **whole)], tmp_path, env)
    python([*TORCHRUN, *bundle.command(*configs, overlay(tmp_path, "KillItself", 2), **killed)], tmp_path, env, code=1)
    assert last(tmp_path / "killed")["progress"]["epoch"] == 1
    python([*TORCHRUN, *bundle.command(*configs, **killed, resume=True)], tmp_path, env)
    one, other = last(tmp_path / "whole"), last(tmp_path / "killed")
    assert {key for key in one if not equal(one[key], other[key])} == set()
    assert one["network"].keys() == bundle.network(bundle.smallest).state_dict().keys(), "one process could not resume"
