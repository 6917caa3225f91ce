"""A series is read within the memory of its volume: one slice, or one frame, beside it at a time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from enhanced_ct import enhanced_of
from pydicom.uid import JPEGLSLossless

from pipelines.errors import UnreadableFileError
from pipelines.readers import dicom_file, read_volume

SIDE, SLICES = 384, 200
VOLUME = SIDE * SIDE * SLICES * 4  # bytes as float32; the files hold half of it
# Reads a small series first, so that imports and caches are not counted, then the large one.
PEAK = """
import re, sys
from pathlib import Path
from pipelines.readers import read_case, read_volume
read = {"read_case": read_case, "read_volume": read_volume}
if sys.argv[1] == "load":
    from pipelines.transforms import LoadVolumed
    read["load"] = lambda path: LoadVolumed("image")({"image": path})
def peak():  # not getrusage's, which begins with that of the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024
read[sys.argv[1]](Path(sys.argv[2]))
before = peak()
kept = read[sys.argv[1]](Path(sys.argv[3]))
print(peak() - before)
"""


def plane(k: int, side: int) -> np.ndarray:
    """Hounsfield units (columns, rows) of a body with lungs."""
    values = np.full((side, side), -1000, np.int16)
    values[10:-10, 10:-10] = 40
    values[20:-20, 15:-15] = -850 + k % 50
    return values


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with series of two sizes, each also as enhanced CT, plain and compressed."""
    from conftest import make_slice

    folder = tmp_path_factory.mktemp("large")
    for name, side, count in (("small", 64, 4), ("large", SIDE, SLICES)):
        uids = {key: pydicom.uid.generate_uid() for key in ("StudyInstanceUID", "SeriesInstanceUID")}
        slices = [make_slice(plane(k, side)[:, :, None], 0, uids) for k in range(count)]
        (folder / name).mkdir()
        for k, dataset in enumerate(slices):
            dataset.ImagePositionPatient, dataset.InstanceNumber = [-14.0, -9.0, 100.0 + 2 * k], k + 1
            dataset.save_as(folder / name / f"{k}.dcm", enforce_file_format=True)
        enhanced = enhanced_of(slices)
        enhanced.save_as(folder / f"{name}_enhanced.dcm", enforce_file_format=True)
        enhanced.compress(JPEGLSLossless, generate_instance_uid=False)
        enhanced.save_as(folder / f"{name}_compressed.dcm", enforce_file_format=True)
        shutil.make_archive(str(folder / f"{name}_packed"), "zip", folder / name)
    return folder


def growth(large: Path, how: str, ending: str) -> int:
    """Bytes by which reading raised the peak of a process."""
    paths = [str(large / f"{name}{ending}") for name in ("small", "large")]
    told = subprocess.run(
        [sys.executable, "-c", PEAK, how, *paths], check=True, capture_output=True, text=True, timeout=300
    )
    return int(told.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells of the peak")
@pytest.mark.parametrize(
    ("how", "ending"),
    [("read_case", ""), *(("read_volume", each) for each in ("", "_enhanced.dcm", "_compressed.dcm", "_packed.zip"))],
)
def test_reading_takes_the_memory_of_the_volume(large: Path, how: str, ending: str) -> None:
    pytest.importorskip("jpeg_ls")
    assert VOLUME * 0.9 < growth(large, how, ending) < VOLUME + 2**25


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells of the peak")
def test_so_does_the_transform(large: Path) -> None:
    pytest.importorskip("jpeg_ls")
    assert growth(large, "load", "") < VOLUME + 2**25


def test_frames_that_are_read_one_by_one_are_those_of_the_series(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jpeg_ls")
    series = read_volume(large / "small").array
    for name in ("small_enhanced.dcm", "small_compressed.dcm"):
        np.testing.assert_array_equal(read_volume(large / name).array, series)
    monkeypatch.setattr(dicom_file, "_LARGE", 1)  # everything stays in the file until it is asked for
    np.testing.assert_array_equal(read_volume(large / "small_enhanced.dcm").array, series)


def test_frames_that_are_cut_off_are_refused(large: Path, tmp_path: Path) -> None:
    """Pixels that end too early, with something behind them that must not be taken for pixels."""
    pytest.importorskip("jpeg_ls")
    dataset = pydicom.dcmread(large / "small_enhanced.dcm")
    dataset.PixelData = dataset.PixelData[:-3000]
    dataset.add_new(0xFFFCFFFC, "OB", bytes(60_000))  # trailing padding (PS3.10)
    dataset.save_as(tmp_path / "short.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableFileError, match="the pixels are truncated"):
        read_volume(tmp_path / "short.dcm")
    whole = (large / "small_compressed.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) - len(whole) // 8])
    with pytest.raises(UnreadableFileError):
        read_volume(tmp_path / "cut.dcm")
