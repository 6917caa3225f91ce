"""Events for TensorBoard: what is written, at which steps, after a resume, a crash, a full disk; and off, nothing."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from mlflow import MlflowClient
from tiny_training import runs, tiny_training

import pipelines.tracking.run_handler
from pipelines.errors import ConfigError
from pipelines.files import safe_name
from pipelines.networks import EncodedClassifier
from pipelines.tracking import RunTracker
from pipelines.tracking.event_folders import event_folders, events_of, events_root

Events = pytest.importorskip("read_events", reason="TensorBoard is not installed (the test extra)").Events


def trained(folder: Path, store: str, **more: Any) -> Path:
    """Train, and return the event folder."""
    trainer, tracker = tiny_training(ckpt_dir=folder, tensorboard=True, tracking_uri=store, **more)
    trainer.run()
    return folder_of(tracker)


def folder_of(tracker: RunTracker) -> Path:
    folder = tracker._events.folder  # type: ignore[union-attr]
    assert folder is not None
    return folder


def resumable(trainer: Engine, epoch: int) -> None:
    """As a checkpoint of that epoch does."""
    trainer.state.epoch, trainer.state.iteration = epoch, 2 * epoch


def test_scalars_have_the_names_and_steps_of_the_store(tmp_path: Path, store: str) -> None:
    folder = trained(tmp_path / "ckpt", store, params={"rate": 0.5, "store": "http://me:secret@host/"})
    assert folder.parent == tmp_path / "ckpt" / "tensorboard"
    (run,) = runs(store)
    assert folder.name == run.info.run_name
    assert run.data.tags["tensorboard"] == str(folder.resolve())
    events, client = Events(folder), MlflowClient(tracking_uri=store)
    written = {tag.partition("/")[2]: points for tag, points in events.scalars.items()}
    assert {"train_loss", "learning_rate", "epoch_seconds", "val_error"} <= written.keys()
    for name, points in written.items():
        history = [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
        assert points == [(step, pytest.approx(value, rel=1e-5)) for step, value in history]
    assert {tag.partition("/")[0] for tag in events.scalars} == {"training", "validation"}
    by_iteration = Events(folder / "iterations")
    assert by_iteration.steps("iteration/loss") == by_iteration.steps("iteration/learning_rate") == [1, 2, 3, 4]
    assert events.histograms == {
        f"{kind}/{name}": [1, 2] for kind in ("weights", "weights_gradients") for name in ("weight", "bias")
    }
    assert events.graph
    assert len(events.hparams) == 3
    assert "| rate | 0.5 |" in events.texts["parameters/text_summary"]
    assert "secret" not in events.texts["parameters/text_summary"]


def test_the_training_is_the_same_with_and_without(tmp_path: Path, store: str) -> None:
    def weights(tensorboard: bool) -> torch.Tensor:
        trainer, _ = tiny_training(ckpt_dir=tmp_path / str(tensorboard), tensorboard=tensorboard, tracking_uri=store)
        trainer.run()
        return torch.cat([each.detach().flatten() for each in trainer.network.parameters()] + [torch.rand(3)])

    assert torch.equal(weights(True), weights(False))


def test_a_resumed_training_goes_on_in_its_folder_without_doubled_steps(tmp_path: Path, store: str) -> None:
    def killed(engine: Engine) -> None:
        if engine.state.iteration == 6:  # of the third epoch, whose checkpoint is not written
            raise KeyboardInterrupt

    trainer, tracker = tiny_training(epochs=4, ckpt_dir=tmp_path, tensorboard=True, tracking_uri=store, during=killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    first = folder_of(tracker)
    assert Events(first / "iterations").steps("iteration/loss")[-1] >= 5, "flushed"

    trainer, tracker = tiny_training(
        epochs=4, ckpt_dir=tmp_path, tensorboard=True, tracking_uri=store, resumed_from=tmp_path / "last.pt"
    )
    resumable(trainer, 1)  # before what was written last, so that an epoch is done again
    trainer.run()
    assert folder_of(tracker) == first
    events = Events(first)
    for tag in events.scalars:
        assert events.steps(tag) == [1, 2, 3, 4], tag
    assert all(steps == [1, 2, 3, 4] for steps in events.histograms.values())
    assert Events(first / "iterations").steps("iteration/loss") == list(range(1, 9))
    assert events.graph
    assert {run.data.tags["tensorboard"] for run in runs(store)} == {str(first.resolve())}


def test_trainings_anew_have_folders_of_their_own(tmp_path: Path, store: str) -> None:
    one = trained(tmp_path / "ckpt", store, run_name="first try")
    other = trained(tmp_path / "ckpt", store, run_name="first try")
    assert (one.name, other.name) == (safe_name("first try"), f"{safe_name('first try')}-2")
    assert event_folders(tmp_path) == [one, other]
    assert events_of(tmp_path / "ckpt") == other
    moved = (tmp_path / "ckpt").rename(tmp_path / "moved")
    assert events_of(moved) == moved / "tensorboard" / other.name
    trainer, _ = tiny_training(ckpt_dir=moved, tracking_uri=store)  # without the knob
    trainer.run()
    assert events_of(moved) is None, "these checkpoints have no events"


def test_a_crash_leaves_what_was_measured(tmp_path: Path, store: str) -> None:
    def crash(engine: Engine) -> None:
        if engine.state.iteration == 3:
            raise ValueError("the end")

    trainer, tracker = tiny_training(ckpt_dir=tmp_path, tensorboard=True, tracking_uri=store, during=crash)
    with pytest.raises(ValueError, match="the end"):
        trainer.run()
    events = Events(folder_of(tracker))
    assert events.steps("training/train_loss") == [1]
    assert len(events.hparams) == 2, "a session that began, and did not end"


def test_a_network_that_cannot_be_traced_is_said_and_trained(
    tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untraceable(self: torch.nn.Linear, values: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("not by a tracer")
        return torch.nn.functional.linear(values, self.weight, self.bias)

    monkeypatch.setattr(torch.nn.Linear, "forward", untraceable)
    events = Events(trained(tmp_path, store))
    assert not events.graph
    assert events.steps("training/train_loss") == [1, 2]
    (said,) = [each.getMessage() for each in caplog.records if "graph" in each.getMessage()]
    assert "torch cannot trace it (RuntimeError: not by a tracer)" in said


def test_a_writer_that_fails_ends_its_events_and_not_the_training(
    tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    def full(engine: Engine) -> None:
        if engine.state.iteration == 3:

            def refused(*_: Any, **__: Any) -> None:
                raise OSError("no space left")

            tracker._events._writer.add_scalar = refused  # type: ignore[union-attr, method-assign]

    trainer, tracker = tiny_training(ckpt_dir=tmp_path, tensorboard=True, tracking_uri=store, during=full)
    trainer.run()
    assert Events(folder_of(tracker)).steps("training/train_loss") == [1]
    assert [run.info.status for run in runs(store)] == ["FINISHED"]
    assert sum("no more events" in each.getMessage() for each in caplog.records) == 1


def test_off_there_are_no_files_and_nothing_is_imported(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pipelines.tracking.tensorboard_events", None)  # an import would raise
    trainer, _ = tiny_training(ckpt_dir=tmp_path, tracking_uri=store)
    trainer.run()
    assert not (tmp_path / "tensorboard").exists()
    assert not (tmp_path / "tensorboard.json").exists()
    assert "tensorboard" not in runs(store)[0].data.tags


def test_only_the_first_process_writes(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines.tracking.run_handler, "rank", lambda: 1)
    trainer, tracker = tiny_training(ckpt_dir=tmp_path, tensorboard=True, tracking_uri=store)
    trainer.run()
    assert tracker._events is None
    assert not (tmp_path / "tensorboard").exists()


def test_without_tensorboard_the_knob_is_refused(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pipelines.tracking.tensorboard_events", raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"imaging-bundles\[tensorboard\]"):
        RunTracker("tiny_bundle", ckpt_dir=tmp_path, tensorboard=True, tracking_uri=store)


@pytest.mark.parametrize("knob", [False, None, "false", "", "None"])
def test_the_knob_off(knob: Any, tmp_path: Path) -> None:
    assert events_root(knob, tmp_path) is None


def test_the_knob_on_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    assert events_root(True, tmp_path) == events_root("True", tmp_path) == tmp_path / "tensorboard"
    assert events_root(str(tmp_path / "mine"), None) == tmp_path / "mine"
    with pytest.raises(ConfigError, match="name a folder"):
        events_root(True, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="this is a file"):
        events_root(tmp_path / "file", None)


def test_a_note_that_leads_nowhere_is_no_folder(tmp_path: Path) -> None:
    for text in ("", "[]", '{"folder": 3}', json.dumps({"folder": "gone"})):
        (tmp_path / "tensorboard.json").write_text(text)
        assert events_of(tmp_path) is None


@pytest.fixture(autouse=True)
def warnings_are_caught(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def test_a_code_is_shown_as_the_picture_that_it_is_decoded_to(tmp_path: Path) -> None:
    from pipelines.tracking.tensorboard_events import TensorBoardEvents  # it imports TensorBoard

    torch.manual_seed(0)
    network = EncodedClassifier().eval()
    events = TensorBoardEvents(tmp_path, network=network)
    code = network.features(torch.rand(1, 1, 32, 48))[0]
    seen = events._seen({"image": code, "label": 1})
    assert seen["image"].shape == (1, 32, 48)
    torch.testing.assert_close(seen["image"], network.autoencoder.decode(code[None])[0])
    coloured = {"image": torch.rand(3, 32, 48), "label": 1}
    assert events._seen(coloured) is coloured
