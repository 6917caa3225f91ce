"""Items 1, 3 and 6 of bad-inputs.md for chest X-rays: each fault has its kind, its words, and the file's name."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from xray_pictures import chest, clouds

from pipelines.errors import IntensityError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import read_xray

PLANE = chest()


def refused(path: Path, kind: type[PipelinesError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        read_xray(path)
    assert str(path) in str(caught.value)
    assert caught.value.how, "no way out is said"


def test_missing_empty_and_no_picture_at_all(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="no such file"):
        read_xray(tmp_path / "none.png")
    (tmp_path / "empty.jpeg").touch()
    refused(tmp_path / "empty.jpeg", UnreadableFileError, "empty")
    (tmp_path / "text.png").write_text("no picture\n" * 90)
    refused(tmp_path / "text.png", UnreadableFileError, "is not a PNG")
    Image.fromarray(PLANE).save(tmp_path / "gif.png", "GIF")
    refused(tmp_path / "gif.png", UnreadableFileError, "is not a PNG")


@pytest.mark.parametrize(
    ("name", "way"),
    [("a.gif", "save it as PNG"), ("a.npy", "save it as PNG"), ("a.nef", "develop it"), ("a.png.part", "download end")],
)
def test_a_kind_of_picture_that_is_not_read(tmp_path: Path, name: str, way: str) -> None:
    Image.fromarray(PLANE).save(tmp_path / name, "GIF")
    refused(tmp_path / name, UnreadableFileError, f"not a kind of picture that this project reads; .*{way}")
    (tmp_path / name).write_bytes(b"")
    refused(tmp_path / name, UnreadableFileError, "the file is empty")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_an_xray_that_is_cut_off(tmp_path: Path, form: str, kept: float) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PLANE).save(buffer, form)
    path = tmp_path / f"cut.{form.lower()}"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * kept)])
    refused(path, UnreadableFileError, "truncated|damaged|is not a PNG")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "folder"])
def test_volumes_and_folders_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    else:
        path.write_bytes(bytes(100))
    refused(path, UnsupportedImageError, "not a volume or a series; give the file of the frontal view")


@pytest.mark.parametrize("name", ["a.dcm", "no_suffix"])
def test_dicom_that_is_damaged(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(100))
    refused(tmp_path / name, UnreadableFileError, "transfer syntax|truncated or damaged")


def zero_or_one(dtype: type) -> np.ndarray:
    return np.rint(PLANE / 255).astype(dtype)


@pytest.mark.parametrize(
    ("name", "plane", "words"),
    [
        ("a.png", zero_or_one(np.uint8), "0 or 1 and nothing else"),
        ("a.png", zero_or_one(np.uint16), "0 or 1 and nothing else"),
        ("a.tif", zero_or_one(np.float32), "0 or 1 and nothing else"),
        ("a.png", (PLANE > 100).astype(np.uint8) * 255, "has 2 grey levels"),
        ("a.bmp", PLANE > 100, "has 2 grey levels"),
        ("a.png", PLANE // 64 * 85, "has 4 grey levels"),
        ("a.png", np.zeros_like(PLANE), "every pixel has the value 0"),
        ("a.jpg", np.full_like(PLANE, 255), "every pixel has the value 255"),
        ("a.tif", (PLANE / 127.5 - 1).astype(np.float32), "not within 0 to 255"),
        ("a.tif", PLANE.astype(np.float32) * 16, "not within 0 to 255"),
        ("a.tif", np.where(PLANE > 200, np.nan, PLANE).astype(np.float32), "not within 0 to 255"),
        ("a.tif", np.where(PLANE > 200, np.inf, PLANE).astype(np.float32), "not within 0 to 255"),
        ("a.png", PLANE.astype(np.uint16) * 16, "16-bit picture with values from"),
    ],
)
def test_values_that_are_not_grey_from_0_to_255(tmp_path: Path, name: str, plane: np.ndarray, words: str) -> None:
    Image.fromarray(plane).save(tmp_path / name)
    refused(tmp_path / name, IntensityError, words)


def test_a_picture_that_is_nearly_black_in_spite_of_its_marker(tmp_path: Path) -> None:
    plane = PLANE // 20
    plane[3:6, 3:28] = np.linspace(100, 255, 25)
    assert len(np.unique(plane)) > 30
    Image.fromarray(plane).save(tmp_path / "dark.png")
    refused(tmp_path / "dark.png", IntensityError, r"nearly all of the picture has one grey \(0 to \d+ of 255\)")


@pytest.mark.parametrize("kind", ["8 bits", "16 bits", "jpeg", "fractions", "colour channels", "framed"])
def test_a_negative(tmp_path: Path, kind: str) -> None:
    plane = 255 - PLANE
    path = tmp_path / {"jpeg": "a.jpg", "fractions": "a.tif"}.get(kind, "a.png")
    pictures: dict[str, Callable[[], np.ndarray]] = {
        "16 bits": lambda: plane.astype(np.uint16) * 257,
        "fractions": lambda: (plane / 255).astype(np.float32),
        "colour channels": lambda: np.repeat(plane[:, :, None], 3, axis=2),
        "framed": lambda: np.pad(plane, 15),
    }
    Image.fromarray(pictures.get(kind, lambda: plane)()).save(path)
    refused(path, IntensityError, "looks like a negative.*invert it")


def test_16_bits_with_white_at_zero_or_in_colours_of_unknown_scale(tmp_path: Path) -> None:
    deep = (255 - PLANE).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "white.tif", deep, photometric="miniswhite")
    refused(tmp_path / "white.tif", UnsupportedImageError, "16-bit white-is-zero")
    tifffile.imwrite(tmp_path / "rgb.tif", np.repeat(deep[:, :, None] // 16, 3, axis=2), photometric="rgb")
    refused(tmp_path / "rgb.tif", IntensityError, "16-bit colours")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_xray_that_is_see_through(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(PLANE).convert(mode)
    picture.putpixel((5, 5), (*picture.getpixel((5, 5))[:-1], 100))
    picture.save(tmp_path / "a.png")
    refused(tmp_path / "a.png", UnsupportedImageError, "transparent")


@pytest.mark.parametrize("kind", ["photograph", "palette", "cmyk", "arrow", "tint"])
def test_a_picture_in_colour(tmp_path: Path, kind: str) -> None:
    pixels = np.stack([clouds(seed) for seed in range(3)], axis=2)
    if kind in ("arrow", "tint"):
        pixels = np.repeat(PLANE[:, :, None], 3, axis=2)
        if kind == "arrow":
            pixels[10:20, 10:20] = (255, 0, 0)
        else:
            pixels = (pixels * np.array([1.0, 0.85, 0.6])).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture = picture.quantize(64) if kind == "palette" else picture.convert("CMYK") if kind == "cmyk" else picture
    path = tmp_path / ("a.jpg" if kind == "cmyk" else "a.png")
    picture.save(path)
    refused(path, UnsupportedImageError, "in colour, and grey is due")


@pytest.mark.parametrize(
    ("shape", "words"), [((1, 1), "too small"), ((10, 10), "too small"), ((27, 60), "too small"), ((30, 200), "strip")]
)
def test_sizes_that_are_no_chest(tmp_path: Path, shape: tuple[int, int], words: str) -> None:
    Image.fromarray(chest(0, (200, 200))[: shape[0], : shape[1]]).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", UnsupportedImageError, words)
