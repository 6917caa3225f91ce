"""Compressed pixels whose damage a decoder notices and does not raise: it goes on, and makes up the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from compressed_slices import compress, compress_by_gdcm
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless, RLELossless

from pipelines.__main__ import main
from pipelines.errors import UnreadableFileError
from pipelines.readers import read_volume
from pipelines.readers.decoder_words import damage_raised

Change = Callable[[bytes], bytes]


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, (64, 48, 3)).astype(np.int16)


def change_frame(path: Path, change: Change) -> None:
    dataset = pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([change(frame)])
    dataset.save_as(path)


def gap(frame: bytes) -> bytes:
    middle = len(frame) * 2 // 3
    return frame[:middle] + frame[middle + 200 :]


def overwritten(frame: bytes) -> bytes:
    middle = len(frame) * 2 // 3
    return frame[:middle] + b"\xff" * 300 + frame[middle + 300 :]


def cut(frame: bytes) -> bytes:
    return frame[: len(frame) // 2]


@pytest.mark.parametrize("change", [gap, overwritten, cut])
@pytest.mark.parametrize("encoding", ["JPEG lossless", "RLE", "JPEG-LS"])
def test_it_is_refused_by_name(write_series, capfd, encoding: str, change: Change) -> None:
    if encoding == "JPEG-LS":
        pytest.importorskip("jpeg_ls")
        if change is cut:
            pytest.skip("pyjpegls takes seconds to say so")
    folder = write_series(volume=noise())
    for path in folder.iterdir():
        if encoding == "JPEG lossless":
            compress_by_gdcm(path)
        else:
            compress(path, RLELossless if encoding == "RLE" else JPEGLSLossless)
    path = sorted(folder.iterdir())[1]
    change_frame(path, change)
    with pytest.raises(
        UnreadableFileError, match=rf"{path.name}: the pixels are truncated or damaged .*; copy or expo"
    ):
        read_volume(folder)
    assert "JPEG" not in capfd.readouterr().err


def test_padding_of_odd_encoders_is_no_damage(write_series, capfd) -> None:
    """A few bytes before the end of a JPEG, or behind an RLE segment."""
    for name, write, change in (
        ("jpeg", compress_by_gdcm, lambda frame: frame[: frame.rindex(b"\xff\xd9")] + bytes(4) + b"\xff\xd9"),
        ("rle", lambda path: compress(path, RLELossless), lambda frame: frame + bytes(8)),
    ):
        folder = write_series(volume=noise(), name=name)
        for path in folder.iterdir():
            write(path)
            change_frame(path, change)
        np.testing.assert_array_equal(read_volume(folder).array, noise())
    assert capfd.readouterr().err == ""


def test_what_else_is_written_to_stderr_is_written_on(capfd) -> None:
    with damage_raised(JPEGLosslessSV1):
        os.write(2, b"another library's words\n")

    def fail() -> None:
        with damage_raised(JPEGLosslessSV1):
            os.write(2, b"said before it failed\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert capfd.readouterr().err == "another library's words\nsaid before it failed\n"


def test_a_process_without_stderr_reads_too(write_series) -> None:
    folder = write_series(volume=noise())
    for path in folder.iterdir():
        compress_by_gdcm(path)
    code = f"from pipelines.readers import read_volume; print(read_volume({str(folder)!r}).array.sum())"
    told = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code], check=True, stdout=subprocess.PIPE, text=True
    )
    assert float(told.stdout) == pytest.approx(float(noise().sum()))


def test_a_process_may_fork_while_a_slice_is_decoded() -> None:
    """Its child has stderr, and the lock is free."""
    code = """
import os, threading, time
from pydicom.uid import JPEGLosslessSV1
from pipelines.readers.decoder_words import damage_raised
inside = threading.Event()
def decode():
    with damage_raised(JPEGLosslessSV1):
        inside.set()
        time.sleep(0.3)
thread = threading.Thread(target=decode)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    with damage_raised(JPEGLosslessSV1):
        os.write(2, b"the child's words")
    os._exit(0)
thread.join()
assert os.waitpid(child, 0)[1] == 0
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert told.stderr == "the child's words"


def test_the_command_line_says_it_in_a_line(write_series, project, tmp_path, capsys) -> None:
    """Without what pydicom logs of a decoder that failed."""
    pytest.importorskip("jpeg_ls")
    folder = write_series(volume=noise())
    for path in folder.iterdir():
        compress(path, JPEGLSLossless)
    change_frame(sorted(folder.iterdir())[1], gap)
    bundle = project / "bundles" / "covid_ct_lesion_segmentation"
    words = ["predict", str(bundle), str(folder), "--out", str(tmp_path / "out"), "--network", "tiny_unet", "--fast"]
    assert main(words) == UnreadableFileError.exit_code
    said = capsys.readouterr().err
    assert "truncated or damaged" in said
    assert "Traceback" not in said
    assert "pydicom" not in said
