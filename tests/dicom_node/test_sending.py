"""Results reach their destination: once, however often it is away, and an object that it refuses stops no other."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from dicom_peers import Receiver, StubPredictor, ct_series, result_of, send, settings, states, until
from pydicom.uid import SecondaryCaptureImageStorage

from pipelines.dicom_node import sender
from pipelines.dicom_node.callers import Address
from pipelines.dicom_node.node import Node
from pipelines.dicom_node.predictor import Answer


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(sender, "LONGEST_WAIT", 0.4)
    monkeypatch.setattr(sender, "_NAP", 0.1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_destination_that_is_down_is_waited_for(tmp_path, caplog) -> None:
    port = free_port()
    stub = StubPredictor()
    with caplog.at_level("INFO"), Node(tmp_path, stub, settings(destination=Address("R", "127.0.0.1", port))) as node:
        for _ in range(2):
            send(node.port, ct_series(2))
        until(lambda: states(node) == ["sending", "sending"] and caplog.text.count("tried again in") > 3)
        with Receiver(port=port) as receiver:
            until(lambda: states(node) == ["done", "done"])
            assert list(receiver.uids.values()) == [1, 1]
        until(lambda: "answers again" in caplog.text)
    waits = [record.args[2] for record in caplog.records if "tried again in" in record.message]
    assert waits[:4] == [0.05, 0.1, 0.2, 0.4]
    assert max(waits) == 0.4


def test_out_of_resources_is_tried_again_and_a_refusal_makes_the_series_fail(tmp_path) -> None:
    stub = StubPredictor()
    with Receiver() as receiver, Node(tmp_path, stub, settings(destination=receiver.address)) as node:
        receiver.status = 0xA700
        send(node.port, ct_series(2))
        until(lambda: len(receiver.seen) > sender.MOST_REFUSALS + 2, 30)
        assert states(node) == ["sending"]
        receiver.status = 0xA900
        until(lambda: states(node) == ["failed"])
        receiver.status = 0
        send(node.port, ct_series(1))
        until(lambda: states(node) == ["done", "failed"])
        (fault,) = (row["fault"] for row in node.queue._rows("SELECT fault FROM series WHERE state = 'failed'"))
        assert fault == "the destination refuses a result with status 0xA900"


def test_a_warning_is_a_success(tmp_path) -> None:
    with Receiver() as receiver, Node(tmp_path, StubPredictor(), settings(destination=receiver.address)) as node:
        receiver.status = 0xB000
        send(node.port, ct_series(1))
        until(lambda: states(node) == ["done"])
        assert len(receiver.seen) == 1


def test_a_kind_that_the_destination_does_not_take_fails_by_its_name(tmp_path) -> None:
    class TwoKinds(StubPredictor):
        def __call__(self, series: Path, out: Path, stopped) -> Answer:
            answer = super().__call__(series, out, stopped)
            capture = result_of(ct_series(1)[0])
            capture.SOPClassUID = SecondaryCaptureImageStorage
            capture.save_as(out / "preview.dcm", enforce_file_format=True)
            return answer

    takes = [SecondaryCaptureImageStorage]
    with Receiver(takes=takes) as receiver, Node(tmp_path, TwoKinds(), settings(destination=receiver.address)) as node:
        send(node.port, ct_series(1))
        until(lambda: states(node) == ["failed"])
        assert len(receiver.uids) == 1  # what it takes, it has
        (row,) = node.queue._rows("SELECT fault FROM series")
        assert row["fault"] == "the destination does not take Segmentation Storage"
    with Receiver(takes=["1.2.840.10008.5.1.4.1.1.2"]) as receiver:
        more = settings(destination=receiver.address)
        with Node(tmp_path / "none", StubPredictor(), more) as node:  # nothing of it
            send(node.port, ct_series(1))
            until(lambda: states(node) == ["failed"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_sent_and_not_noted_is_the_same_object_again(tmp_path, monkeypatch) -> None:
    """Killed between sending and noting: what is sent again has the UID that the destination has."""
    stub = StubPredictor()
    with Receiver() as receiver:
        with Node(tmp_path, stub, settings(destination=receiver.address)) as node:
            monkeypatch.setattr(node.queue, "sent", lambda _: (_ for _ in ()).throw(SystemExit))
            send(node.port, ct_series(2))
            until(lambda: receiver.uids)
        with Node(tmp_path, stub, settings(destination=receiver.address)) as node:
            until(lambda: states(node) == ["done"])
        assert list(receiver.uids.values()) == [2]
    assert len(stub.calls) == 1
