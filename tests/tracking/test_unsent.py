"""A store that dies during a training: the run is never closed as whole, and what is missing is written later."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ignite.engine import Engine
from mlflow import MlflowClient
from mlflow.entities import Run
from tiny_training import artifacts, runs, tiny_training

from pipelines.__main__ import main
from pipelines.errors import TrackingError
from pipelines.tracking import log_evaluation
from pipelines.tracking.entries import Entry, evaluation_entry
from pipelines.tracking.journal import Head, Journal, journals, send_file
from pipelines.tracking.run_file import read_run_file
from pipelines.tracking.run_writer import RunWriter, send_waiting


class Database:
    """A SQLite store that can be taken away: a folder then lies in its place."""

    def __init__(self, folder: Path) -> None:
        self.path, self.aside = folder / "mlruns" / "mlflow.db", folder / "mlruns" / "aside.db"

    def away(self) -> None:
        self.path.rename(self.aside)
        self.path.mkdir()

    def back(self) -> None:
        self.path.rmdir()
        self.aside.rename(self.path)


def train(store: str, tmp_path: Path, database: Database, lost_in: int, **more: object) -> str | None:
    """A training of four epochs whose store is taken away in the epoch ``lost_in``, for good; the run's id."""

    def during(engine: Engine) -> None:
        if engine.state.epoch == lost_in and not database.aside.exists():
            assert tracker._writer is not None
            tracker._writer._client = None  # else SQLite goes on writing to the file that it has open
            database.away()

    if lost_in == 0:
        database.away()
    trainer, tracker = tiny_training(
        epochs=4, tracking_uri=store, during=during, ckpt_dir=tmp_path / "models", system_metrics=False, **more
    )
    trainer.run()
    return tracker.run_id


def epochs(client: MlflowClient, run: Run) -> list[int]:
    return [each.step for each in client.get_metric_history(run.info.run_id, "train_loss")]


def test_a_run_whose_store_died_is_incomplete_until_it_is_sent(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.tracking.run_writer.RunWatch", _NoWatch)
    database = Database(tmp_path)
    run_id = train(store, tmp_path, database, lost_in=2)
    database.back()
    client = MlflowClient(tracking_uri=store)
    (run,) = runs(store)
    assert (run.info.run_id, run.info.status, epochs(client, run)) == (run_id, "RUNNING", [1])
    assert str(tmp_path / "models") in run.data.tags["incomplete"]
    (journal,) = journals(tmp_path, below=True)
    ended = json.loads(journal.read_text().splitlines()[-1])
    assert ended["data"] == {"status": "FINISHED"}

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert main(["sync", str(tmp_path)]) == 0
    assert "written" in capsys.readouterr().out
    (run,) = runs(store)
    assert (run.info.status, epochs(client, run)) == ("FINISHED", [1, 2, 3, 4])
    assert run.info.end_time == ended["at"]
    assert "incomplete" not in run.data.tags
    assert {"best_val_error", "best_epoch"} <= run.data.metrics.keys()
    assert "learning_curve.png" in artifacts(store, run.info.run_id)
    assert not (tmp_path / "models" / "unsent").exists()
    assert main(["sync", str(tmp_path)]) == 0
    assert "nothing" in capsys.readouterr().out


class _NoWatch:
    """A machine that went down: nobody writes after the training."""

    def __init__(self, *_: object) -> None:
        pass

    def close(self, word: str) -> None:
        pass


@pytest.mark.slow
def test_the_watcher_sends_what_the_training_could_not(store: str, tmp_path: Path) -> None:
    """It looks when the training ends, which it does here by SIGTERM, with no time to look itself."""
    database = Database(tmp_path)

    def during(engine: Engine) -> None:
        assert tracker._writer is not None
        if engine.state.iteration == 3:
            tracker._writer._client = None
            database.away()
        if engine.state.iteration == 6:
            database.back()
            os.kill(os.getpid(), signal.SIGTERM)

    trainer, tracker = tiny_training(
        epochs=9, tracking_uri=store, during=during, ckpt_dir=tmp_path / "models", system_metrics=False
    )
    with pytest.raises(SystemExit):
        trainer.run()
    client = MlflowClient(tracking_uri=store)
    assert tracker.run_id is not None
    deadline = time.monotonic() + 60
    while client.get_run(tracker.run_id).info.status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.2)
    run = client.get_run(tracker.run_id)
    assert (run.info.status, epochs(client, run)) == ("KILLED", [1, 2])
    assert run.data.tags["exit_reason"] == "SIGTERM"


def test_a_store_that_never_answered_gets_the_whole_run_from_the_next_training(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(tmp_path)
    assert train(store, tmp_path, database, lost_in=0, run_name="first", params={"seed": 7}) is None
    assert read_run_file(tmp_path / "models") is None
    database.back()
    assert runs(store) == []
    trainer, _ = tiny_training(epochs=1, tracking_uri=store, ckpt_dir=tmp_path / "models", run_name="second")
    trainer.run()
    found = {run.info.run_name: run for run in runs(store)}
    first, second = found["first"], found["second"]
    assert (first.info.status, first.data.params["seed"]) == ("FINISHED", "7")
    assert epochs(MlflowClient(tracking_uri=store), first) == [1, 2, 3, 4]
    assert first.info.start_time < first.info.end_time <= second.info.start_time
    record = read_run_file(tmp_path / "models")
    assert record is not None
    assert record.run_id == second.info.run_id


def test_a_store_that_comes_back_in_time_lacks_nothing(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.tracking.run_writer._FIRST_WAIT", 0.0)
    database = Database(tmp_path)
    database.away()

    def during(engine: Engine) -> None:
        if engine.state.iteration == 3:
            database.back()

    trainer, tracker = tiny_training(
        epochs=4, tracking_uri=store, during=during, ckpt_dir=tmp_path / "models", system_metrics=False
    )
    trainer.run()
    (run,) = runs(store)
    assert (run.info.status, epochs(MlflowClient(tracking_uri=store), run)) == ("FINISHED", [1, 2, 3, 4])
    record = read_run_file(tmp_path / "models")
    assert record is not None
    assert record.run_id == run.info.run_id == tracker.run_id
    assert not (tmp_path / "models" / "unsent").exists()


def test_an_evaluation_of_a_store_that_is_away_is_sent_too(store: str, tmp_path: Path) -> None:
    trainer, tracker = tiny_training(epochs=1, tracking_uri=store, ckpt_dir=tmp_path / "models", system_metrics=False)
    trainer.run()
    (tmp_path / "cases.csv").write_text("case,dice\na,0.5\n")
    database = Database(tmp_path)
    database.away()
    assert log_evaluation(tmp_path / "models" / "final.pt", {"dice": 0.5}, [tmp_path / "cases.csv"], uri=store) is None
    (tmp_path / "cases.csv").unlink()  # a copy was kept
    database.back()
    send_waiting(tmp_path / "models", store)
    (run,) = runs(store)
    assert (run.info.run_id, run.data.metrics["test_dice"], run.info.status) == (tracker.run_id, 0.5, "FINISHED")
    assert "evaluation/cases.csv" in artifacts(store, run.info.run_id, "evaluation")


def test_the_next_evaluation_sends_what_waits_before_it_takes_its_place(store: str, tmp_path: Path) -> None:
    trainer, tracker = tiny_training(epochs=1, tracking_uri=store, ckpt_dir=tmp_path / "models", system_metrics=False)
    trainer.run()
    database = Database(tmp_path)
    database.away()
    assert log_evaluation(tmp_path / "models" / "final.pt", {"dice": 0.5}, uri=store) is None
    database.back()
    assert log_evaluation(tmp_path / "models" / "final.pt", {"iou": 0.4}, uri=store) == tracker.run_id
    (run,) = runs(store)
    assert run.data.metrics["test_iou"] == 0.4
    history = [each.value for each in MlflowClient(store).get_metric_history(run.info.run_id, "test_dice")]
    assert history[0] == 0.5
    assert math.isnan(history[-1]), "the evaluation of before is no part of this one"


def test_sending_twice_is_sending_once(store: str, tmp_path: Path) -> None:
    """A sending that was cut short after it had begun the run, or written half, is repeated from the start."""
    head = Head(store, owner=True, experiment="tiny", run_name="once", tags={"a": "b"}, started=1000)
    client = MlflowClient(tracking_uri=store)
    for _ in range(2):
        journal = Journal(head, tmp_path)
        journal.add(Entry("params", {"seed": "1"}))
        journal.add(Entry("metrics", {"values": {"loss": 0.5, "bad": math.nan}, "step": 1}, at=2000))
        journal.add(Entry("params", {"seed": "2"}))  # MLflow refuses another value: the rest is written
        journal.add(Entry("tags", {"late": "yes"}))
        journal.close()
        (path,) = journals(tmp_path)
        with path.open("a") as file:
            file.write('{"kind": "tags", "da')  # the process was killed while it wrote
        send_file(path, store)
    (run,) = runs(store)
    assert (run.info.status, run.data.params, run.data.tags["late"]) == ("KILLED", {"seed": "1"}, "yes")
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 1
    assert "store was away" in run.data.tags["exit_reason"]


def test_what_cannot_be_sent_stays_and_is_said(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    gone = Journal(Head(f"sqlite:///{tmp_path / 'gone.db'}", "0" * 32), tmp_path / "gone")
    missing = Journal(Head(store, "0" * 32), tmp_path / "missing")
    held = Journal(Head(store, "0" * 32), tmp_path / "held")
    for each in (gone, missing, held):
        each.add(Entry("tags", {"a": "b"}))
    gone.close(), missing.close()
    damaged = tmp_path / "damaged" / "unsent" / "1" / "journal.jsonl"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{}{\n{}\n")
    assert main(["sync", str(tmp_path)]) == TrackingError.exit_code
    said = capsys.readouterr().err
    for words in ("store of this run is not there", "cannot be written to", "still running", "is damaged"):
        assert words in said
    assert not (tmp_path / "gone.db").exists()
    assert len(journals(tmp_path, below=True)) == 4
    held.clear()


def test_a_journal_sends_its_own_files_only(store: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("of another folder")
    folder = tmp_path / "given"
    journal = Journal(Head(store, owner=True, experiment="tiny", run_name="given"), folder)
    (tmp_path / "curve.txt").write_text("its own")
    journal.add(Entry("file", {"path": str(tmp_path / "curve.txt"), "folder": "kept"}))
    journal.close()
    (path,) = journals(folder)
    honest = path.read_text()
    assert str(tmp_path / "curve.txt") not in honest
    (path.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    for name in (str(tmp_path / "secret.txt"), "../../../secret.txt", "link.txt"):
        path.write_text(honest + json.dumps({"kind": "file", "data": {"path": name, "folder": ""}, "at": 1}) + "\n")
        with pytest.raises(TrackingError, match="no journal of a run"):
            send_file(path, store)
    assert runs(store) == []
    path.write_text(honest)
    send_file(path, store)
    (run,) = runs(store)
    assert artifacts(store, run.info.run_id, "kept") == {"kept/curve.txt"}


def test_a_checkpoint_that_was_passed_on_asks_no_other_store(store: str, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    journal = Journal(Head(f"sqlite:///{other}", owner=True, experiment="tiny", run_name="given"), tmp_path)
    journal.add(Entry("tags", {"a": "b"}))
    journal.close()
    trainer, _ = tiny_training(epochs=1, tracking_uri=store, ckpt_dir=tmp_path, system_metrics=False)
    trainer.run()
    assert len(journals(tmp_path)) == 1
    assert not other.exists()


def test_a_password_is_not_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        writer = RunWriter(f"http://anna:secret@127.0.0.1:{taken.getsockname()[1]}", folder=tmp_path)
        assert writer.start("tiny", "run", {}) is None
        writer.params({"mirror": "https://anna:secret@host/x"})
        writer.text("uri: http://anna:secret@host", "config/a.yaml")
        writer.end("KILLED")
    (journal,) = journals(tmp_path)
    assert "secret" not in journal.read_text() + caplog.text


@contextmanager
def serving(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process
    finally:
        with suppress(ProcessLookupError):  # the test has ended it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.thorough
@pytest.mark.slow
def test_a_server_that_is_killed_in_mid_training(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.tracking.run_writer.RunWatch", _NoWatch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with serving(tmp_path, port) as server:

        def during(engine: Engine) -> None:
            if engine.state.epoch == 5 and server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()

        trainer, tracker = tiny_training(epochs=40, tracking_uri=uri, during=during, ckpt_dir=tmp_path / "models")
        trainer.run()
    with serving(tmp_path, port):
        client = MlflowClient(tracking_uri=uri)
        run = client.get_run(tracker.run_id)
        assert (run.info.status, epochs(client, run)) == ("RUNNING", [1, 2, 3, 4])
        assert "incomplete" in run.data.tags
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert main(["sync", str(tmp_path / "models")]) == 0
        run = client.get_run(tracker.run_id)
        assert (run.info.status, epochs(client, run)) == ("FINISHED", list(range(1, 41)))
        assert "incomplete" not in run.data.tags
        assert "learning_curve.png" in {each.path for each in client.list_artifacts(tracker.run_id)}


@pytest.mark.parametrize("folder", ["..", ".", "", "evaluation/../..", "/"])
def test_a_journal_removes_nothing_but_a_folder_of_artefacts(store: str, tmp_path: Path, folder: str) -> None:
    trainer, tracker = tiny_training(epochs=1, tracking_uri=store, ckpt_dir=tmp_path / "models", system_metrics=False)
    trainer.run()
    before = artifacts(store, tracker.run_id)
    with pytest.raises(ValueError, match="no folder of artefacts"):
        evaluation_entry({}, folder).write(MlflowClient(tracking_uri=store), str(tracker.run_id))
    assert artifacts(store, tracker.run_id) == before != set()
