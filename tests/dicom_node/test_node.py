"""A node as a whole, with a predictor that is no network: each series is answered, once, whatever happens."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pydicom
import pytest
from dicom_peers import (
    BORN,
    PATIENT,
    SETTLE,
    Call,
    Receiver,
    StubPredictor,
    ct_series,
    refusing_fault,
    send,
    settings,
    states,
    until,
)
from pynetdicom import AE

from pipelines.__main__ import main
from pipelines.dicom_node.arrivals import CUT
from pipelines.dicom_node.node import Node
from pipelines.errors import OutputError


@pytest.fixture
def stub() -> StubPredictor:
    return StubPredictor()


def test_a_received_series_is_predicted_and_its_results_sent(tmp_path, stub) -> None:
    with Receiver() as receiver, Node(tmp_path, stub, settings(destination=receiver.address)) as node:
        series = [ct_series(3), ct_series(2)]
        for each in series:
            send(node.port, each)
        until(lambda: states(node) == ["done", "done"])
        assert sorted(stub.calls) == sorted((each[0].SeriesInstanceUID, len(each)) for each in series)
        files = list((tmp_path / "results").rglob("*.dcm"))
        assert receiver.uids == {pydicom.dcmread(path).SOPInstanceUID: 1 for path in files}
        assert len(files) == 2


def test_what_is_stored_is_what_was_sent(tmp_path, stub) -> None:
    with Node(tmp_path, stub, settings()) as node:
        (sent,) = ct_series(1)
        send(node.port, [sent])
        (path,) = (tmp_path / "received").rglob("*.dcm")
        assert pydicom.dcmread(path) == sent
        assert list((tmp_path / "incoming").iterdir()) == []


def test_names_are_digests_and_files_are_their_owners_alone(tmp_path, stub) -> None:
    with Node(tmp_path, stub, settings()) as node:
        evil = ct_series(1, series="../../../etc/passwd", study="/tmp")
        with Call(node.port) as call:
            assert call.store(evil[0]) == 0
        send(node.port, ct_series(1))
        until(lambda: len(list((tmp_path / "results").rglob("*.dcm"))) == 2)
        paths = list(tmp_path.rglob("*"))
        assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
        assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}
        for path in (each for each in paths if "received" in each.parts and each.is_file()):
            parts = path.relative_to(tmp_path / "received").with_suffix("").as_posix().replace("-", "/").split("/")
            assert [len(part) for part in parts] == [16, 16, 16]
            assert set("".join(parts)) <= set("0123456789abcdef")

    tmp_path.chmod(0o755)
    with Node(tmp_path, stub, settings()):
        assert tmp_path.stat().st_mode & 0o777 == 0o755  # somebody's, who may have other things in it
        assert (tmp_path / "received").stat().st_mode & 0o777 == 0o700


def test_a_received_file_that_is_gone_can_be_sent_again(tmp_path, stub) -> None:
    series = ct_series(1)
    with Node(tmp_path, stub, settings(settle=60)) as node:
        send(node.port, series)
        (path,) = (tmp_path / "received").rglob("*.dcm")
        path.unlink()
        send(node.port, series)
        assert path.is_file()


def test_nothing_in_the_log_or_the_state_points_to_a_patient(tmp_path, stub, caplog) -> None:
    series = ct_series(2)
    stub.fault = refusing_fault(series[0])
    with caplog.at_level(logging.INFO), Node(tmp_path, stub, settings()) as node:
        send(node.port, series)
        send(node.port, ct_series(1, series=series[0].SeriesInstanceUID))
        with Call(node.port) as call:
            no_series = ct_series(1)[0]
            del no_series.SeriesInstanceUID
            assert call.store(no_series) == 0xA900
        until(lambda: "failed: the series" in caplog.text)
        said = caplog.text + json.dumps([dict(row) for row in node.queue._rows("SELECT * FROM series")])
    assert "failed: the series uid-" in said
    assert "send it again" in said
    assert '"fault": "the series uid-' in said
    for word in (PATIENT, BORN, "Grün", "Anna", series[0].SeriesInstanceUID, series[0].SOPInstanceUID):
        assert word not in said, word


def test_a_series_that_fails_is_kept_and_stops_nothing(tmp_path, stub, capsys) -> None:
    bad, good = ct_series(2), ct_series(3)
    stub.fault = ZeroDivisionError("at its core")
    with Node(tmp_path, stub, settings()) as node:
        send(node.port, bad)
        until(lambda: states(node) == ["failed"])
        stub.fault = None
        send(node.port, good)
        until(lambda: states(node) == ["done", "failed"])
        assert main(["listen", "--status", "--json", "--out", str(tmp_path)]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["counts"] == {"receiving": 0, "predicting": 0, "sending": 0, "done": 1, "failed": 1}
        (failed,) = (each for each in report["series"] if each["state"] == "failed")
        assert failed["fault"].startswith("ZeroDivisionError")
        assert failed["instances"] == 2
        assert main(["listen", "--status", "--out", str(tmp_path)]) == 0
        assert "1 done, 1 failed" in capsys.readouterr().out
    with Node(tmp_path, stub, settings(), retry_failed=True) as node:
        until(lambda: states(node) == ["done", "done"])


def test_a_late_instance_is_answered_anew_and_one_that_is_known_is_not(tmp_path, stub) -> None:
    series = ct_series(3)
    with Receiver() as receiver, Node(tmp_path, stub, settings(destination=receiver.address)) as node:
        send(node.port, series[:2])
        until(lambda: states(node) == ["done"])
        send(node.port, series[:2])
        time.sleep(3 * SETTLE)
        assert (states(node), len(stub.calls)) == (["done"], 1)
        send(node.port, series[2:])
        until(lambda: [count for _, count in stub.calls] == [2, 3] and states(node) == ["done"])
        assert sorted(receiver.uids.values()) == [1, 1]


def test_more_that_arrives_during_a_prediction_makes_one_answer(tmp_path, stub) -> None:
    series = ct_series(3)
    stub.hold.set()
    with Receiver() as receiver, Node(tmp_path, stub, settings(destination=receiver.address)) as node:
        send(node.port, series[:2])
        until(lambda: stub.calls)
        send(node.port, series[2:])  # reception goes on while it predicts
        stub.hold.clear()
        until(lambda: states(node) == ["done"] and len(stub.calls) == 2)
        assert list(receiver.uids.values()) == [1]


def test_a_call_that_is_cut_off_is_waited_for(tmp_path, stub) -> None:
    series = ct_series(3)
    with Node(tmp_path, stub, settings()) as node:
        with Call(node.port) as call:
            assert call.store(series[0]) == 0
            call.association.abort()
        time.sleep(SETTLE * (CUT - 3))
        assert stub.calls == []
        send(node.port, series)
        until(lambda: states(node) == ["done"])
        assert [count for _, count in stub.calls] == [3]


def test_what_was_not_done_is_done_after_the_next_start(tmp_path, stub) -> None:
    stub.hold.set()
    with Node(tmp_path, stub, settings()) as node:
        send(node.port, ct_series(3))
        until(lambda: stub.calls)
        send(node.port, ct_series(2))
        begun = time.monotonic()
    assert time.monotonic() - begun < 5  # a prediction is left, not waited for
    stub.hold.clear()
    with Receiver() as receiver, Node(tmp_path, stub, settings(destination=receiver.address)) as node:
        until(lambda: states(node) == ["done", "done"])
        assert list(receiver.uids.values()) == [1, 1]
    assert [count for _, count in sorted(stub.calls[1:], key=lambda call: call[1])] == [2, 3]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_results_that_were_written_before_a_kill_are_the_answer(tmp_path, stub, monkeypatch) -> None:
    """Killed between writing the results and noting them: they are found, not made again under new UIDs."""
    with Node(tmp_path, stub, settings()) as node:
        monkeypatch.setattr(node.queue, "answered", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        send(node.port, ct_series(3))
        until(lambda: list((tmp_path / "results").rglob("*.dcm")))
        (written,) = (tmp_path / "results").rglob("*.dcm")
        until(lambda: states(node) == ["predicting"])
    with Receiver() as receiver, Node(tmp_path, stub, settings(destination=receiver.address)) as node:
        until(lambda: states(node) == ["done"])
        assert receiver.uids == {pydicom.dcmread(written).SOPInstanceUID: 1}
    assert len(stub.calls) == 1


def test_strays_of_a_kill_are_removed_at_the_start(tmp_path, stub) -> None:
    with Node(tmp_path, stub, settings()) as node:
        send(node.port, ct_series(1))
        until(lambda: states(node) == ["done"])
    (kept,) = (tmp_path / "received").rglob("*.dcm")
    for stray in (tmp_path / "received" / "0" / "a.dcm", tmp_path / "incoming" / "b.dcm", kept.with_name("c.dcm")):
        stray.parent.mkdir(exist_ok=True)
        stray.write_text("half")
    with Node(tmp_path, stub, settings()) as node:
        assert list((tmp_path / "received").rglob("*.dcm")) == [kept]
        assert list((tmp_path / "incoming").iterdir()) == []
        assert states(node) == ["done"]


def test_one_process_a_folder(tmp_path, stub) -> None:
    with Node(tmp_path, stub, settings()), pytest.raises(OutputError, match="another call is writing here"):
        Node(tmp_path, stub, settings()).__enter__()
    with Node(tmp_path, stub, settings()) as node:
        ae = AE("X")
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", node.port, ae_title="NODE")
        assert association.send_c_echo().Status == 0
        association.release()


def test_what_was_answered_long_ago_is_deleted_where_it_is_asked_for(tmp_path, stub, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.dicom_node.node._CLEAN", 0.2)
    with Receiver() as receiver, Node(tmp_path, stub, settings(destination=receiver.address, keep=0.0)) as node:
        send(node.port, ct_series(3))
        until(lambda: states(node) == ["done"])
        until(lambda: not list(tmp_path.rglob("*.dcm")))
    with Node(tmp_path / "stay", stub, settings(keep=0.0)) as node:
        send(node.port, ct_series(3))
        until(lambda: not list(Path(node.folder / "received").rglob("*.dcm")))
        assert len(list((tmp_path / "stay" / "results").rglob("*.dcm"))) == 1  # sent to nobody
        stub.fault = ZeroDivisionError()
        send(node.port, ct_series(3))
        until(lambda: states(node) == ["done", "failed"])
        until(lambda: not list(Path(node.folder / "received").rglob("*.dcm")))
