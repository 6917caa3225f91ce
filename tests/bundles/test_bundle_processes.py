"""The multi-GPU overlay, on two CPU processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from bundle_under_test import Bundle, python
from conftest import Runs
from mlflow.entities import Run
from test_bundle_resume import equal, last, overlay

from pipelines.tracking.run_file import read_run_file
from pipelines.weights import load_weights

pytestmark = [pytest.mark.slow, pytest.mark.contract("supervised")]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def items_in_an_epoch(bundle: Bundle, phantoms: Path, folder: Path) -> int:
    """Items of the training set: cases, or what a bundle makes of them (slices)."""
    workflow = bundle.workflow("train", "train", bundle.smallest, dataset_dir=phantoms, ckpt_dir=folder / "none")
    workflow.initialize()
    return len(workflow.train_dataset)


@dataclass(frozen=True)
class Whole:
    """A training of two epochs by two processes: its checkpoints, what it printed, and the runs that it added."""

    ckpt_dir: Path
    printed: str
    added: dict[str, Run]


@pytest.fixture(scope="session")
def whole(
    bundle: Bundle, phantoms: Path, env: dict[str, str], store: str, tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    folder, runs = tmp_path_factory.mktemp("two"), Runs(store)
    before = runs.all().keys()
    knobs = {"dataset_dir": phantoms, "ckpt_dir": folder / "ckpt", "batch_size": 1}
    words = bundle.command("train", bundle.smallest, "multi_gpu_train", **knobs)
    done = python([*TORCHRUN, *words], folder, env | {"CUDA_VISIBLE_DEVICES": ""})
    added = {key: run for key, run in runs.all().items() if key not in before}
    return Whole(folder / "ckpt", done.stderr + done.stdout, added)


def test_two_processes_train_one_network_and_make_one_run(
    bundle: Bundle, phantoms: Path, whole: Whole, tmp_path: Path
) -> None:
    record = read_run_file(whole.ckpt_dir)
    assert record is not None
    assert whole.added.keys() == {record.run_id}
    run = whole.added[record.run_id]
    assert run.info.status == "FINISHED"
    length = int(run.data.params["epoch_length"])
    assert length == -(-items_in_an_epoch(bundle, phantoms, tmp_path) // 2), "each process saw every item"
    load_weights(bundle.network(bundle.smallest), whole.ckpt_dir / "model.pt")  # keys without "module."
    assert last(whole.ckpt_dir)["progress"]["epoch"] == 2
    assert whole.printed.count("Epoch[2] Metrics -- val") == 1


def test_two_processes_that_were_killed_resume_to_the_same_weights(
    bundle: Bundle, phantoms: Path, whole: Whole, env: dict[str, str], tmp_path: Path
) -> None:
    env = env | {"CUDA_VISIBLE_DEVICES": ""}
    configs = ("train", bundle.smallest, "multi_gpu_train")
    killed = {"dataset_dir": phantoms, "batch_size": 1, "ckpt_dir": tmp_path / "killed"}
    python([*TORCHRUN, *bundle.command(*configs, overlay(tmp_path, "KillItself", 2), **killed)], tmp_path, env, code=1)
    assert last(tmp_path / "killed")["progress"]["epoch"] == 1
    python([*TORCHRUN, *bundle.command(*configs, **killed, resume=True)], tmp_path, env)
    one, other = last(whole.ckpt_dir), last(tmp_path / "killed")
    assert {key for key in one if not equal(one[key], other[key])} == set()
    assert one["network"].keys() == bundle.network(bundle.smallest).state_dict().keys(), "one process could not resume"
