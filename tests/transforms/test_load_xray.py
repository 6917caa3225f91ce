"""A chest X-ray as a network gets it: one grey channel 0..1, upright, whatever the file held it in."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image

from pipelines.errors import IntensityError
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.transforms import LoadXrayd


@pytest.fixture
def plane() -> np.ndarray:
    """uint8 (rows, columns), wider than high."""
    drawn = Image.fromarray(make_chest_xray_phantom(1, 120, pneumonia=True).picture)
    return np.asarray(drawn.resize((120, 91)))


def load(path: Path) -> MetaTensor:
    return LoadXrayd("image")({"image": str(path), "case": "a"})["image"]


def test_one_channel_from_0_to_1(tmp_path: Path, plane: np.ndarray) -> None:
    Image.fromarray(plane).save(tmp_path / "a.png")
    image = load(tmp_path / "a.png")
    assert (tuple(image.shape), image.dtype) == ((1, 120, 91), torch.float32)
    np.testing.assert_allclose(image.numpy()[0].T, plane / 255, atol=1e-6)
    assert image.meta["filename_or_obj"] == str(tmp_path / "a.png")
    assert (image.meta["kind"], image.meta["notes"]) == ("picture", "")


@pytest.mark.parametrize("kind", ["16 bits", "fractions", "RGBA", "P", "CMYK", "on its side in EXIF"])
def test_every_way_to_store_a_picture_gives_the_same_numbers(
    tmp_path: Path, plane: np.ndarray, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, exif = tmp_path / "a.tif", Image.Exif()
    if kind == "16 bits":
        picture = Image.fromarray(plane.astype(np.uint16) * 257)
    elif kind == "fractions":
        picture = Image.fromarray((plane / 255).astype(np.float32))
    elif kind == "on its side in EXIF":
        path, exif[274] = tmp_path / "a.png", 6
        picture = Image.fromarray(np.ascontiguousarray(np.rot90(plane)))
    else:
        picture = Image.fromarray(plane).convert(kind)
    picture.save(path, exif=exif)
    with caplog.at_level(logging.INFO):
        image = load(path)
    np.testing.assert_allclose(image.numpy()[0].T, plane / 255, atol=1e-5)
    assert image.meta["notes"]
    assert all(note in caplog.text for note in image.meta["notes"].split("; "))


def test_twelve_megapixels(tmp_path: Path, plane: np.ndarray) -> None:
    Image.fromarray(plane).resize((4000, 3000)).save(tmp_path / "large.jpg", quality=90)
    image = load(tmp_path / "large.jpg")
    assert tuple(image.shape) == (1, 4000, 3000)
    assert 0 <= float(image.min()) < float(image.max()) <= 1


def test_a_fault_is_still_to_be_found_behind_what_monai_raises(tmp_path: Path, plane: np.ndarray) -> None:
    Image.fromarray(255 - plane).save(tmp_path / "negative.png")
    with pytest.raises(IntensityError, match="looks like a negative"):
        load(tmp_path / "negative.png")
    with pytest.raises(RuntimeError) as raised:
        Compose([LoadXrayd("image")])({"image": str(tmp_path / "negative.png")})
    assert isinstance(raised.value.__cause__, IntensityError)
