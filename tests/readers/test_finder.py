"""Cases that vanish: whatever looks like somebody's scan or picture is found, with what is wrong with it."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import BasicTextSRStorage, generate_uid

from pipelines.errors import PipelinesError, SeriesError, UnreadableFileError
from pipelines.preparation.cases import look_for_cases
from pipelines.readers import Found, look_through, read_case


def found(root: Path) -> dict[str, Found]:
    return {str(each.path)[len(str(root)) + 1 :] or ".": each for each in look_through(root)}


def fate(root: Path, name: str) -> str:
    """What becomes of a case: "read", or the fault's words."""
    case = found(root)[name]
    if case.fault is not None:
        return f"{case.status}: {case.fault}"
    try:
        read_case(case.path)
    except PipelinesError as error:
        return f"refused: {error}"
    return "read"


@pytest.mark.parametrize(
    "name",
    [
        "p.heic", "p.HEIF", "p.webp", "p.jfif", "p.jpe", "p.gif", "p.avif", "p.jp2", "p.dng", "p.nrrd", "p.nhdr",
        "p.mha", "p.mhd", "p.hdr", "p.img", "p.mgz", "p.mnc", "p.nii.bz2", "p.npy", "p.zip", "p.tar", "p.tar.gz",
        "p.tgz", "p.7z", "p.rar", "p.nii.gz.part", "p.png.crdownload", "p.dcm.tmp", "p.nii.bak", "p.dcm", "p.ima",
        "p.raw",
    ],
)  # fmt: skip
@pytest.mark.parametrize("content", [b"", b"\0" * 600], ids=["empty", "zeros"])
def test_what_its_name_calls_an_image_or_scan_has_a_line(tmp_path, grey, name, content):
    Image.fromarray(grey).save(tmp_path / "good.png")
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / name).write_bytes(content)
    expected = "deep" if name.endswith((".dcm", ".ima")) else f"deep/{name}"
    assert set(found(tmp_path)) == {"good.png", expected}
    assert fate(tmp_path, expected).startswith("refused: ")
    assert name in fate(tmp_path, expected)


@pytest.mark.parametrize("name", ["picture", "case 1", "IMG.dat"])
def test_a_picture_with_no_telling_name_is_read(tmp_path, grey, name):
    Image.fromarray(grey).save(tmp_path / name, format="PNG")
    assert fate(tmp_path, name) == "read"


def test_a_volume_with_no_telling_name_is_read(tmp_path, write_nifti, ct):
    write_nifti(ct, name="a.nii").rename(tmp_path / "volume")
    assert fate(tmp_path, "volume") == "read"


def test_what_is_nobodys_case_has_none(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "good.png")
    Image.fromarray(grey).save(tmp_path / ".hidden.png")
    shutil.copy(tmp_path / "good.png", tmp_path / "good.png.bak")
    (tmp_path / "__MACOSX").mkdir()
    Image.fromarray(grey).save(tmp_path / "__MACOSX" / "x.png")
    for name in ("notes.txt", "table.csv", "report.pdf", "letter.docx", "table.csv.gz", "Thumbs.db", "DICOMDIR"):
        (tmp_path / name).write_bytes(b"PK\x03\x04" if name == "letter.docx" else b"whatever")
    assert set(found(tmp_path)) == {"good.png"}


# --- links ------------------------------------------------------------------------------------------------------------


def test_linked_files_and_folders_are_cases(tmp_path, write_series, grey):
    series = write_series(name="store")
    Image.fromarray(grey).save(series.parent / "other.png")
    top = tmp_path / "top"
    (top / "deep").mkdir(parents=True)
    (top / "deep" / "patient2").symlink_to(series)
    (top / "picture.png").symlink_to(tmp_path / "other.png")
    assert {name: fate(top, name) for name in found(top)} == {"deep/patient2": "read", "picture.png": "read"}


def test_a_folder_that_is_reached_twice_has_its_cases_once(tmp_path, write_series):
    top = tmp_path / "top"
    top.mkdir()
    write_series(name="top/b")
    (top / "a").symlink_to(top / "b")
    (top / "loop").symlink_to(top)
    (top / "up").symlink_to("/")
    cases = found(top)
    assert set(cases) == {"a", "b", "loop", "up"}
    assert fate(top, "b") == "read"
    assert "cases have lines of their own" in fate(top, "a")
    assert "holds this one" in fate(top, "loop")
    assert "holds this one" in fate(top, "up")
    assert {cases[name].status for name in ("a", "loop", "up")} == {"skipped"}


def test_folders_deeper_than_python_calls(tmp_path, grey):
    folder = tmp_path.joinpath(*"a" * 150)
    folder.mkdir(parents=True)
    Image.fromarray(grey).save(folder / "deep.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        (only,) = look_through(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert only.path == folder / "deep.png"


@pytest.mark.parametrize("name", ["patient3", "scan.nii.gz", "0.dcm"])
def test_a_link_that_leads_nowhere_has_a_line(tmp_path, grey, name):
    Image.fromarray(grey).save(tmp_path / "good.png")
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    cases = {each.path.name: each for each in look_through(tmp_path)}
    assert len(cases) == 2
    (other,) = set(cases) - {"good.png"}
    with pytest.raises(UnreadableFileError, match=r"there|link"):
        raise cases[other].fault or _fault_of(cases[other].path)


def _fault_of(path: Path) -> PipelinesError:
    with pytest.raises(PipelinesError) as caught:
        read_case(path)
    return caught.value


def test_a_folder_that_cannot_be_listed_stops_no_other(tmp_path, grey, monkeypatch):
    Image.fromarray(grey).save(tmp_path / "good.png")
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def deny(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert "Permission denied" in fate(tmp_path, "locked")
    assert fate(tmp_path, "good.png") == "read"


# --- several series ---------------------------------------------------------------------------------------------------


def _two_series(write_series, shift: float = 0.0, **values) -> Path:
    write_series(lambda dataset, k: setattr(dataset, "SeriesNumber", 3), name="both")
    uid = generate_uid()

    def other(dataset, k):
        dataset.SeriesInstanceUID, dataset.SeriesNumber = uid, 4
        dataset.ImagePositionPatient = [-14, -9, 100 + shift + 2 * k]
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    for path in write_series(other, name="other").iterdir():
        path.rename(path.parent.parent / "both" / f"b{path.name}")
    (folder := path.parent).rmdir()
    return folder.parent / "both"


def _same_study(folder: Path) -> Path:
    first = None
    for path in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        first = first or dataset
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = first.StudyInstanceUID, first.FrameOfReferenceUID
        dataset.save_as(path)
    return folder


def test_each_series_of_a_folder_is_a_case(write_series, ct, tmp_path):
    folder = _same_study(_two_series(write_series))
    with pytest.raises(SeriesError, match="2 series are mixed"):
        read_case(folder)
    for source in (folder, tmp_path):
        items, passed = look_for_cases(source)
        assert ([item["case"] for item in items], passed) == (["both/series-3", "both/series-4"], [])
        for item in items:
            np.testing.assert_array_equal(read_case(item["image"]).array, ct)


def test_a_series_is_chosen_by_number_or_uid(write_series, tmp_path):
    folder = _same_study(_two_series(write_series))
    (whole,) = (each for each in look_through(folder) if each.number == 4)
    for chosen in ("4", whole.series):
        items, _ = look_for_cases(folder, chosen)
        assert [item["image"] for item in items] == [str(whole.path)]
    with pytest.raises(SeriesError, match=r"no series 9; choose one of 3: .* \(5 files\), 4: "):
        look_for_cases(folder, "9")
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(SeriesError, match="no DICOM series here"):
        look_for_cases(tmp_path / "a.png", "4")


@pytest.mark.parametrize("shift", [10.0, -10.0])
def test_one_scan_under_two_series_uids_is_no_case_twice(write_series, shift):
    folder = _same_study(_two_series(write_series, shift))
    cases = look_through(folder)
    assert len(cases) == 2
    for case in cases:
        assert isinstance(case.fault, SeriesError)
        assert "goes on in" in case.fault.what
    items, passed = look_for_cases(folder, "4")  # who names one means it
    assert (len(items), passed) == (1, [])


@pytest.mark.parametrize(
    "values", [{"ConvolutionKernel": "B70f"}, {"PixelSpacing": [0.5, 0.5]}, {"PatientID": "other"}]
)
def test_another_scan_above_is_a_case(write_series, values):
    assert [each.fault for each in look_through(_same_study(_two_series(write_series, 10.0, **values)))] == [None] * 2


def test_a_scan_whose_slices_each_have_a_series_uid_of_their_own(write_series):
    cases = look_through(write_series(lambda dataset, k: setattr(dataset, "SeriesInstanceUID", generate_uid())))
    assert len(cases) == 5
    assert all(isinstance(case.fault, SeriesError) for case in cases)


@pytest.mark.parametrize("above", [3, 1, 4])
def test_a_series_whose_slices_lie_in_two_folders(write_series, tmp_path, above):
    folder = write_series(name="scan/a")
    (tmp_path / "scan" / "b").mkdir()
    for path in list(folder.iterdir()):
        if pydicom.dcmread(path).InstanceNumber > above:
            path.rename(tmp_path / "scan" / "b" / path.name)
    cases = look_through(tmp_path)
    assert [each.path.name for each in cases] == ["a", "b"]
    assert all("goes on in" in str(each.fault) for each in cases)


def test_a_copy_of_a_series_is_a_case_of_its_own(write_series, tmp_path):
    shutil.copytree(write_series(name="a"), tmp_path / "b")
    assert [each.fault for each in look_through(tmp_path)] == [None, None]


@pytest.mark.parametrize("beside", [False, True])
def test_reports_are_nobodys_case_and_a_scout_is_somebodys(write_series, tmp_path, beside):
    """As on a CD: a directory and a report above the series, and a folder for the scout."""

    def report(dataset, k):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
        dataset.Modality, dataset.SeriesInstanceUID = "SR", generate_uid()
        del dataset.Rows, dataset.PixelData
        return k == 0

    def scout(dataset, k):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        return k == 0

    write_series(name="cd/series")
    (write_series(report, name="reports") / "00.dcm").rename(tmp_path / "cd" / "REPORT")
    assert set(found(tmp_path / "cd")) == {"series"}
    write_series(scout, name="cd/scout")
    if beside:
        shutil.copy(tmp_path / "cd" / "REPORT", tmp_path / "cd" / "scout" / "REPORT")
    assert set(found(tmp_path / "cd")) == {"series", "scout"}
    assert "localizer" in fate(tmp_path / "cd", "scout")


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_of_cases(write_series, tmp_path, grey):
    write_series(name="scan")
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as file:
        for path in (tmp_path / "scan").iterdir():
            file.write(path, f"inner/scan/{path.name}")
        Image.fromarray(grey).save(tmp_path / "p.png")
        file.write(tmp_path / "p.png", "p.png")
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as file:
        file.write(tmp_path / "p.png", "p.png")
    (tmp_path / ("f" * 252)).mkdir()
    shutil.copy(tmp_path / "p.png", tmp_path / ("f" * 252) / ("ü" * 110 + ".png"))
    names = [item["case"] for item in look_for_cases(tmp_path)[0]]
    assert len(set(names)) == len(names) == 6
    assert {"many/inner/scan", "many/p", "one", "p", "scan"} <= set(names)
    for part in (part for name in names for part in name.split("/")):
        assert len(os.fsencode(part)) <= 200, "with _case_report.png behind it, a file's name has at most 255 bytes"
