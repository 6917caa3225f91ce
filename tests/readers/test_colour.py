from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.errors import UnreadableFileError, UnsupportedImageError
from pipelines.readers import read_case, read_colour, read_xray
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom


@pytest.fixture
def rgb() -> np.ndarray:
    """uint8 (rows, columns, 3), wider than high, each corner another colour."""
    rows, columns = np.mgrid[0:50, 0:60]
    return np.stack([rows * 5, columns * 4, (rows + columns) * 2], axis=2).astype(np.uint8)


def test_columns_come_first_and_channels_before_them(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    picture = read_colour(str(tmp_path / "a.png"))
    assert (picture.array.shape, picture.array.dtype) == ((3, 60, 50), np.uint8)
    np.testing.assert_array_equal(picture.array.transpose(2, 1, 0), rgb)
    assert (picture.kind, picture.spacing, picture.notes, picture.orientation) == ("picture", None, (), 1)
    assert picture.path == tmp_path / "a.png"


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "JPEG"), ("a.bmp", "BMP"), ("a.tif", "TIFF"), ("b.jpg", "PNG")])
def test_the_format_is_that_of_the_bytes_and_not_of_the_name(tmp_path, rgb, name, kind):
    Image.fromarray(rgb).save(tmp_path / name, kind)
    picture = read_colour(tmp_path / name)
    assert (picture.file_format, picture.notes) == (kind, ())
    assert np.abs(picture.array.transpose(2, 1, 0).astype(int) - rgb).mean() < (8 if kind == "JPEG" else 1e-9)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_said(tmp_path, rgb, orientation, suffix):
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(rgb).save(path, exif=exif)
    upright = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.swapaxes(0, 1),
        6: np.rot90(rgb, -1),
        7: rgb[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(rgb),
    }[orientation]
    picture = read_colour(path)
    np.testing.assert_array_equal(picture.array.transpose(2, 1, 0), upright)
    assert picture.orientation == orientation
    assert any("EXIF" in note for note in picture.notes) == (orientation != 1)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_becomes_three_equal_channels_with_a_note(tmp_path, grey, mode):
    picture = Image.fromarray(grey).convert(mode)
    picture.save(tmp_path / "a.png")
    read = read_colour(tmp_path / "a.png")
    for channel in read.array:
        np.testing.assert_array_equal(channel.T, np.asarray(picture.convert("L")))
    assert any("three equal channels" in note for note in read.notes)


def test_16_bit_grey_is_scaled(tmp_path, grey):
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    read = read_colour(tmp_path / "a.png")
    np.testing.assert_array_equal(read.array[2].T, grey)
    assert any("divided by 257" in note for note in read.notes)


def test_a_palette_becomes_rgb_with_a_note(tmp_path, rgb):
    palette = Image.fromarray(rgb).quantize(64)
    palette.save(tmp_path / "a.png")
    read = read_colour(tmp_path / "a.png")
    np.testing.assert_array_equal(read.array.transpose(2, 1, 0), np.asarray(palette.convert("RGB")))
    assert read.notes == ("pixels stored as P became RGB",)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_inks_and_luminance_become_rgb_with_a_note(tmp_path, rgb, mode):
    Image.fromarray(rgb).convert(mode).save(tmp_path / "a.tif")
    read = read_colour(tmp_path / "a.tif")
    assert np.abs(read.array.transpose(2, 1, 0).astype(int) - rgb).max() <= 4
    assert read.notes == (f"pixels stored as {mode} became RGB",)


def test_an_opaque_alpha_channel_is_dropped_with_a_note(tmp_path, rgb):
    Image.fromarray(rgb).convert("RGBA").save(tmp_path / "a.png")
    read = read_colour(tmp_path / "a.png")
    np.testing.assert_array_equal(read.array.transpose(2, 1, 0), rgb)
    assert read.notes == ("an opaque alpha channel was dropped",)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc, which is Linux's")
def test_twelve_megapixels_take_little_more_than_two_copies(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8))
    small.resize((4000, 3000)).save(tmp_path / "a.jpg", quality=90)
    program = (  # getrusage would count what the parent had before this process began
        "import re, sys; from pathlib import Path; from pipelines.readers import read_colour\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "before = peak(); read_colour(sys.argv[1]); print((peak() - before) / 1024)"
    )
    run = [sys.executable, "-c", program, str(tmp_path / "a.jpg")]
    mebibytes = float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    copy = 3 * 12e6 / 2**20
    assert copy < mebibytes < 4 * copy  # PIL's own copy has four bytes a pixel, and a channel passes by


# --- pictures of browsers, phones and scanners ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.webp", "a.jfif", "a.jpe", "a.JFIF", "a.jif"])
@pytest.mark.parametrize("read", [read_colour, read_case, read_xray])
def test_webp_and_jfif(tmp_path, rgb, name, read):
    grey = rgb if read is read_colour else np.repeat(rgb[:, :, :1], 3, axis=2)
    kind = {"quality": 95, "format": "JPEG"} if not name.endswith("webp") else {"lossless": True}
    if read is read_xray:
        drawn = Image.fromarray(make_chest_xray_phantom(1, 60, pneumonia=True).picture).convert("RGB")
        grey = np.asarray(drawn)
    Image.fromarray(grey).save(tmp_path / name, **kind)
    picture = read(tmp_path / name)
    if read is read_colour:
        assert picture.file_format == ("WEBP" if name.endswith("webp") else "JPEG")
        assert np.abs(picture.array.transpose(2, 1, 0).astype(int) - rgb).mean() < 4
    assert picture.array.size


def test_webp_that_moves_is_cut_or_see_through(tmp_path, rgb):
    path = tmp_path / "a.webp"
    first, second = Image.fromarray(rgb), Image.fromarray(rgb[::-1])
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(UnsupportedImageError, match="animated"):
        read_colour(path)
    first.save(path, lossless=True)
    for kept in (0.3, 0.9):
        data = path.read_bytes()
        (tmp_path / "cut.webp").write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(UnreadableFileError, match="truncated or damaged"):
            read_colour(tmp_path / "cut.webp")
    see_through = np.dstack([rgb, np.full(rgb.shape[:2], 100, np.uint8)])
    Image.fromarray(see_through, "RGBA").save(path, lossless=True)
    with pytest.raises(UnsupportedImageError, match="transparent"):
        read_colour(path)


@pytest.mark.parametrize("order", ["big", "little"])
def test_16_bits_a_channel(tmp_path, rgb, order):
    deep = rgb.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", byteorder=">" if order == "big" else "<")
    picture = read_colour(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.array.transpose(2, 1, 0), rgb)
    assert picture.notes == ("of 16 bits a channel the upper 8 were taken",)


def test_16_bit_png_in_colour(tmp_path, rgb):
    """PIL cannot write one: by hand, chunk by chunk."""
    rows, columns = rgb.shape[:2]
    raw = b"".join(b"\0" + (row.astype(np.uint16) * 257).astype(">u2").tobytes() for row in rgb)
    header = struct.pack(">IIBBBBB", columns, rows, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(read_colour(tmp_path / "a.png").array.transpose(2, 1, 0), rgb)


def test_heic_without_its_decoder_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("a.heic", "a.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(400))
        with pytest.raises(UnreadableFileError, match="pip install pillow-heif, or save it as JPEG or PNG"):
            read_colour(tmp_path / name)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_with_its_decoder(tmp_path, rgb, orientation):
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(rgb).save(tmp_path / "a.heic", quality=100, exif=exif.tobytes())
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    picture, same = read_colour(tmp_path / "a.heic"), read_colour(tmp_path / "a.png")
    assert (picture.file_format, picture.orientation, picture.notes) == ("HEIF", orientation, same.notes)
    assert np.abs(picture.array.astype(int) - same.array).mean() < 8
    data = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "cut.heic").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableFileError):
        read_colour(tmp_path / "cut.heic")
