"""Item 6 of bad-inputs.md, and item 1 as far as pictures go."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.errors import IntensityError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import read_case, read_colour, read_label, read_picture


def _png_header(width: int, height: int, depth: int = 8) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def _noisy(shape: tuple[int, int] = (200, 200)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_missing(tmp_path):
    with pytest.raises(UnreadableFileError, match="no such file"):
        read_case(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_empty(tmp_path, suffix):
    path = tmp_path / f"case{suffix}"
    path.touch()
    with pytest.raises(UnreadableFileError, match="empty"):
        read_case(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("kind", ["text", "zip", "noise"])
def test_extension_lies(tmp_path, suffix, kind):
    path = tmp_path / f"case{suffix}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a" * 1000)
    else:
        path.write_bytes(b"this is text\n" * 50 if kind == "text" else _noisy().tobytes())
    with pytest.raises(UnreadableFileError, match="is not a PNG"):
        read_case(path)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "JPEG progressive", "BMP", "TIFF", "TIFF lzw"])
def test_truncated(tmp_path, form, kept):
    name, *options = form.split()
    buffer = io.BytesIO()
    more = {"progressive": True} if options == ["progressive"] else {"compression": "tiff_lzw"} if options else {}
    Image.fromarray(_noisy()).save(buffer, name, **more)
    data = buffer.getvalue()
    path = tmp_path / f"case.{name.lower()}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UnreadableFileError):
        read_case(path)


def test_corrupt_png(tmp_path):
    path = tmp_path / "case.png"
    Image.fromarray(_noisy()).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableFileError, match="damaged"):
        read_case(path)


@pytest.mark.parametrize("side", [10_001, 60_000])  # above our limit, and above PIL's own
def test_decompression_bomb(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_header(side, side))
    with pytest.raises(UnreadableFileError, match="100 megapixels"):
        read_case(path)


@pytest.mark.parametrize("size", [(1, 1), (31, 400), (400, 31)])
def test_too_small(tmp_path, size):
    path = tmp_path / "small.png"
    Image.fromarray(_noisy(size)).save(path)
    with pytest.raises(UnsupportedImageError, match="too small"):
        read_case(path)


def test_the_smallest_side_is_the_callers(tmp_path):
    path = tmp_path / "small.png"
    Image.fromarray(_noisy((28, 30))).save(path)
    assert read_picture(path, smallest=28).array.shape == (30, 28, 1)
    with pytest.raises(UnsupportedImageError, match=r"too small \(at least 29 a side\)"):
        read_picture(path, smallest=29)
    with pytest.raises(UnsupportedImageError, match=r"too small \(at least 32 a side\)"):
        read_picture(path)


def test_constant(tmp_path):
    path = tmp_path / "black.png"
    Image.new("L", (64, 64)).save(path)
    with pytest.raises(IntensityError, match="every voxel has the value 0"):
        read_case(path)


def test_colour(tmp_path):
    path = tmp_path / "skin.jpg"
    pixels = np.stack([_noisy().clip(100), _noisy() // 2, _noisy() // 3], axis=2)
    Image.fromarray(pixels).save(path)
    with pytest.raises(
        UnsupportedImageError, match="the picture is in colour, and grey is due; save the picture as grey"
    ):
        read_case(path)


def test_coloured_mark_on_grey(tmp_path, grey):
    path = tmp_path / "arrow.png"
    pixels = np.repeat(grey[:, :, None], 3, axis=2)
    pixels[10:14, 10:14] = (255, 0, 0)
    Image.fromarray(pixels).save(path)
    with pytest.raises(UnsupportedImageError, match="in colour"):
        read_case(path)


def test_colour_in_a_palette_and_in_cmyk(tmp_path):
    pixels = np.stack([_noisy().clip(150), _noisy() // 2, _noisy() // 3], axis=2)
    Image.fromarray(pixels).quantize(32).save(tmp_path / "palette.png")
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "cmyk.jpg")
    for name in ("palette.png", "cmyk.jpg"):
        with pytest.raises(UnsupportedImageError, match="in colour"):
            read_case(tmp_path / name)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_see_through(tmp_path, grey, mode):
    path = tmp_path / "clear.png"
    picture = Image.fromarray(grey)
    if mode == "P":
        picture.convert("P").save(path, transparency=40)
    else:
        picture = picture.convert(mode)
        picture.putpixel((5, 5), (*picture.getpixel((5, 5))[:-1], 100))
        picture.save(path)
    with pytest.raises(UnsupportedImageError, match="transparent"):
        read_case(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_animated_or_many_pages(tmp_path, suffix):
    path = tmp_path / f"frames{suffix}"
    frames = [Image.fromarray(np.roll(_noisy(), k)) for k in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImageError, match="several pages"):
        read_case(path)


def test_gif_is_no_picture_here(tmp_path):
    path = tmp_path / "case.png"
    Image.fromarray(_noisy()).save(path, "GIF")
    with pytest.raises(UnreadableFileError, match="is not a PNG"):
        read_case(path)


@pytest.mark.parametrize("stored", ["ct", "wrapped"])
def test_16_bit_without_a_known_scale(tmp_path, ct, stored):
    values = ct[:, :, 0].astype(np.int32) + (1024 if stored == "ct" else 0)
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(IntensityError, match="16-bit"):
        read_case(tmp_path / "deep.png")


def test_16_bit_white_is_zero_and_colours_of_unknown_scale(tmp_path):
    deep = (_noisy().astype(np.uint16) * 257)[:, :, None].repeat(3, axis=2)
    tifffile.imwrite(tmp_path / "white.tif", deep[:, :, 0], photometric="miniswhite")
    with pytest.raises(UnsupportedImageError, match="16-bit"):
        read_case(tmp_path / "white.tif")
    for scale in (16, 256):  # 12 bits of 16, and 8 bits in the lower half
        tifffile.imwrite(tmp_path / "rgb.tif", deep // scale, photometric="rgb")
        with pytest.raises(IntensityError, match="16-bit colours"):
            read_case(tmp_path / "rgb.tif")


def test_a_label_of_16_bit_colours_is_refused(tmp_path):
    """PIL reads the upper halves, in which class numbers are all 0."""
    deep = np.full((40, 40, 3), 2, np.uint16)
    tifffile.imwrite(tmp_path / "label.tif", deep, photometric="rgb")
    with pytest.raises(UnsupportedImageError, match="16-bit colours"):
        read_label(tmp_path / "label.tif")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_tiff_without_a_number(tmp_path, grey, value):
    values = grey.astype(np.float32)
    values[3, 3] = value
    Image.fromarray(values).save(tmp_path / "float.tif")
    with pytest.raises(IntensityError, match="NaN or infinite"):
        read_case(tmp_path / "float.tif")


def test_a_cameras_jpeg_with_a_preview_is_its_first_picture(tmp_path):
    """Many cameras put a second, smaller JPEG behind the picture (MPF); and one that is cut off is still refused."""
    first = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 120, 3), dtype=np.uint8))
    first.save(tmp_path / "camera.jpg", "MPO", save_all=True, append_images=[first.resize((40, 40))])
    assert Image.open(tmp_path / "camera.jpg").n_frames == 2
    assert read_colour(tmp_path / "camera.jpg").array.shape == (3, 120, 80)
    data = (tmp_path / "camera.jpg").read_bytes()
    size = Image.open(tmp_path / "camera.jpg").mpinfo[0xB002][0]["Size"]
    (tmp_path / "cut.jpg").write_bytes(data[: size - 400] + bytes(400) + data[size:])
    with pytest.raises(UnreadableFileError):
        read_colour(tmp_path / "cut.jpg")
