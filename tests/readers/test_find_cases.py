from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from PIL import Image

from pipelines.errors import UnreadableFileError
from pipelines.readers import case as case_module
from pipelines.readers import find_cases, read_case


def test_a_file_or_a_series_is_itself(write_series, write_nifti, ct, tmp_path):
    folder = write_series()
    assert find_cases(folder) == [folder]
    assert find_cases(str(folder / "00.dcm")) == [folder / "00.dcm"]
    assert find_cases(write_nifti(ct)) == [tmp_path / "case.nii"]


def test_a_folder_of_many(write_series, write_nifti, ct, grey, tmp_path):
    write_nifti(ct, name="b.nii.gz")
    write_series(name="series")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    Image.fromarray(grey).save(tmp_path / "deep" / "er" / "A.PNG")
    series = write_series(name="plain")
    for path in series.iterdir():
        path.rename(path.with_suffix(""))
    series.rename(tmp_path / "deep" / "plain")
    for hidden in (".cache.png", "._b.nii.gz", "DICOMDIR", "notes.txt", ".git"):
        (tmp_path / hidden).write_text("no image")
    (tmp_path / ".hidden").mkdir()
    Image.fromarray(grey).save(tmp_path / ".hidden" / "x.png")
    expected = ["b.nii.gz", "deep/er/A.PNG", "deep/plain", "series"]
    assert find_cases(tmp_path) == [tmp_path / name for name in expected]


def test_a_fake_dcm_is_found_so_that_reading_refuses_it(tmp_path):
    (tmp_path / "fake.dcm").write_text("text")
    assert find_cases(tmp_path) == [tmp_path]
    with pytest.raises(UnreadableFileError):
        read_case(tmp_path)


def test_nothing(tmp_path):
    with pytest.raises(UnreadableFileError, match="no images"):
        find_cases(tmp_path)
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UnreadableFileError, match="no images"):
        find_cases(tmp_path)
    with pytest.raises(UnreadableFileError, match="not a kind of image"):
        find_cases(tmp_path / "notes.txt")
    for name in ("none", "nul\0"):
        with pytest.raises(UnreadableFileError):
            find_cases(tmp_path / name)


def test_listing_reads_no_pixels(write_series, tmp_path, monkeypatch):
    for number in range(300):
        (tmp_path / f"{number:04d}.nii.gz").touch()
    write_series()

    def fail(*arguments, **options):
        raise AssertionError("an image was opened")

    headers = pydicom.dcmread

    def header_only(*arguments, **options):
        assert options["stop_before_pixels"]
        return headers(*arguments, **options)

    monkeypatch.setattr(pydicom, "dcmread", header_only)
    monkeypatch.setattr(Image, "open", fail)
    monkeypatch.setattr(case_module.nifti, "read_nifti", fail)
    assert len(find_cases(tmp_path)) == 301


def test_unreadable_folder(tmp_path, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", fail)
    with pytest.raises(UnreadableFileError, match="Permission denied"):
        find_cases(tmp_path)


def test_things_that_are_no_files(tmp_path):
    with pytest.raises(UnreadableFileError, match="not a regular file"):
        read_case(Path("/dev/zero"))
