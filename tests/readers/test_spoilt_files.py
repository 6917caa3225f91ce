"""Files spoilt by chance (``benchmarks/fuzz_readers.py``), and what such files once did, one test a find."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pydicom
import pytest
from compressed_slices import compress, compress_by_gdcm
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from pipelines.errors import PipelinesError, SeriesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import look_through, read_case, read_volume
from pipelines.readers.codestream import stated_size
from pipelines.readers.dicom_source import read_source

NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 20 20 20\nspace directions: {}\n"
    "endian: little\nencoding: raw\nspace origin: (1,2,3)\n\n"
)
META = (
    "ObjectType = Image\nNDims = {}\nBinaryData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
    "ElementSpacing = 1 1 2\nDimSize = 20 20 20\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
)


@pytest.fixture(scope="module")
def bench(project: Path) -> ModuleType:
    sys.path.insert(0, str(project / "benchmarks"))
    try:
        import fuzz_readers as module
    finally:
        sys.path.pop(0)
    return module


@pytest.mark.parametrize("kind", ["dicom_series", "nifti", "png", "jpeg", "tiff", "zip", "tar", "weights"])
def test_some_spoilt_files(bench, tmp_path, kind) -> None:
    """In this process; itk's formats, which once ended it, are in the slow test alone."""
    for number in range(12):
        path, read = bench.made(kind, number, tmp_path / "input")
        told = bench.attempt(read, path)
        assert told["what"] != bench.FIND, f"{kind} {number}: {told['how']}\n{told['trace']}"


@pytest.mark.slow
def test_many_spoilt_files(bench, tmp_path) -> None:
    counts = bench.fuzz(list(bench.FORMATS), 10**6, tmp_path / "finds", seconds=45)
    assert sum(each.finds for each in counts.values()) == 0, f"see {tmp_path / 'finds'}\n{bench.table(counts)}"
    assert min(each.read for each in counts.values()) > 0
    assert max(each.memory for each in counts.values()) < 1024 * bench.GIB


def test_what_is_no_answer_is_a_find(bench, tmp_path, monkeypatch) -> None:
    def run_out(path: Path) -> None:
        try:
            raise MemoryError
        except MemoryError:
            raise UnreadableFileError("is damaged", where=path) from None

    def end(path: Path) -> None:
        raise IndexError

    def empty(path: Path) -> object:
        return type("Answer", (), {"array": np.full((2, 2), np.nan)})

    for read, words in ((run_out, "memory ran out"), (end, "IndexError"), (empty, "not finite")):
        told = bench.attempt(read, tmp_path)
        assert told["what"] == bench.FIND
        assert words in told["how"]


def test_a_find_is_kept_and_can_be_replayed(bench, tmp_path, monkeypatch) -> None:
    """The process that reads hangs: it is ended, and the input is kept with its number."""
    monkeypatch.setattr(bench._Worker, "_start", _sleeper)
    counts = bench.fuzz(["png"], 1, tmp_path / "finds", first=7, limit=0.2)
    assert (counts["png"].finds, counts["png"].inputs) == (1, 1)
    told = bench.replayed(tmp_path / "finds" / "png-7")
    assert told["what"] in (bench.READ, bench.REFUSED)
    path, _ = bench.made("png", 7, tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "finds" / "png-7" / path.name).read_bytes()


def _sleeper(worker) -> None:
    import subprocess

    bench = sys.modules["fuzz_readers"]
    bench.made("png", 7, worker.folder / "input")
    (worker.folder / "stderr").write_text("")
    worker.process = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("name", "header", "words"),
    [
        ("a.nrrd", NRRD.format("9" * 4000), "a field of 4018 letters"),
        ("a.nrrd", NRRD.format(":=" * 2000), "a field of 4018 letters"),
        ("a.mha", META.format("99999999999"), "'99999999999' dimensions"),
        ("a.mha", META.format(3).replace("20 20 20", "20 0 20"), r"an absurd size \(20, 0, 20\)"),
        ("a.mha", META.format("3\nComment = " + "9" * 4000), "a field of 4010 letters"),
    ],
)
def test_headers_that_ended_the_process(tmp_path, name, header, words) -> None:
    """By a segmentation fault within itk, or a ValueError where no voxel is stated."""
    (tmp_path / name).write_bytes(header.encode() + bytes(16000))
    with pytest.raises(UnreadableFileError, match=words):
        read_volume(tmp_path / name)


def test_long_notes_of_a_nrrd_are_no_fault(tmp_path) -> None:
    header = NRRD.format("(1,0,0) (0,1,0) (0,0,2)").replace("type", f"note:={'9' * 4000}\n# {'9' * 4000}\ntype", 1)
    (tmp_path / "a.nrrd").write_bytes(header.encode() + np.arange(8000, dtype=np.int16).tobytes())
    assert read_volume(tmp_path / "a.nrrd").array.shape == (20, 20, 20)


def test_a_zip_with_a_member_of_no_name(tmp_path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"1")
    data = file.getvalue()
    at = data.index(b"PK\1\2")
    (tmp_path / "a.zip").write_bytes(data[: at + 28] + b"\0" + data[at + 29 : at + 46] + data[at + 47 :])
    found = look_through(tmp_path / "a.zip")
    assert isinstance(found[0].fault, UnreadableFileError)


def edited(folder: Path, change: Callable[[pydicom.FileDataset], object]) -> Path:
    path = sorted(folder.iterdir())[1]
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        change(dataset)
        dataset.save_as(path)
    return path


def test_a_syntax_that_is_none_is_not_quoted(write_series) -> None:
    """It may be the whole header, the patient's name in it."""
    path = sorted(write_series().iterdir())[1]
    dataset = pydicom.dcmread(path)
    data, syntax = path.read_bytes(), dataset.file_meta.TransferSyntaxUID
    at = data.index(syntax.encode())
    length = len(syntax) + len(syntax) % 2
    path.write_bytes(data[:at] + b"Doe^Jane ".ljust(length, b"\0") + data[at + length :])
    with pytest.raises(UnreadableFileError, match="the transfer syntax that it states is not known") as caught:
        read_case(path.parent)
    assert "Doe" not in str(caught.value)


def test_control_characters_do_not_reach_a_terminal(write_series) -> None:
    path = edited(write_series(), lambda dataset: setattr(dataset, "Modality", "\x1b[2J"))
    with pytest.raises(UnsupportedImageError) as caught:
        read_volume(path)
    assert str(caught.value).isprintable()
    assert "\ufffd[2J" in str(caught.value)


@pytest.mark.parametrize("name", ["what", "where", "how"])
def test_an_error_is_one_line(name) -> None:
    error = PipelinesError(**{"what": "is damaged", name: "a\x1b[31m\nb"})
    assert str(error).isprintable()
    assert len(str(PipelinesError("x" * 10**6))) < 1000


def test_a_class_of_the_wrong_representation(write_series) -> None:
    """pydicom raises where it is asked for."""
    path = sorted(write_series().iterdir())[1]
    data = path.read_bytes()
    at = data.index(b"\x02\0\x02\0UI")
    data = data[: at + 4] + b"FD" + data[at + 6 :]
    at = data.index(b"\x08\0\x16\0UI")
    path.write_bytes(data[: at + 4] + b"FD" + data[at + 6 :])
    with pytest.raises(PipelinesError):
        read_volume(path)


def test_a_name_of_the_wrong_representation_is_emptied(write_series) -> None:
    folder = write_series()
    path = edited(folder, lambda dataset: setattr(dataset, "PatientName", "Doe^Jane J"))
    data = path.read_bytes()
    at = data.index(b"\x10\0\x10\0PN")
    path.write_bytes(data[: at + 4] + b"UL" + data[at + 6 :])
    source = read_source(folder)
    assert source is not None
    assert "PatientName" in source.emptied


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, None], ids=["JPEG-LS", "JPEG 2000", "JPEG"])
def test_a_stream_is_of_the_size_that_the_header_states(write_series, syntax) -> None:
    """Decoders believe the stream: a few bytes of it would take gigabytes and minutes."""
    folder = write_series()
    path = sorted(folder.iterdir())[1]
    if syntax == JPEG2000Lossless:
        pytest.importorskip("openjpeg")
    elif syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls")
    compress(path, syntax) if syntax else compress_by_gdcm(path)
    dataset = pydicom.dcmread(path)
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    rows, columns, components = stated_size(stream) or (0, 0, 0)
    assert (rows, columns, components) == (dataset.Rows, dataset.Columns, 1)
    stated = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    if syntax == JPEG2000Lossless:
        stated = columns.to_bytes(4, "big") + rows.to_bytes(4, "big")
    spoilt = stream.replace(stated, b"\x7f" + stated[1:], 1)
    dataset.PixelData = encapsulate([spoilt])
    dataset.save_as(path)
    with pytest.raises(UnreadableFileError, match=f"compressed pixels are .* states {columns} x {rows}"):
        read_volume(path)


def test_a_jpeg_ls_stream_without_its_end(write_series) -> None:
    """CharLS looks for it for ten seconds and more."""
    pytest.importorskip("jpeg_ls")
    folder = write_series()
    path = sorted(folder.iterdir())[1]
    compress(path, JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([stream.rstrip(b"\0")[:-2]])
    dataset.save_as(path)
    with pytest.raises(UnreadableFileError, match="JPEG-LS stream has no end"):
        read_volume(folder)


def test_a_mixture_is_told_without_what_is_no_text(write_series) -> None:
    folder = write_series()
    edited(folder, lambda dataset: setattr(dataset, "StudyInstanceUID", "1.2\0\x1b[31m.3"))
    with pytest.raises(SeriesError) as caught:
        read_volume(folder)
    assert str(caught.value).isprintable()
