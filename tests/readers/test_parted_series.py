"""One scan whose slices lie in several places of what was given: folders and archives. None of its parts passes for a
scan."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from pipelines.errors import SeriesError
from pipelines.preparation.cases import look_for_cases
from pipelines.readers import find_cases, look_through, read_case
from pipelines.readers.dicom_series import series_token


@pytest.fixture
def place(tmp_path: Path, write_series: Callable[..., Path]) -> Callable[..., Path]:
    """Lay slices of one series of five (0 at the feet) at a place below ``in``: a folder, or a ZIP."""
    files = sorted(write_series(name="source").iterdir(), key=lambda path: pydicom.dcmread(path).InstanceNumber)

    def lay(where: str, slices: range | list[int], uid: str | None = None) -> None:
        packed, _, inside = where.partition(".zip/")
        target = tmp_path / "in" / (f"{packed}.zip" if inside or where.endswith(".zip/") else where)
        (target.parent if target.suffix else target).mkdir(parents=True, exist_ok=True)
        for number in slices:
            dataset = pydicom.dcmread(files[number])
            dataset.SeriesInstanceUID = uid or dataset.SeriesInstanceUID
            dataset.save_as(tmp_path / "one.dcm")
            if target.suffix == ".zip":
                with zipfile.ZipFile(target, "a") as archive:
                    archive.write(tmp_path / "one.dcm", f"{inside}{number}.dcm")
            else:
                shutil.copy(tmp_path / "one.dcm", target / f"{number}.dcm")

    lay.root = tmp_path / "in"  # type: ignore[attr-defined]
    return lay


PARTS = {"above": ([0, 1, 2], [3, 4]), "between": ([0, 1, 4], [2, 3]), "overlap": ([0, 1, 2], [2, 3, 4])}


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("half", "a.zip/", ["half", "a.zip"]),
        ("half", "a.zip/study/series/", ["half", "a.zip"]),
        ("a.zip/", "b.zip/", ["a.zip", "b.zip"]),
        ("a.zip/x/", "a.zip/y/", ["a.zip::x", "a.zip::y"]),
        ("p/half", "q/half", ["p/half", "q/half"]),
    ],
)
def test_a_scan_whose_slices_lie_in_two_places(place, one, other, shown, parts):
    place(one, PARTS[parts][0])
    place(other, PARTS[parts][1])
    cases = look_through(place.root)
    assert len(cases) == 2
    by_path = {str(case.path.relative_to(place.root)): case for case in cases}
    assert set(by_path) == set(shown)
    for here, there in (shown, reversed(shown)):
        fault = by_path[here].fault
        assert isinstance(fault, SeriesError)
        assert f"the scan goes on in {there}: " in fault.what
        assert str(fault).startswith(str(place.root / here))
    assert find_cases(place.root) == []
    series = cases[0].series
    items, passed = look_for_cases(place.root, series)
    assert (items, len(passed)) == ([], 2), "naming the series does not say which part is meant"


def test_whole_copies_are_cases_of_their_own(place):
    for where in ("a", "b.zip/", "c.zip/x/"):
        place(where, range(5))
    assert [case.fault for case in look_through(place.root)] == [None] * 3


def test_three_places(place):
    place("a", [0, 1])
    place("b.zip/", [2])
    place("c.zip/deep/", [3, 4])
    assert [type(case.fault) for case in look_through(place.root)] == [SeriesError] * 3


@pytest.mark.parametrize("inside", ["", "x/"])
def test_several_series_in_one_folder_of_an_archive(place, inside):
    """Each with a line that can be read, and two halves of one scan named by places that exist."""
    place(f"a.zip/{inside}", [0, 1, 2], uid=generate_uid())
    uid = generate_uid()
    with zipfile.ZipFile(place.root / "a.zip", "a") as archive:
        place("tmp", [3, 4], uid=uid)
        for number in (3, 4):
            archive.write(place.root / "tmp" / f"{number}.dcm", f"{inside}{number}.dcm")
    shutil.rmtree(place.root / "tmp")
    cases = look_through(place.root)
    assert len(cases) == 2
    for case, other in zip(cases, reversed(cases), strict=True):
        assert f"the scan goes on in {other.path.relative_to(place.root)}: " in case.fault.what
        assert str(case.fault).startswith(f"{case.path}: ")
        assert read_case(case.path).array.shape[2] in (2, 3), "what names one part reads it"
    alone = look_through(place.root / "a.zip")
    assert all("unpacked-" not in str(case.fault) and "goes on in" in str(case.fault) for case in alone)
    items, passed = look_for_cases(place.root, uid)
    assert ([item["image"] for item in items], passed) == (
        [str(next(c.path for c in cases if c.series == series_token(uid)))],
        [],
    )


def test_two_scans_directly_in_an_archive(place, tmp_path):
    place("a.zip/", [0, 1, 2])
    with zipfile.ZipFile(place.root / "a.zip", "a") as archive:
        files = sorted((tmp_path / "source").iterdir(), key=lambda path: pydicom.dcmread(path).InstanceNumber)
        for number in range(3):
            dataset = pydicom.dcmread(files[number])
            dataset.SeriesInstanceUID, dataset.ConvolutionKernel = "1.2.3", "B70f"
            dataset.save_as(tmp_path / "one.dcm")
            archive.write(tmp_path / "one.dcm", f"b{number}.dcm")
    for given in (place.root, place.root / "a.zip"):
        cases = look_through(given)
        assert [case.fault for case in cases] == [None, None]
        assert all(str(case.path).startswith(f"{place.root}/a.zip::.::") for case in cases)
        assert {read_case(case.path).array.shape[2] for case in cases} == {3}
    names = [item["case"] for item in look_for_cases(place.root)[0]]
    assert len(set(names)) == 2


def test_places_below_the_working_directory(place, monkeypatch):
    place("half", [0, 1, 2])
    place("other/half", [3, 4])
    monkeypatch.chdir(place.root)
    assert "goes on in other/half: " in look_through(".")[0].fault.what
    assert "goes on in half: " in look_through(".")[1].fault.what
