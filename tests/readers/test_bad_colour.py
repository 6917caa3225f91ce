"""Item 6 of bad-inputs.md for colour pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.errors import IntensityError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import read_colour


def noisy(rows: int = 100, columns: int = 120) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def refused(path, kind: type[PipelinesError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        read_colour(path)
    assert str(path) in str(caught.value)


def test_missing_empty_and_no_picture(tmp_path):
    refused(tmp_path / "none.jpg", UnreadableFileError, "no such file")
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", UnreadableFileError, "empty")
    (tmp_path / "text.jpg").write_text("this is text\n" * 50)
    refused(tmp_path / "text.jpg", UnreadableFileError, "is not a PNG")


@pytest.mark.parametrize(
    ("name", "way"),
    [("a.gif", "save it as PNG"), ("a.npy", "save it as PNG"), ("a.nef", "develop it"), ("a.png.part", "download end")],
)
def test_a_kind_of_picture_that_is_not_read(tmp_path, name, way):
    Image.fromarray(noisy()).save(tmp_path / name, "GIF")
    refused(tmp_path / name, UnreadableFileError, f"not a kind of picture that this project reads; .*{way}")
    (tmp_path / name).write_bytes(b"")
    refused(tmp_path / name, UnreadableFileError, "the file is empty")


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF"])
def test_truncated_colour(tmp_path, form, kept):
    buffer = io.BytesIO()
    Image.fromarray(noisy()).save(buffer, form)
    path = tmp_path / f"case.{form.lower()}"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * kept)])
    refused(path, UnreadableFileError, "case")


def test_more_than_a_hundred_megapixels(tmp_path):
    Image.new("1", (10_001, 10_000)).save(tmp_path / "bomb.png")
    refused(tmp_path / "bomb.png", UnreadableFileError, "100 megapixels")


@pytest.mark.parametrize("size", [(1, 1), (31, 400), (400, 31)])
def test_colour_too_small(tmp_path, size):
    Image.fromarray(noisy(*size)).save(tmp_path / "small.png")
    refused(tmp_path / "small.png", UnsupportedImageError, "too small")


def test_constant_colour(tmp_path):
    Image.new("RGB", (64, 64), (200, 150, 120)).save(tmp_path / "flat.png")
    refused(tmp_path / "flat.png", IntensityError, r"colour \(200, 150, 120\)")


def test_one_pixel_that_differs_is_not_constant(tmp_path):
    picture = Image.new("RGB", (64, 64), (200, 150, 120))
    picture.putpixel((40, 5), (200, 150, 121))
    picture.save(tmp_path / "dot.png")
    assert read_colour(tmp_path / "dot.png").array[2, 40, 5] == 121


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_see_through_colour(tmp_path, mode):
    picture = Image.fromarray(noisy())
    path = tmp_path / "clear.png"
    if mode == "P":
        quantized = picture.quantize(16)
        quantized.save(path, transparency=quantized.getpixel((0, 0)))
    elif mode == "RGB":
        picture.save(path, transparency=picture.getpixel((0, 0)))
    else:
        picture = picture.convert(mode)
        picture.putpixel((5, 5), (*picture.getpixel((5, 5))[:-1], 254))
        picture.save(path)
    refused(path, UnsupportedImageError, "transparent")


@pytest.mark.parametrize("scale", [1, 16])
def test_16_bit_colours_that_do_not_use_their_range_are_refused(tmp_path, scale):
    tifffile.imwrite(tmp_path / "deep.tif", noisy().astype(np.uint16) * scale, photometric="rgb")
    refused(tmp_path / "deep.tif", IntensityError, "16-bit colours")


def test_16_bit_grey_of_unknown_scale_is_refused(tmp_path):
    Image.fromarray(noisy()[:, :, 0].astype(np.uint16) * 4).save(tmp_path / "deep.png")
    refused(tmp_path / "deep.png", IntensityError, "16-bit")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_that_are_no_photograph(tmp_path, mode):
    Image.fromarray(noisy()[:, :, 0]).convert(mode).save(tmp_path / "numbers.tif")
    refused(tmp_path / "numbers.tif", UnsupportedImageError, f"kind {mode}")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_animated_colour(tmp_path, suffix):
    frames = [Image.fromarray(np.roll(noisy(), k)) for k in range(3)]
    path = tmp_path / f"frames{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    refused(path, UnsupportedImageError, "several pages")
