"""Series fetched: as they are stored, all of them or none, into a private folder."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from dicom_inputs import write_series
from pydicom.uid import RLELossless
from served_studies import Served

from pipelines.dicomweb import Series, Server, fetch_series, series_of, sort_out
from pipelines.errors import OutputError, SeriesError, ServerError


def listed(served: Served, study: str) -> Series:
    server = Server(served.url)
    return sort_out(server, series_of(server, study), ("CT",))[0][0]


def test_what_is_stored_comes_as_it_is(served: Served, tmp_path: Path) -> None:
    paths = sorted(write_series(tmp_path / "ct").iterdir())
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    study = served.add(*paths)
    folder = tmp_path / "new" / "got"
    assert fetch_series(Server(served.url), listed(served, study), folder) == 3
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "transfer-syntax=*" in served.asked[-1][2]["accept"]
    came = {pydicom.dcmread(each).SOPInstanceUID: each.read_bytes() for each in folder.iterdir()}
    assert came == served.files
    assert not [each for each in folder.iterdir() if any(uid in each.name for uid in came)]


def test_what_lay_there_is_replaced(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    folder = tmp_path / "got"
    folder.mkdir()
    (folder / "old.dcm").write_bytes(b"old")
    fetch_series(Server(served.url), listed(served, study), folder)
    assert len(list(folder.iterdir())) == 3
    assert not (folder / "old.dcm").exists()


def test_an_answer_that_breaks_off_goes_on_with_what_is_missing(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct", (40, 36, 6)).iterdir())
    series, served.cut = listed(served, study), 4
    before = len(served.asked)
    fetch_series(Server(served.url), series, tmp_path / "got")
    assert len(list((tmp_path / "got").iterdir())) == 6
    single = [path for _, path, _ in served.asked[before:] if "/instances/" in path]
    assert 1 <= len(single) <= 3


def test_a_part_of_a_series_is_no_series(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    series = listed(served, study)
    served.lost = {series.instances[1]}
    with pytest.raises(SeriesError, match="series 4 is incomplete: 2 of 3 instances came"):
        fetch_series(Server(served.url), series, tmp_path / "got")
    assert list(tmp_path.iterdir()) == [tmp_path / "ct"]


def test_an_instance_that_was_not_listed_stops_it(served: Served, tmp_path: Path) -> None:
    paths = sorted(write_series(tmp_path / "ct").iterdir())
    study = served.add(*paths[:2])
    server = Server(served.url)
    (series,), _ = sort_out(server, series_of(server, study), ("CT",), "4")
    served.add(paths[2])
    with pytest.raises(SeriesError, match="changes while it is fetched"):
        fetch_series(server, series, tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_what_is_no_dicom_is_named(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    series = listed(served, study)
    served.garbled = {series.instances[1]}
    with pytest.raises(ServerError, match="series 4 is no DICOM"):
        fetch_series(Server(served.url), series, tmp_path / "got")
    assert list(tmp_path.iterdir()) == [tmp_path / "ct"]


def test_a_folder_that_cannot_be_made_is_named(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        fetch_series(Server(served.url), listed(served, study), tmp_path / "file" / "got")
