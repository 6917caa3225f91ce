"""Item 5 of bad-inputs.md, as far as a label can be judged without its dataset."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import GeometryError, LabelError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import read_case, read_label

AFFINE = np.diag([-0.7, -0.7, 2.0, 1.0])


@pytest.fixture
def label(ct) -> np.ndarray:
    values = (ct < -800).astype(np.uint8)
    values[12:14, 15:18, 1:3] = 2
    return values


@pytest.fixture
def image(write_nifti, ct):
    return read_case(write_nifti(ct, AFFINE))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.int64])
def test_whole_numbers_of_any_kind(write_nifti, label, image, dtype):
    read = read_label(write_nifti(label.astype(dtype), AFFINE, name="label.nii.gz"), image)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, label)


def test_255_and_unseen_values_are_passed_on(write_nifti, label):
    np.testing.assert_array_equal(read_label(write_nifti(label * np.uint8(100))), label * 100)
    np.testing.assert_array_equal(read_label(write_nifti((label > 0) * np.uint8(255))), (label > 0) * 255)


def test_all_background_is_a_label(write_nifti, label, image):
    assert not read_label(write_nifti(label * 0, AFFINE, name="label.nii"), image).any()


@pytest.mark.parametrize("value", [0.5, 1.01, np.nan, np.inf, -1, 256, 70000, 2.0**40])
def test_values_that_are_no_class(write_nifti, label, value):
    values = label.astype(np.float64)
    values[3, 3, 3] = value
    with pytest.raises(LabelError):
        read_label(write_nifti(values, AFFINE))


def test_int64_beyond_float32(write_nifti, label):
    values = label.astype(np.int64)
    values[0, 0, 0] = 2**40 + 1
    with pytest.raises(LabelError):
        read_label(write_nifti(values))


def test_another_shape(write_nifti, label, image):
    for cut in (label[:-1], label[:, :, :1], np.concatenate([label, label], axis=2)):
        with pytest.raises(GeometryError, match=r"label has the shape .* grid of case\.nii"):
            read_label(write_nifti(cut, AFFINE, name="label.nii"), image)


@pytest.mark.parametrize("change", ["shift", "spacing", "mirror", "rotation"])
def test_another_affine(write_nifti, label, image, change):
    affine = AFFINE.copy()
    if change == "shift":
        affine[2, 3] = 1
    elif change == "spacing":
        affine[2, 2] = 2.2
    elif change == "mirror":
        affine[0, 0] *= -1
    else:
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
        affine = turn @ affine
    with pytest.raises(GeometryError, match="another affine"):
        read_label(write_nifti(label, affine, name="label.nii"), image)


def test_rounding_of_the_affine_is_let_through(write_nifti, label, image):
    affine = AFFINE.copy()
    affine[0, 0] += 1e-4
    affine[1, 3] += 0.01
    np.testing.assert_array_equal(read_label(write_nifti(label, affine, name="label.nii"), image), label)


def test_same_grid_stored_in_other_directions(write_nifti, label, image):
    """dcm2niix turns rows upside down and says so in the affine: the same voxels, so the label is right."""
    affine = AFFINE.copy()
    affine[1] = [0, 0.7, 0, -0.7 * (label.shape[1] - 1)]
    np.testing.assert_array_equal(read_label(write_nifti(label[:, ::-1], affine, name="l.nii"), image), label)
    swapped = AFFINE[:, [2, 0, 1, 3]]
    np.testing.assert_array_equal(
        read_label(write_nifti(label.transpose(2, 0, 1), swapped, name="l.nii"), image), label
    )


@pytest.fixture
def picture(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "image.png")
    return read_case(tmp_path / "image.png")


def test_picture_labels(tmp_path, grey, picture):
    mask = (grey > 128).astype(np.uint8) * 255
    for mode in ("L", "1", "RGB"):
        Image.fromarray(mask).convert(mode).save(tmp_path / "mask.png")
        np.testing.assert_array_equal(read_label(tmp_path / "mask.png", picture)[:, :, 0].T, mask)


def test_colour_palette_gives_indices(tmp_path, grey, picture):
    classes = grey // 100
    palette = Image.fromarray(classes).convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.save(tmp_path / "mask.png", transparency=0)
    np.testing.assert_array_equal(read_label(tmp_path / "mask.png", picture)[:, :, 0].T, classes)


def test_grey_palette_gives_grey_values(tmp_path, grey, picture):
    palette = Image.fromarray(grey // 128).convert("P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_label(tmp_path / "mask.png", picture)[:, :, 0].T, grey // 128 * 255)


def test_16_bit_picture_labels(tmp_path, grey):
    Image.fromarray((grey // 100).astype(np.uint16)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_label(tmp_path / "mask.png")[:, :, 0].T, grey // 100)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "mask.png")
    with pytest.raises(LabelError):
        read_label(tmp_path / "mask.png")


def test_picture_label_of_another_size_or_kind(tmp_path, grey, picture, image):
    Image.fromarray(grey[1:]).save(tmp_path / "mask.png")
    with pytest.raises(GeometryError, match="shape"):
        read_label(tmp_path / "mask.png", picture)
    with pytest.raises(GeometryError, match="is a picture, its image a volume"):
        read_label(tmp_path / "mask.png", image)


def test_colour_picture_label(tmp_path):
    Image.new("RGB", (40, 40), (200, 20, 10)).save(tmp_path / "mask.png")
    with pytest.raises(UnsupportedImageError, match="colour"):
        read_label(tmp_path / "mask.png")


def test_files_that_are_no_label(tmp_path, write_series):
    folder = write_series()
    with pytest.raises(UnsupportedImageError):
        read_label(folder)
    with pytest.raises(UnsupportedImageError):
        read_label(next(folder.iterdir()))
    (tmp_path / "a.txt").write_text("1")
    for name in ("a.txt", "none.nii"):
        with pytest.raises(UnreadableFileError):
            read_label(tmp_path / name)


def test_nifti_label_on_a_dicom_series(write_series, write_nifti, ct):
    """The affine of a series is the one that other programs write for it."""
    series = read_case(write_series())
    values = (ct < -800).astype(np.uint8)
    np.testing.assert_array_equal(read_label(write_nifti(values, series.affine), series), values)
    affine = series.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (ct.shape[1] - 1)
    affine[:3, 1] *= -1
    np.testing.assert_array_equal(read_label(write_nifti(values[:, ::-1], affine), series), values)
