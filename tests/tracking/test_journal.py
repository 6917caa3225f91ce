"""Journals that meet a fault, and the evaluation that waited in one."""

from __future__ import annotations

import errno
import json
import math
import os
import pydoc
import shutil
import socket
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from tiny_training import artifacts, runs

from pipelines.__main__ import main
from pipelines.errors import TrackingError
from pipelines.tracking import log_evaluation
from pipelines.tracking.entries import CUT, Entry
from pipelines.tracking.journal import JOURNAL, Head, Journal, journals, send_file
from pipelines.tracking.processes import this_process
from pipelines.tracking.run_file import RunRecord, write_run_file
from pipelines.tracking.run_writer import RunWriter, send_waiting
from pipelines.tracking.store import experiment_id, open_store


def test_an_evaluation_that_waited_leaves_nothing_of_those_in_the_store(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(store, tmp_path / "models")
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.touch(), new.touch()
    for dice in (0.5, 0.6):
        log_evaluation(tmp_path / "models", {"dice": dice, "iou": 0.3}, [old], uri=store, label_rule="old")

    def away(*_: object) -> None:
        raise OSError("nothing of the store can be read")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.tracking.run_writer.open_store", away)
        assert log_evaluation(tmp_path / "models", {"dice": 0.9}, [new], uri=store) is None
    (journal,) = journals(tmp_path / "models")
    shutil.copytree(journal.parent, tmp_path / "copy")
    for _ in range(2):  # the second time, as if the first had been cut short at its very end
        shutil.copytree(tmp_path / "copy", journal.parent, dirs_exist_ok=True)
        send_file(journal, store)
        (run,) = runs(store)
        assert run.data.metrics["test_dice"] == 0.9
        assert math.isnan(run.data.metrics["test_iou"])
        assert "test_label_rule" not in run.data.tags
        assert run.data.tags["evaluations"] == "3"
        assert artifacts(store, run_id, "evaluation") == {"evaluation/new.csv", "evaluation/command.txt"}


def test_a_faulty_journal_costs_no_other_evaluation(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = begun(store, tmp_path)
    journal = Journal(Head(store, run_id), tmp_path)
    journal.add(Entry("tags", {"a": "b"}))
    journal.close()

    def fails(*_: object) -> None:
        raise RuntimeError("as no reader of journals expects")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.tracking.run_writer.send_file", fails)
        assert log_evaluation(tmp_path, {"dice": 0.5}, uri=store) == run_id
    assert "as no reader of journals expects" in caplog.text
    (path,) = journals(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"kind": "tags", "data": {"a": "\xff\xfe')
    send_waiting(tmp_path, store)
    (run,) = runs(store)
    assert (run.data.metrics["test_dice"], run.data.tags["a"]) == (0.5, "b")
    assert journals(tmp_path) == []


def test_a_run_that_was_sent_is_not_sent_again_for_want_of_its_record(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(Head(store, owner=True, experiment="tiny", run_name="once"), tmp_path)
    journal.add(Entry("end", {"status": "FINISHED"}))
    journal.close()

    def fails(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("pipelines.tracking.journal.write_run_file", fails)
    (path,) = journals(tmp_path)
    assert send_file(path, store).run == "once"
    assert "read-only" in caplog.text
    assert not (tmp_path / "unsent").exists()


def test_a_forked_worker_does_not_hold_the_journal(store: str, tmp_path: Path) -> None:
    journal = Journal(Head(store, begun(store, tmp_path)), tmp_path)
    journal.add(Entry("tags", {"a": "b"}))
    ours, workers = socket.socketpair()
    worker = os.fork()
    if worker == 0:
        ours.close()
        workers.send(b"forked")
        workers.recv(1)  # lives as long as the test has its end open
        os._exit(0)
    try:
        ours.recv(6)
        (path,) = journals(tmp_path)
        with pytest.raises(TrackingError, match="still running"):  # the worker has let go of its own hold only
            send_file(path, store)
        journal.close()
        assert send_file(path, store).entries == 1
    finally:
        ours.close(), workers.close()
        os.waitpid(worker, 0)


def test_a_journal_that_met_a_full_disk_is_held_and_removed(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(Head(store, begun(store, tmp_path), owner=True), tmp_path)
    journal.add(Entry("tags", {"a": "b"}))

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(journal, "_write", full)
    journal.add(Entry("tags", {"c": "d"}))
    assert journal.place is None
    (path,) = journals(tmp_path)
    with pytest.raises(TrackingError, match="still running"):  # else a sync would close the run as KILLED
        send_file(path, store)
    assert len(journal.entries) == 2, "the training goes on, and writes both when the store is back"
    journal.clear()
    assert not (tmp_path / "unsent").exists()


@pytest.mark.parametrize("free", [0, 40, 5000])
def test_a_run_whose_journal_met_a_full_disk_stays_open(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int
) -> None:
    """Bytes that the disk takes: none, a part of the head, the head and some entries. It ended, but nobody can say."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = open_store(store)
    tags = {**this_process(), "watched_pid": "4000000", "tracker": "imaging-bundles", "incomplete": "not ended"}
    tags["watched_unsent"] = str(tmp_path / "models" / "unsent")
    run_id = client.create_run(experiment_id(client, store, "tiny"), tags=tags).info.run_id
    monkeypatch.setattr("pipelines.tracking.journal.FileIO", lambda *given: FullDisk(*given, free=free))
    journal = Journal(Head(store, run_id, owner=True, description='"cut": false'), tmp_path / "models")
    for epoch in range(1, 100):
        journal.add(Entry("metrics", {"values": {"loss": 0.5}, "step": epoch}))
    journal.add(Entry("end", {"status": "FINISHED"}))
    journal.close()
    if free < 5000:
        assert journals(tmp_path / "models") == [], "nothing that a sync could not read"
        return
    assert main(["sync", str(tmp_path)]) == 0
    assert "the disk was full" in capsys.readouterr().out
    for _ in range(2):
        run = client.get_run(run_id)
        assert (run.info.status, run.data.tags["incomplete"]) == ("RUNNING", CUT)
        assert 10 < len(client.get_metric_history(run_id, "loss")) < 99, "what is known"
        later = RunWriter(store)
        later.start("tiny", "next", {})  # looks for runs whose process is gone
        later.end("FINISHED")
    assert journals(tmp_path / "models") == []


class FullDisk(FileIO):
    """A file on a disk that takes ``free`` bytes more."""

    def __init__(self, *given: Any, free: int) -> None:
        super().__init__(*given)
        self.free = free

    def write(self, content: Any) -> int:
        if self.free == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(content[: self.free])
        self.free -= written
        return written


def test_a_journal_that_is_broken_in_any_way_is_said_and_stops_no_other(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    run_id = begun(store, tmp_path / "models")
    head = json.dumps({"uri": store, "run_id": run_id})
    broken = [
        "", "[" * 100_000, "null", "[1]", '{"uri": 5}', '{"uri": null, "run_id": "1"}',
        json.dumps({"uri": store, "run_id": 5}),
        f"{head}\nnull", f"{head}\n" + '{"kind": "nothing", "data": {}}', f"{head}\n" + '{"kind": "tags", "data": 5}',
        f"{head}\n" + '{"kind": "file", "data": {"path": "a\\u0000b", "folder": ""}}',
        f"{head}\n" + json.dumps({"kind": "file", "data": {"path": "a" * 5000, "folder": 3}}) + "\n{}",
    ]  # fmt: skip
    for number, text in enumerate(broken):
        path = tmp_path / "broken" / "unsent" / f"{number:02d}" / JOURNAL
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (tmp_path / "broken" / "unsent" / "folder" / JOURNAL).mkdir(parents=True)
    whole = Journal(Head(store, run_id), tmp_path / "whole")
    whole.add(Entry("tags", {"sent": "yes"}))
    whole.close()
    assert main(["sync", str(tmp_path)]) == TrackingError.exit_code
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == len(broken) + 1
    assert all(line.startswith("error: ") and "journal.jsonl: " in line for line in said.err.splitlines())
    assert "1 entries written" in said.out
    assert open_store(store).get_run(run_id).data.tags["sent"] == "yes"


@pytest.mark.parametrize("place", ["pipelines.tracking.journal._read", "fcntl.flock"])
def test_a_disk_that_fails_is_said_by_sync_and_stops_no_other(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    run_id = begun(store, tmp_path / "models")
    for name in ("a", "b"):
        journal = Journal(Head(store, run_id), tmp_path / name)
        journal.add(Entry("tags", {name: "yes"}))
        journal.close()
    real, failed = pydoc.locate(place), []

    def fails_once(*given: Any) -> Any:
        if not failed:
            failed.append(given)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*given)

    monkeypatch.setattr(place, fails_once)
    assert main(["sync", str(tmp_path)]) == TrackingError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert "Input/output error" in line
    assert "b" in open_store(store).get_run(run_id).data.tags
    assert main(["sync", str(tmp_path)]) == 0
    assert "a" in open_store(store).get_run(run_id).data.tags


def begun(store: str, folder: Path) -> str:
    """A run of the store, FINISHED, whose ``run.json`` lies in ``folder``; its id."""
    client = open_store(store)
    run_id = str(client.create_run(experiment_id(client, store, "tiny")).info.run_id)
    client.set_terminated(run_id)
    write_run_file(folder, RunRecord(run_id, "tiny", store, "tiny", "2026-01-01"))
    return run_id
