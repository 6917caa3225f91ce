"""No slice of a series is lost in silence: it is read, wherever it lies in the stack, or the series is refused."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from pipelines.errors import SeriesError, UnreadableFileError
from pipelines.readers import read_case

PLACES = {"bottom": [0], "middle": [2], "top": [4], "all": [0, 1, 2, 3, 4]}
NAMES = {"dcm": "{}.dcm", "none": "IM{:04d}", "UID": "1.2.840.{}.77", "hash": "0A0{}FE12", "ima": "scan {}.IMA"}


@pytest.fixture(params=list(PLACES))
def place(request) -> list[int]:
    return PLACES[request.param]


@pytest.fixture(params=["bottom", "middle", "top"])
def some(request) -> list[int]:
    """Not all slices, so that those left say how slices are named."""
    return PLACES[request.param]


@pytest.fixture
def series(write_series, request) -> Path:
    """A good series whose files are named as `names` says, from feet to head."""
    folder = write_series()
    files = sorted(folder.iterdir(), key=lambda path: pydicom.dcmread(path).InstanceNumber)
    pattern = NAMES[getattr(request, "param", "dcm")]
    for number, path in enumerate(files):
        path.rename(folder / ("new-" + pattern.format(number)))
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.removeprefix("new-"))
    return folder


def of(folder: Path, place: list[int]) -> list[Path]:
    files = sorted(folder.iterdir())
    assert len(files) == 5
    return [files[number] for number in place]


@pytest.mark.parametrize("series", list(NAMES), indirect=True)
def test_links_into_a_store_are_read(series, tmp_path, ct, place):
    store = tmp_path / "store"
    store.mkdir()
    for path in of(series, place):
        shutil.move(path, store / f"key-{path.name}")
        path.symlink_to(store / f"key-{path.name}")
    case = read_case(series)
    np.testing.assert_array_equal(case.array, ct)
    assert case.notes == ()


@pytest.mark.parametrize("series", ["dcm", "none", "hash"], indirect=True)
def test_links_that_lead_nowhere_are_named(series, tmp_path, some):
    (link, *_) = of(series, some)
    for path in of(series, some):
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UnreadableFileError, match=r"is a link to a file that is not there; fetch") as caught:
        read_case(series)
    assert link.name in str(caught.value)


@pytest.mark.parametrize("series", ["dcm", "none", "UID"], indirect=True)
@pytest.mark.parametrize("how", ["no preamble", "no meta header", "implicit", "big endian"])
@pytest.mark.filterwarnings("ignore")
def test_data_sets_without_preamble_are_read(series, ct, place, how):
    for path in of(series, place):
        dataset = pydicom.dcmread(path)
        if how == "no preamble":
            path.write_bytes(path.read_bytes()[132:])
            continue
        if how == "big endian":
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        bare = Dataset()
        bare.update(dataset)
        little = how != "big endian"
        bare.save_as(path, implicit_vr=how == "implicit", little_endian=little, enforce_file_format=False)
    np.testing.assert_array_equal(read_case(series).array, ct)


@pytest.mark.parametrize("series", ["none", "UID", "hash"], indirect=True)
@pytest.mark.parametrize("content", [b"", b"\0" * 3000, b"<html>login</html>", b"\x12" * 1_000], ids=str)
def test_a_file_that_is_named_as_the_slices_are_and_is_none_is_refused(series, some, content):
    for path in of(series, some):
        path.write_bytes(content)
    with pytest.raises(UnreadableFileError) as caught:
        read_case(series)
    assert of(series, some)[0].name in str(caught.value)


LETTERS = ["slice_{}", "{}", "{}_slice", "CT-{}-axial", "IMA{}", "IM0001{}", "thorax {}.x", "a{}"]


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"<html>login</html>"], ids=["empty", "cut", "page"])
def test_slices_that_letters_count(series, some, name, content):
    for number, path in enumerate(of(series, [0, 1, 2, 3, 4])):
        path.rename(series / name.format("abcde"[number]))
    of(series, some)[0].write_bytes(content)
    with pytest.raises(UnreadableFileError) as caught:
        read_case(series)
    assert of(series, some)[0].name in str(caught.value)


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("beside", ["notes", "README", "CT_b", "slices", "IMAGES", "md_5", "LICENSE", "x.txt", "b.txt"])
def test_what_lies_beside_slices_that_letters_count_is_none_of_them(series, ct, name, beside):
    for number, path in enumerate(of(series, [0, 1, 2, 3, 4])):
        path.rename(series / name.format("vwxyz"[number]))
    (series / beside).write_bytes(b"about these slices")
    np.testing.assert_array_equal(read_case(series).array, ct)


@pytest.mark.parametrize("ending", [".gz", ".part", ".crdownload", "~"])
@pytest.mark.parametrize("series", ["dcm", "none"], indirect=True)
def test_a_slice_that_is_packed_or_half_downloaded_is_refused(series, some, ending):
    for path in of(series, some):
        data = path.read_bytes()
        path.unlink()
        path.with_name(path.name + ending).write_bytes(gzip.compress(data) if ending == ".gz" else data[:100])
    with pytest.raises(UnreadableFileError) as caught:
        read_case(series)
    assert ending in str(caught.value)


@pytest.mark.parametrize("ending", [".bin", ".dat", ".raw", ".000", ".img", ".DCM_", ""])
@pytest.mark.parametrize("content", [b"\0" * 900, b"<html>"], ids=["zeros", "page"])
def test_a_spoilt_slice_with_another_ending_is_refused(series, some, ending, content):
    for path in of(series, some):
        path.unlink()
        path.with_suffix(ending).write_bytes(content)
    with pytest.raises(UnreadableFileError):
        read_case(series)


@pytest.mark.parametrize("ending", [".bin", ".000", ".img", "", ".dcm.1"])
def test_a_slice_with_another_ending_is_read(series, some, ct, ending):
    for path in of(series, some):
        path.rename(path.with_suffix(ending))
    np.testing.assert_array_equal(read_case(series).array, ct)


@pytest.mark.parametrize("name", ["0.txt", "0.json", "3.jpg", "0.md5", "README"])
def test_a_file_for_each_slice_beside_it_is_none(series, ct, name):
    (series / name).write_bytes(b"about this slice")
    case = read_case(series)
    np.testing.assert_array_equal(case.array, ct)
    (note,) = case.notes
    assert note == (
        f"1 files beside the series are no part of it, but cases of their own: {name}"
        if name.endswith(".jpg")
        else f"1 files beside the series were passed over: {name}"
    )


def test_a_file_as_large_as_the_slices_is_one_of_them(write_series):
    volume = np.full((64, 64, 5), 40, np.int16)
    volume[8:24] = -850
    folder = write_series(volume=volume)
    files = sorted(folder.iterdir())
    data = files[-1].read_bytes()
    (folder / "lost and found").write_bytes(b"\xff" * 200 + data[200:])
    files[-1].unlink()
    with pytest.raises(UnreadableFileError, match="lost and found"):
        read_case(folder)


def test_what_is_no_slice_is_passed_over_with_a_note(series, ct):
    (series / "README.TXT").write_text("read me")
    (series / "viewer.exe").write_bytes(b"MZ" + bytes(100))
    (series / "preview.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    case = read_case(series)
    np.testing.assert_array_equal(case.array, ct)
    assert case.notes == (
        "2 files beside the series were passed over: README.TXT, viewer.exe",
        "1 files beside the series are no part of it, but cases of their own: preview.jpg",
    )


def test_an_unreadable_slice_is_refused(series, monkeypatch, place):
    chosen = {path.name for path in of(series, place)}
    real = Path.open

    def deny(path, *arguments, **options):
        if path.name in chosen:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(UnreadableFileError):
        read_case(series)


# --- two scans under one SeriesInstanceUID ----------------------------------------------------------------------------

LONG = np.repeat(np.full((40, 36, 1), 40, np.int16), 12, axis=2)
LONG[6:16, 8:28] = -850


def _slices(edit):
    def change(dataset, k):
        dataset.AcquisitionNumber, dataset.ConvolutionKernel, dataset.KVP = 1, "B30f", 120
        dataset.AcquisitionTime, dataset.InstanceNumber = "120000", k + 1
        dataset.SeriesNumber, dataset.SeriesDescription, dataset.SliceThickness = 2, "SOFT", ["2.5", "2.50"][k % 2]
        edit(dataset, k)

    return change


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("AcquisitionNumber", 2, "acquisitions"),
        ("ConvolutionKernel", "B70f", "kernels"),
        ("KVP", 80, "tube voltages"),
        ("SliceThickness", 1, "slice thicknesses"),
        ("SeriesNumber", 9, "series numbers"),
        ("SeriesDescription", "LUNG 1.0", "series descriptions"),
        ("AcquisitionTime", "121500", "acquisition times"),
        ("ContrastBolusAgent", "iodine", "states of contrast medium"),
        ("ImageType", ["DERIVED", "PRIMARY", "AXIAL"], "kinds of image"),
        ("TemporalPositionIdentifier", 2, "time points"),
    ],
)
@pytest.mark.parametrize("which", ["every other", "three in the middle", "overlapping"])
def test_two_acquisitions_or_kernels_that_alternate_or_overlap(write_series, keyword, value, words, which):
    chosen = {"every other": range(1, 12, 2), "three in the middle": (5, 6, 7), "overlapping": (5, 7, 8, 9, 10, 11)}[
        which
    ]

    def edit(dataset, k):
        if keyword in ("ContrastBolusAgent", "TemporalPositionIdentifier"):
            setattr(dataset, keyword, "none" if keyword == "ContrastBolusAgent" else 1)
        if k in chosen:
            setattr(dataset, keyword, value)

    with pytest.raises(SeriesError, match=f"of 2 {words}.* mixed under one series and alternate or overlap"):
        read_case(write_series(_slices(edit), volume=LONG))


def test_two_runs_of_instance_number_that_take_turns(write_series):
    def edit(dataset, k):
        dataset.InstanceNumber = k // 2 + 1 + 6 * (k % 2)

    with pytest.raises(SeriesError, match="2 runs of InstanceNumber"):
        read_case(write_series(_slices(edit), volume=LONG))


def test_one_acquisition_above_another_passes_with_a_note(write_series):
    def edit(dataset, k):
        dataset.AcquisitionNumber = 1 + (k > 5)

    case = read_case(write_series(_slices(edit), volume=LONG))
    assert case.array.shape[2] == 12
    assert case.notes == ("the stack is made of 2 acquisitions, one above the other",)


@pytest.mark.parametrize(
    "edit",
    [
        lambda dataset, k: setattr(dataset, "AcquisitionNumber", k + 1),  # step and shoot
        lambda dataset, k: setattr(dataset, "AcquisitionNumber", k // 4 + 1),
        lambda dataset, k: setattr(dataset, "AcquisitionTime", f"12000{k % 10}"),  # a time a slice
        lambda dataset, k: setattr(dataset, "InstanceNumber", 12 - k),
        lambda dataset, k: setattr(dataset, "InstanceNumber", [3, 1, 2, 5, 4, 9, 8, 12, 7, 6, 11, 10][k]),
        lambda dataset, k: setattr(dataset, "AcquisitionNumber", None),
    ],
)
def test_what_one_scan_may_say_of_its_slices(write_series, edit):
    assert read_case(write_series(_slices(edit), volume=LONG)).array.shape[2] == 12
