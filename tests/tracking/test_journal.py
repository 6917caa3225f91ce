"""Journals that meet a fault, and the evaluation that waited in one."""

from __future__ import annotations

import math
import os
import shutil
import socket
from pathlib import Path

import pytest
from tiny_training import artifacts, runs

from pipelines.errors import TrackingError
from pipelines.tracking import log_evaluation
from pipelines.tracking.entries import Entry
from pipelines.tracking.journal import Head, Journal, journals, send_file
from pipelines.tracking.run_file import RunRecord, write_run_file
from pipelines.tracking.run_writer import send_waiting
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


def begun(store: str, folder: Path) -> str:
    """A run of the store, FINISHED, whose ``run.json`` lies in ``folder``; its id."""
    client = open_store(store)
    run_id = str(client.create_run(experiment_id(client, store, "tiny")).info.run_id)
    client.set_terminated(run_id)
    write_run_file(folder, RunRecord(run_id, "tiny", store, "tiny", "2026-01-01"))
    return run_id
