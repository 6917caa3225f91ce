from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import torch
from ignite.engine import Engine, Events
from mlflow import MlflowClient
from monai.handlers import MLFlowHandler
from tiny_training import LEARNING_RATE, artifacts, runs, tiny_training

from pipelines.errors import OutputError, TrackingError
from pipelines.files import FolderLock
from pipelines.tracking import RunTracker, watcher_process
from pipelines.tracking.processes import is_dead, this_process
from pipelines.warm import WarmPython

SCRIPT = Path(__file__).with_name("tiny_training.py")


def test_a_training_is_one_finished_run_with_what_was_promised(store: str, tmp_path: Path) -> None:
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({
        "name": "phantoms", "fingerprint": "sha256:" + "ab" * 32, "phantom": True, "split": {"seed": 3},
        "training": [{}, {}], "validation": [{}], "test": [],
    }))  # fmt: skip
    config = tmp_path / "train.yaml"
    config.write_text("epochs: 2\ntracking_uri: http://anna:secret@host/\n")
    trainer, tracker = tiny_training(
        tracking_uri=store,
        network_name="tiny",
        params={"epochs": 2, "seed": 7, "roi": {"size": [8, 8]}, "mirror": "https://anna:secret@host/x"},
        datalist=datalist,
        ckpt_dir=tmp_path / "models",
        best_checkpoint="final.pt",
        log_checkpoint=True,
        config_files=[str(config)],
        tags={"purpose": "test"},
    )
    trainer.run()

    (run,) = runs(store)
    assert run.info.run_id == tracker.run_id
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("tiny-2")
    assert run.data.params == {
        "network": "tiny", "epochs": "2", "seed": "7", "roi.size": "[8, 8]", "mirror": "https://host/x",
        "max_epochs": "2", "epoch_length": "2", "parameters": "5",
        "data_name": "phantoms", "data_fingerprint": "sha256:" + "ab" * 32, "data_phantom": "True",
        "data_split": '{"seed": 3}', "data_training_cases": "2", "data_validation_cases": "1", "data_test_cases": "0",
    }  # fmt: skip
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("phantoms", ("ab" * 32)[:36])
    metrics = run.data.metrics
    assert metrics.keys() == {
        "train_loss", "learning_rate", "epoch_seconds", "val_error", "best_val_error", "best_epoch"
    }  # fmt: skip
    assert metrics["learning_rate"] == LEARNING_RATE
    history = MlflowClient(tracking_uri=store).get_metric_history(tracker.run_id, "val_error")
    assert [each.step for each in history] == [1, 2]
    assert metrics["best_val_error"] == min(each.value for each in history)
    tags = run.data.tags
    assert tags["version_torch"] == torch.__version__
    assert {"version_monai", "version_numpy", "version_mlflow", "version_pipelines"} <= tags.keys()
    assert (tags["watched_hostname"], tags["watched_pid"]) == (socket.gethostname(), str(os.getpid()))
    assert not {"hostname", "pid", "incomplete"} & tags.keys()
    mine = [name for name in tags if not name.startswith("mlflow.")]
    assert all(name.startswith("watched_") for name in sorted(mine)[-6:]), "what a reader asks for comes first"
    assert (tags["purpose"], tags["config_files"]) == ("test", "train.yaml")
    assert tags["best_checkpoint"] == str(tmp_path / "models" / "final.pt")
    assert artifacts(store, run.info.run_id) == {"config", "checkpoint", "learning_curve.png"}
    assert artifacts(store, run.info.run_id, "config") == {"config/train.yaml", "config/command.txt"}
    kept = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/config/train.yaml")
    assert kept == "epochs: 2\ntracking_uri: http://host/\n"
    assert json.loads((tmp_path / "models" / "run.json").read_text())["run_id"] == run.info.run_id
    assert (tmp_path / "mlruns" / "artifacts" / run.info.run_id).is_dir()
    assert list(Path().iterdir()) == []  # nothing was dropped in the current directory


def test_the_epochs_loss_is_the_mean_over_its_iterations(store: str) -> None:
    seen: list[float] = []
    trainer, _ = tiny_training(
        epochs=1, tracking_uri=store, during=lambda engine: seen.append(float(engine.state.output[0]["loss"]))
    )
    trainer.run()
    (run,) = runs(store)
    assert len(seen) == 2
    assert run.data.metrics["train_loss"] == pytest.approx(sum(seen) / 2)


def test_the_next_run_joins_nothing(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, tracker = tiny_training(tracking_uri=store, run_name="same")
    first.run()
    client = MlflowClient(tracking_uri=store)
    left = client.create_run(client.get_experiment_by_name("tiny_bundle").experiment_id, run_name="same")
    monkeypatch.setenv("MLFLOW_RUN_ID", left.info.run_id)
    second, _ = tiny_training(tracking_uri=store, run_name="same")
    second.run()
    second.run()  # the same trainer once more is another invocation

    found = {run.info.run_id: run for run in runs(store)}
    assert len(found) == 4
    assert client.get_run(left.info.run_id).info.status == "RUNNING"
    assert not client.get_run(left.info.run_id).data.metrics
    assert [found.pop(left.info.run_id).info.status, *(run.info.status for run in found.values())] == [
        "RUNNING", "FINISHED", "FINISHED", "FINISHED"
    ]  # fmt: skip
    assert len(client.get_metric_history(tracker.run_id, "train_loss")) == 2


def test_a_crash_is_failed_whatever_stands_before_the_tracker(store: str, tmp_path: Path) -> None:
    def crash(engine: Engine) -> None:
        if engine.state.epoch == 2:
            raise ZeroDivisionError("patient Anna")

    trainer, _ = tiny_training(tracking_uri=store, during=crash, ckpt_dir=tmp_path / "models")
    with pytest.raises(ZeroDivisionError):
        trainer.run()
    (run,) = runs(store)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "ZeroDivisionError"
    assert "train_loss" in run.data.metrics
    assert "learning_curve.png" in artifacts(store, run.info.run_id)


@pytest.mark.parametrize(
    ("number", "error", "reason"),
    [(signal.SIGTERM, SystemExit, "SIGTERM"), (signal.SIGINT, KeyboardInterrupt, "KeyboardInterrupt")],
)
def test_a_signal_is_killed(store: str, number: signal.Signals, error: type[BaseException], reason: str) -> None:
    # Python leaves SIGINT ignored where the shell did (a job in the background, as CI may be)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    trainer, _ = tiny_training(tracking_uri=store, during=lambda _: os.kill(os.getpid(), number))
    with pytest.raises(error) as raised:
        trainer.run()
    (run,) = runs(store)
    assert run.info.status == "KILLED"
    assert run.data.tags["exit_reason"] == reason
    assert signal.getsignal(signal.SIGTERM) == before
    if number == signal.SIGTERM:
        assert raised.value.code == 128 + signal.SIGTERM


def test_sigkill_is_killed_within_seconds_and_nothing_lives_on(store: str, tmp_path: Path, warm: WarmPython) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    training = subprocess.Popen(
        [warm.python, str(SCRIPT), store, str(tmp_path / "models")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True,
    )  # fmt: skip
    assert training.stdout is not None
    run_id = training.stdout.readline().strip()
    client = MlflowClient(tracking_uri=store)
    assert client.get_run(run_id).info.status == "RUNNING"
    training.kill()
    training.wait()
    assert _status(client, run_id, within=30) == "KILLED"
    assert "SIGKILL" in client.get_run(run_id).data.tags["exit_reason"]
    training.stdout.close()
    assert _gone(run_id)


def _status(client: MlflowClient, run_id: str, within: float) -> str:
    deadline = time.monotonic() + within
    while client.get_run(run_id).info.status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    return str(client.get_run(run_id).info.status)


def _gone(word: str) -> bool:
    """Whether no process has ``word`` in its command any more (within 10 s)."""
    for _ in range(100):
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        if not any(word.encode() in command for command in commands):
            return True
        time.sleep(0.1)
    return False


def test_the_watcher_ends_with_the_run(store: str) -> None:
    trainer, tracker = tiny_training(tracking_uri=store)
    trainer.run()
    assert tracker.run_id is not None
    assert _gone(tracker.run_id)


def test_what_a_dead_process_left_is_closed_and_nothing_else(store: str) -> None:
    client = MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("another_bundle")

    def left(**tags: str) -> str:
        return str(
            client.create_run(experiment, tags={"tracker": "imaging-bundles", **this_process(), **tags}).info.run_id
        )

    expected = {
        left(watched_process_start="1"): "KILLED",  # our number was given to another process, before us
        left(watched_pid="4000000"): "KILLED",  # above the largest number there is
        left(watched_boot_id="before"): "KILLED",
        left(): "RUNNING",  # this process
        left(watched_hostname="elsewhere", watched_pid="4000000"): "RUNNING",
        left(watched_pid_namespace="a container", watched_pid="4000000"): "RUNNING",
        left(tracker="another program", watched_pid="4000000"): "RUNNING",
    }
    trainer, _ = tiny_training(tracking_uri=store)
    trainer.run()
    assert {run_id: client.get_run(run_id).info.status for run_id in expected} == expected


def test_a_process_described_by_an_earlier_version_is_known() -> None:
    early = {name.removeprefix("watched_"): value for name, value in this_process().items()}
    assert not is_dead(early)
    assert is_dead({**early, "pid": "4000000"})
    assert not is_dead({**early, "hostname": "elsewhere", "pid": "4000000"})
    assert not is_dead({})


def test_an_unreachable_server_is_said_once_and_stops_nothing(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "run.json").write_text("{}")  # of an earlier training: evaluation must not find it
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        uri = f"http://anna:secret@127.0.0.1:{taken.getsockname()[1]}"
        trainer, tracker = tiny_training(epochs=3, tracking_uri=uri, ckpt_dir=tmp_path / "models")
        start = time.monotonic()
        with caplog.at_level(logging.WARNING):
            trainer.run()
    assert time.monotonic() - start < 15
    assert trainer.state.epoch == 3
    assert tracker.run_id is None
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "cannot be used" in record.message
    assert "secret" not in record.message
    assert not (tmp_path / "models" / "run.json").exists()
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_store_that_cannot_be_written_is_said_once(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    trainer, _ = tiny_training(tracking_uri=f"sqlite:///{tmp_path}/file/mlflow.db")
    with caplog.at_level(logging.WARNING, logger="pipelines"):
        trainer.run()
    assert trainer.state.epoch == 2
    assert len([each for each in caplog.records if each.name.startswith("pipelines")]) == 1


def test_a_store_that_fails_midway_is_closed_by_the_watcher(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database, aside = tmp_path / "mlruns" / "mlflow.db", tmp_path / "mlruns" / "aside.db"

    def away(engine: Engine) -> None:
        assert tracker._writer is not None
        if engine.state.epoch == 2 and database.exists() and not aside.exists():
            tracker._writer._client = None  # the next call opens the store afresh, and finds a folder in its place
            database.rename(aside)
            database.mkdir()

    trainer, tracker = tiny_training(epochs=3, tracking_uri=store, during=away)

    def back(engine: Engine) -> None:
        database.rmdir()
        aside.rename(database)

    trainer.add_event_handler(Events.COMPLETED, back)
    with caplog.at_level(logging.WARNING, logger="pipelines"):
        trainer.run()
    assert trainer.state.epoch == 3
    assert len([each for each in caplog.records if each.name.startswith("pipelines")]) == 1
    client = MlflowClient(tracking_uri=store)
    assert tracker.run_id is not None
    assert _status(client, tracker.run_id, within=30) == "FINISHED"


def test_monais_own_tracking_makes_no_second_run(store: str, caplog: pytest.LogCaptureFixture) -> None:
    """What ``monai.bundle run --tracking mlflow`` does: it adds a handler to the trainer, and one to the evaluator."""
    trainer, tracker = tiny_training(epochs=1, tracking_uri=store)
    assert tracker.evaluator is not None
    theirs = MLFlowHandler(tracking_uri=store, iteration_log=lambda engine, event: True, output_transform=lambda _: 0.0)
    theirs.attach(trainer)
    MLFlowHandler(tracking_uri=store, iteration_log=False).attach(tracker.evaluator)
    with caplog.at_level(logging.WARNING, logger="pipelines"):
        trainer.run()
    assert [run.info.run_id for run in runs(store)] == [tracker.run_id]
    assert [record.message for record in caplog.records if "--tracking mlflow is not needed" in record.message]


def test_an_experiment_is_described(store: str) -> None:
    client = MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("tiny_bundle")  # by an earlier version
    for words in ("what it does", "other words, which do not replace what somebody may have written"):
        trainer, _ = tiny_training(epochs=1, tracking_uri=store, description=words)
        trainer.run()
        assert client.get_experiment(experiment).tags["mlflow.note.content"] == "what it does"


def test_only_rank_0_records(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    trainer, _ = tiny_training(tracking_uri=store)
    trainer.run()
    assert runs(store) == []


def test_a_resumed_run_names_what_it_goes_on_from(store: str, tmp_path: Path) -> None:
    first, tracker = tiny_training(tracking_uri=store, ckpt_dir=tmp_path / "models")
    first.run()
    checkpoint = tmp_path / "models" / "final.pt"
    second, resumed = tiny_training(tracking_uri=store, ckpt_dir=tmp_path / "models", resumed_from=checkpoint)
    second.run()
    assert resumed.run_id != tracker.run_id
    tags = MlflowClient(tracking_uri=store).get_run(resumed.run_id).data.tags
    assert (tags["resumed_from"], tags["resumed_run"]) == (str(checkpoint), tracker.run_id)


def test_a_checkpoint_of_an_earlier_training_is_not_this_ones(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    best = tmp_path / "best.pt"
    best.write_bytes(b"weights")
    os.utime(best, (1_000_000_000, 1_000_000_000))
    for resumed_from, expected in ((None, None), (best, str(best))):
        trainer, tracker = tiny_training(
            epochs=1, tracking_uri=store, ckpt_dir=tmp_path, best_checkpoint="best.pt", resumed_from=resumed_from
        )
        trainer.run()
        tags = MlflowClient(tracking_uri=store).get_run(tracker.run_id).data.tags
        assert tags.get("best_checkpoint") == expected
    assert caplog.text.count("was not written by this training") == 1


def test_values_that_mlflow_would_refuse(store: str) -> None:
    trainer, _ = tiny_training(
        epochs=1,
        tracking_uri=store,
        params={"long": "x" * 7000, "odd: name": 1, **{f"knob_{i}": i for i in range(150)}},
        during=lambda engine: engine.state.metrics.update(
            bad=math.nan, worse=math.inf, per_class=torch.tensor([0.25, 0.75]), words=["no number"]
        ),
    )
    trainer.run()
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert (len(run.data.params["long"]), run.data.params["odd_ name"]) == (6000, "1")
    assert run.data.params["knob_149"] == "149"
    assert math.isnan(run.data.metrics["bad"])
    assert math.isnan(run.data.metrics["worse"])
    assert (run.data.metrics["per_class_0"], run.data.metrics["per_class_1"]) == (0.25, 0.75)
    assert "words" not in run.data.metrics


def test_a_folder_as_store_is_refused_before_anything_runs() -> None:
    with pytest.raises(TrackingError, match=r"sqlite:///"):
        RunTracker("tiny_bundle", tracking_uri="./mlruns")


def test_two_trainings_in_one_folder_refuse_each_other(store: str, tmp_path: Path) -> None:
    trainer, _ = tiny_training(tracking_uri=store, ckpt_dir=tmp_path)
    other, _ = tiny_training(tracking_uri=store, ckpt_dir=tmp_path)
    said: list[OutputError] = []

    def begin_another() -> None:
        with pytest.raises(OutputError, match="choose another ckpt_dir") as caught:
            other.run()
        said.append(caught.value)

    trainer.add_event_handler(Events.EPOCH_STARTED(once=1), begin_another)
    trainer.run()
    assert [error.where for error in said] == [str(tmp_path)]
    assert len(runs(store)) == 1, "the refused training is no run"
    other.run()
    FolderLock(tmp_path, ".training.lock").close()  # free again
    assert not (tmp_path / ".training.lock").exists()


def test_a_watcher_does_not_make_a_store_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(sys, "path", list(sys.path))
    watcher_process.close("a run of it", "", "vanished")
    assert list(tmp_path.iterdir()) == []
