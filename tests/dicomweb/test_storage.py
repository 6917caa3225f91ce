"""Results stored: taken, refused by name, and there once."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from dicom_inputs import write_series
from served_studies import Served

from pipelines.dicomweb import Server, store_file
from pipelines.errors import ServerError, UnreadableFileError


@pytest.fixture
def result(tmp_path: Path) -> tuple[Path, str, str]:
    path = write_series(tmp_path / "ct", (40, 36, 1)) / "0001.dcm"
    dataset = pydicom.dcmread(path)
    return path, dataset.StudyInstanceUID, dataset.SOPInstanceUID


def failed(uid: str, reason: int) -> dict:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


def test_a_result_is_there_once_however_often_it_is_stored(served: Served, result) -> None:
    path, study, uid = result
    for _ in range(2):
        assert store_file(Server(served.url), path, study) == uid
    assert list(served.files) == [uid]
    assert served.files[uid] == path.read_bytes()
    assert served.posts() == [f"/dicom-web/studies/{study}"] * 2


@pytest.mark.parametrize("status", [200, 202, 409])
def test_what_is_not_taken_is_named_with_the_reason(served: Served, result, status) -> None:
    path, study, uid = result
    served.store = (status, failed(uid, 0x0122))
    with pytest.raises(ServerError, match=r"0001.dcm was not stored: its SOP class is not supported, 0122H"):
        store_file(Server(served.url), path, study)
    served.store = (status, failed(uid, 0xBEEF))
    with pytest.raises(ServerError, match=r"does not say why, BEEFH"):
        store_file(Server(served.url), path, study)


@pytest.mark.parametrize("answer", [None, ["nonsense"], {"00081198": 3}])
def test_a_conflict_without_a_reason_is_named(served: Served, result, answer) -> None:
    path, study, _ = result
    served.store = (409, answer)
    with pytest.raises(ServerError, match="409"):
        store_file(Server(served.url), path, study)


def test_a_server_that_says_nothing_is_asked_whether_it_has_it(served: Served, result) -> None:
    path, study, _ = result
    served.store = (200, None)
    with pytest.raises(ServerError, match="does not have it"):
        store_file(Server(served.url), path, study)
    served.add(path)
    assert store_file(Server(served.url), path, study)


def test_what_is_sent_again_is_sent_whole(served: Served, tmp_path: Path) -> None:
    path = write_series(tmp_path / "ct", (1100, 1000, 1)) / "0001.dcm"  # more than a piece of the library's
    study = pydicom.dcmread(path).StudyInstanceUID
    served.status = [(503, 1)]
    uid = store_file(Server(served.url), path, study)
    assert served.files[uid] == path.read_bytes()


def test_a_result_of_another_study_is_not_sent(served: Served, result) -> None:
    path, _, _ = result
    with pytest.raises(UnreadableFileError, match="another study"):
        store_file(Server(served.url), path, "1.2.3")
    path.write_bytes(b"x")
    with pytest.raises(UnreadableFileError, match="cannot be read"):
        store_file(Server(served.url), path, "1.2.3")
    assert served.posts() == []
