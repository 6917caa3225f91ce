"""Same seed, same weights; and a training killed by SIGKILL in mid-epoch resumes to what it would have become."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_under_test import Bundle, python
from conftest import EVENTS, Chain, Runs

from pipelines.tracking.event_folders import event_folders
from pipelines.tracking.run_file import read_run_file

pytestmark = pytest.mark.contract("supervised")


def equal(one: Any, other: Any) -> bool:
    """Whether two states are the same to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "last.pt", weights_only=True)


def overlay(folder: Path, handler: str, epoch: int) -> Path:
    """A config that adds a handler of ``interrupting_handlers`` to a training."""
    path = folder / f"{handler}.yaml"
    path.write_text(f"+train#handlers:\n- _target_: interrupting_handlers.{handler}\n  epoch: {epoch}\n")
    return path


@pytest.fixture(scope="session")
def killed(bundle: Bundle, phantoms: Path, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of the training that ``trained`` is too, killed in the middle of its second epoch."""
    folder = tmp_path_factory.mktemp("killed")
    knobs = {"dataset_dir": phantoms, "ckpt_dir": folder / "ckpt", **EVENTS}
    words = bundle.command("train", bundle.smallest, overlay(folder, "KillItself", 2), **knobs)
    python(words, folder, env, code=-signal.SIGKILL)
    return folder / "ckpt"


def test_same_seed_gives_the_same_weights_and_another_seed_others(
    bundle: Bundle, phantoms: Path, trained: Chain, tmp_path: Path
) -> None:
    weights = []
    for seed in (bundle.config("train")["seed"], 1234):
        folder = tmp_path / str(seed)
        workflow = bundle.workflow("train", "train", bundle.smallest, dataset_dir=phantoms, ckpt_dir=folder, seed=seed)
        workflow.initialize()
        workflow.run()
        weights.append(last(folder)["network"])
    assert equal(weights[0], last(trained.ckpt_dir)["network"])
    assert not equal(weights[1], weights[0])


def test_killed_run_does_not_stay_running(killed: Path, runs: Runs) -> None:
    record = read_run_file(killed)
    assert record is not None
    until = time.monotonic() + 60  # a process of its own closes the run, and has MLflow to import
    while runs.all()[record.run_id].info.status == "RUNNING" and time.monotonic() < until:
        time.sleep(0.5)
    assert runs.all()[record.run_id].info.status == "KILLED"


def test_resumed_training_equals_an_uninterrupted_one(
    bundle: Bundle, phantoms: Path, env: dict[str, str], trained: Chain, killed: Path, runs: Runs
) -> None:
    assert last(killed)["progress"]["epoch"] == 1
    assert not equal(last(killed)["network"], last(trained.ckpt_dir)["network"])
    earlier, before = read_run_file(killed), runs.all().keys()
    knobs = {"dataset_dir": phantoms, "ckpt_dir": killed, "resume": True, **EVENTS}
    words = bundle.command("train", bundle.smallest, **knobs, workers=4)  # others load the same batches
    python(words, killed.parent, env)
    resumed, whole = last(killed), last(trained.ckpt_dir)
    assert whole.keys() >= {"network", "optimizer", "lr_scheduler", "progress"}
    assert {key for key in whole if not equal(resumed[key], whole[key])} == set()
    assert whole["progress"].keys() >= {"epoch", "best_metric", "best_metric_epoch"}
    best = [torch.load(folder / "model.pt", weights_only=True) for folder in (killed, trained.ckpt_dir)]
    assert equal(*best)
    later = read_run_file(killed)
    assert earlier is not None
    assert later is not None
    assert runs.all().keys() - before == {later.run_id}, "the resumed training is a run of its own"
    assert runs.all()[later.run_id].data.tags["resumed_run"] == earlier.run_id
    if EVENTS:
        goes_on_in_its_events(killed)


def goes_on_in_its_events(ckpt_dir: Path) -> None:
    """The epoch that was killed is there once, as it was done the second time."""
    from read_events import Events

    (folder,) = event_folders(ckpt_dir)
    assert len(list(folder.glob("events.*"))) == 2
    events = Events(folder)
    for found in (events.images, events.histograms, events.curves):
        assert found
        assert all(steps == [1, 2] for steps in found.values())
    assert all(events.steps(tag) == [1, 2] for tag in events.scalars)
    steps = Events(folder / "iterations").steps("iteration/loss")
    assert steps == list(range(1, len(steps) + 1))
