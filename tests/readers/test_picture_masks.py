from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import GeometryError, LabelError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import ColourPicture, read_colour, read_mask_of

ROWS, COLUMNS = 50, 60


@pytest.fixture
def lesion() -> np.ndarray:
    """uint8 (rows, columns) of 0 and 1, without any symmetry."""
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    mask[4:30, 10:25] = 1
    mask[4:9, 25:40] = 1
    return mask


@pytest.fixture
def picture_of(tmp_path: Path) -> Callable[..., ColourPicture]:
    """A picture of a size, read back, stored with an EXIF orientation."""

    def make(rows: int = ROWS, columns: int = COLUMNS, orientation: int = 1) -> ColourPicture:
        exif = Image.Exif()
        exif[274] = orientation
        pixels = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "picture.png", exif=exif)
        return read_colour(tmp_path / "picture.png")

    return make


def refused(path: Path, picture: ColourPicture, kind: type[PipelinesError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        read_mask_of(path, picture)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("stored", ["0 and 1", "0 and 255", "RGB", "palette", "colour palette", "1 bit"])
def test_masks_as_they_are_stored(tmp_path, lesion, picture_of, stored):
    if stored == "0 and 1":
        image = Image.fromarray(lesion)
    elif "palette" in stored:
        image = Image.fromarray(lesion, "P")
        image.putpalette([0, 0, 0] + ([128, 0, 0] if "colour" in stored else [255, 255, 255]))
    else:
        image = Image.fromarray(lesion * 255)
        image = image.convert({"0 and 255": "L", "RGB": "RGB", "1 bit": "1"}[stored])
    image.save(tmp_path / "mask.png")
    mask = read_mask_of(str(tmp_path / "mask.png"), picture_of())
    assert mask.array.dtype == np.uint8
    np.testing.assert_array_equal(mask.array.T, lesion)
    assert mask.notes == ()


@pytest.mark.parametrize(("low", "high"), [(15, 255), (0, 240), (1, 254)])
def test_values_near_black_and_white_are_settled_with_a_note(tmp_path, lesion, picture_of, low, high):
    values = lesion * 255
    values[0, :3], values[10, 12] = low, high
    Image.fromarray(values).save(tmp_path / "mask.png")
    mask = read_mask_of(tmp_path / "mask.png", picture_of())
    np.testing.assert_array_equal(mask.array.T, lesion)
    assert "brought to 0 and 1" in mask.notes[0]


@pytest.mark.parametrize("value", [16, 128, 239])
def test_values_in_between_are_refused(tmp_path, lesion, picture_of, value):
    values = lesion * 255
    values[10, 12] = value
    Image.fromarray(values).save(tmp_path / "mask.png")
    refused(tmp_path / "mask.png", picture_of(), LabelError, f"values 0, {value}, 255")


def test_class_numbers_are_no_lesion_mask(tmp_path, lesion, picture_of):
    Image.fromarray(lesion * 2).save(tmp_path / "mask.png")
    refused(tmp_path / "mask.png", picture_of(), LabelError, "values 0, 2")


def test_an_empty_mask_is_refused_and_a_full_one_is_not(tmp_path, lesion, picture_of):
    Image.fromarray(lesion * 0).save(tmp_path / "empty.png")
    refused(tmp_path / "empty.png", picture_of(), LabelError, "mask is empty")
    Image.fromarray(np.full_like(lesion, 255)).save(tmp_path / "full.png")
    assert read_mask_of(tmp_path / "full.png", picture_of()).array.all()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_on_its_side_is_turned_with_its_picture(tmp_path, lesion, picture_of, orientation):
    picture = picture_of(orientation=orientation)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(lesion * 255).save(tmp_path / "told.png", exif=exif)  # PIL itself turns this one
    upright = read_mask_of(tmp_path / "told.png", picture)
    assert (upright.array.shape, upright.notes) == ((ROWS, COLUMNS), ())
    Image.fromarray(lesion * 255).save(tmp_path / "stored.png")
    turned = read_mask_of(tmp_path / "stored.png", picture)
    np.testing.assert_array_equal(turned.array, upright.array)
    assert "turned as the EXIF orientation" in turned.notes[0]


def test_an_upright_mask_of_a_turned_picture_stays(tmp_path, lesion, picture_of):
    Image.fromarray(lesion * 255).save(tmp_path / "mask.png")
    mask = read_mask_of(tmp_path / "mask.png", picture_of(COLUMNS, ROWS, orientation=6))
    np.testing.assert_array_equal(mask.array.T, lesion)
    assert mask.notes == ()


@pytest.mark.parametrize(("columns", "orientation"), [(COLUMNS, 3), (ROWS, 6)])
def test_a_mask_whose_size_does_not_tell_which_way_up_it_is_is_refused(
    tmp_path, lesion, picture_of, columns, orientation
):
    Image.fromarray(lesion[:, :columns] * 255).save(tmp_path / "mask.png")
    with pytest.raises(GeometryError, match="which way up"):
        read_mask_of(tmp_path / "mask.png", picture_of(ROWS, columns, orientation))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_mask_of_another_size_is_refused(tmp_path, lesion, picture_of, orientation):
    Image.fromarray(lesion[:-1] * 255).save(tmp_path / "mask.png")
    refused(tmp_path / "mask.png", picture_of(orientation=orientation), GeometryError, "60 x 49 pixels")


def test_a_lying_mask_of_a_picture_that_was_not_turned_is_refused(tmp_path, lesion, picture_of):
    Image.fromarray(lesion.T * 255).save(tmp_path / "mask.png")
    refused(tmp_path / "mask.png", picture_of(), GeometryError, "50 x 60 pixels lies on a picture of 60 x 50")


def test_masks_that_cannot_be_read(tmp_path, lesion, picture_of):
    refused(tmp_path / "none.png", picture_of(), UnreadableFileError, "no such file")
    Image.fromarray(np.stack([lesion * 200, lesion * 0, lesion * 0], axis=2)).save(tmp_path / "red.png")
    refused(tmp_path / "red.png", picture_of(), UnsupportedImageError, "in colour")
    (tmp_path / "mask.nii.gz").write_bytes(b"x")
    refused(tmp_path / "mask.nii.gz", picture_of(), UnsupportedImageError, "is a picture")
