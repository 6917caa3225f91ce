"""The queue: what makes a series new, what a kill leaves, and what is answered once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipelines.dicom_node.queue import MOST_TRIES, Job, ResultObject, SeriesQueue, queue_report
from pipelines.errors import OutputError


@pytest.fixture
def queue(tmp_path: Path) -> SeriesQueue:
    return SeriesQueue(tmp_path)


def store(queue: SeriesQueue, instance: str = "i", content: str = "c", series: str = "s") -> Path | None:
    return queue.store(series, instance, content, queue.folder / "received" / series / f"{instance}-{content}.dcm")


def begun(queue: SeriesQueue, series: str = "s") -> Job:
    job = queue.begin(series)
    assert job is not None
    return job


def result(queue: SeriesQueue, uid: str = "1.2") -> ResultObject:
    return ResultObject(uid, "1.3", "1.4", queue.folder / "results" / f"{uid}.dcm", "s")


def state(queue: SeriesQueue) -> str:
    (series,) = queue_report(queue.folder)["series"]
    return series["state"]


def test_a_series_goes_from_received_to_done(queue) -> None:
    store(queue)
    store(queue, "j")
    assert queue.waiting() == ["s"]
    job = begun(queue)
    assert [path.name for path in job.files] == ["i-c.dcm", "j-c.dcm"]
    assert queue.waiting() == []
    assert queue.begin("s") is None
    assert queue.answered(job, [result(queue), result(queue, "1.5")], send=True)
    assert [each.uid for each in queue.unsent()] == ["1.2", "1.5"]
    assert not queue.sent(queue.unsent()[0])
    assert state(queue) == "sending"
    assert queue.sent(queue.unsent()[0])
    assert (state(queue), queue.unsent()) == ("done", [])


def test_what_is_known_changes_nothing_and_what_is_new_makes_a_new_version(queue) -> None:
    store(queue)
    assert queue.answered(begun(queue), [result(queue)], send=False)
    assert store(queue) is None
    assert state(queue) == "done"
    earlier = store(queue, content="other")
    assert earlier is not None
    assert earlier.name == "i-c.dcm"
    assert state(queue) == "receiving"
    assert [path.name for path in begun(queue).files] == ["i-other.dcm"]


def test_an_answer_to_an_older_version_is_none(queue) -> None:
    store(queue)
    job = begun(queue)
    store(queue, "late")
    assert not queue.answered(job, [result(queue)], send=True)
    assert not queue.failed(job, "torn")
    queue.put_back(job)
    assert (state(queue), queue.unsent()) == ("receiving", [])
    assert len(begun(queue).files) == 2


def test_results_of_an_older_version_that_are_not_sent_are_not_sent_any_more(queue) -> None:
    store(queue)
    queue.answered(begun(queue), [result(queue), result(queue, "1.5")], send=True)
    queue.sent(queue.unsent()[0])
    store(queue, "late")
    assert queue.unsent() == []
    queue.answered(begun(queue), [result(queue, "1.6")], send=True)
    assert [each.uid for each in queue.unsent()] == ["1.6"]
    assert queue.sent(queue.unsent()[0])


def test_what_was_predicted_when_the_process_was_killed_waits_again_but_not_for_ever(queue) -> None:
    store(queue)
    store(queue, series="other")
    queue.released(["other"])
    for _ in range(MOST_TRIES - 1):
        begun(queue)
        assert queue.recover() == ({"s": True, "other": False}, [])
    assert queue.waiting() == ["other", "s"]  # what has brought the process down is not the first to be tried
    begun(queue)
    assert queue.recover() == ({"other": False}, ["s"])
    assert "ended 8 times" in queue_report(queue.folder)["series"][-1]["fault"] + str(queue_report(queue.folder))


def test_an_interrupted_prediction_is_no_try(queue) -> None:
    store(queue)
    for _ in range(2 * MOST_TRIES):
        queue.put_back(begun(queue))
    begun(queue)
    assert queue.recover() == ({"s": True}, [])


def test_failed_series_are_tried_again_where_they_failed(queue) -> None:
    store(queue)
    queue.failed(begun(queue), "torn")
    assert queue_report(queue.folder)["series"][0]["fault"] == "torn"
    assert queue.retry_failed() == 1
    queue.answered(begun(queue), [result(queue)], send=True)
    queue.refused("s", "status 0xA900")
    assert (state(queue), queue.unsent()) == ("failed", [])
    assert queue.retry_failed() == 1
    assert [each.uid for each in queue.unsent()] == ["1.2"]


def test_it_is_on_the_disk_as_it_is_left(tmp_path) -> None:
    queue = SeriesQueue(tmp_path)
    store(queue)
    queue.answered(begun(queue), [result(queue)], send=True)
    again = SeriesQueue(tmp_path)  # the first one was never closed
    assert [each.uid for each in again.unsent()] == ["1.2"]
    assert again.files() == {tmp_path / "received" / "s" / "i-c.dcm"}


def test_what_is_dropped_leaves_the_series_and_its_version(queue) -> None:
    store(queue)
    assert queue.drop_received("s") == ([], [])  # it is not done
    queue.answered(begun(queue), [result(queue)], send=True)
    queue.sent(queue.unsent()[0])
    assert queue.finished_before(0.0) == []
    assert queue.finished_before(4e9) == ["s"]
    received, sent = queue.drop_received("s")
    assert [path.name for path in (*received, *sent)] == ["i-c.dcm", "1.2.dcm"]
    assert queue.finished_before(4e9) == []
    store(queue)
    assert begun(queue).generation == 2


def test_a_queue_that_cannot_be_used_is_said_so(tmp_path) -> None:
    with pytest.raises(OutputError, match="there is no queue here"):
        queue_report(tmp_path)
    (tmp_path / "queue.sqlite").write_text("no database, but long enough to be told from an empty one" * 20)
    with pytest.raises(OutputError, match="cannot be used"):
        SeriesQueue(tmp_path)
    with pytest.raises(OutputError, match="cannot be read"):
        queue_report(tmp_path)
    newer = tmp_path / "newer"
    SeriesQueue(newer).close()
    sqlite3.connect(newer / "queue.sqlite").execute("PRAGMA user_version = 7")
    with pytest.raises(OutputError, match="version 7"):
        SeriesQueue(newer)
