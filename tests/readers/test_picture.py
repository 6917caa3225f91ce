from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipelines.readers import read_case


def test_columns_come_first_and_spacing_is_unknown(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "a.png")
    case = read_case(str(tmp_path / "a.png"))
    assert case.array.shape == (60, 50, 1)
    assert case.array.dtype == np.float32
    np.testing.assert_array_equal(case.array[:, :, 0].T, grey)
    np.testing.assert_array_equal(case.affine, np.diag([-1, -1, 1, 1]))
    assert (case.kind, case.intensity, case.spacing, case.notes) == ("picture", "display", None, ())


@pytest.mark.parametrize("size", [(33, 47), (153, 211), (32, 32)])
def test_odd_sizes(tmp_path, size):
    Image.fromarray(np.arange(size[0] * size[1]).reshape(size).astype(np.uint8)).save(tmp_path / "a.bmp")
    assert read_case(tmp_path / "a.bmp").array.shape == (size[1], size[0], 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, grey, orientation):
    """Each orientation, checked against the EXIF standard's own words: where row 0 and column 0 of the file lie."""
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(grey).save(tmp_path / "a.png", exif=exif)
    upright = {
        1: grey,
        2: grey[:, ::-1],
        3: grey[::-1, ::-1],
        4: grey[::-1],
        5: grey.T,
        6: np.rot90(grey, -1),
        7: grey[::-1, ::-1].T,
        8: np.rot90(grey),
    }[orientation]
    case = read_case(tmp_path / "a.png")
    np.testing.assert_array_equal(case.array[:, :, 0].T, upright)
    assert any("EXIF" in note for note in case.notes) == (orientation != 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_grey_content_in_other_modes(tmp_path, grey, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(grey).convert(mode).save(path)
    case = read_case(path)
    np.testing.assert_array_equal(case.array[:, :, 0].T, grey)
    assert case.notes


def test_shuffled_grey_palette(tmp_path, grey):
    picture = Image.fromarray(255 - grey).convert("P")
    picture.putpalette([255 - value for value in range(256) for _ in range(3)])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_case(tmp_path / "a.png").array[:, :, 0].T, grey)


def test_chroma_noise_is_not_colour(tmp_path, grey):
    noise = np.random.default_rng(0).integers(-3, 4, (*grey.shape, 3))
    pixels = (grey[:, :, None].astype(int) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    case = read_case(tmp_path / "a.jpg")
    assert np.abs(case.array[:, :, 0].T - grey).mean() < 8


def test_16_bit_with_8_bit_values(tmp_path, grey):
    Image.fromarray(grey.astype(np.uint16)).save(tmp_path / "a.png")
    case = read_case(tmp_path / "a.png")
    np.testing.assert_array_equal(case.array[:, :, 0].T, grey)
    assert "16-bit" in case.notes[0]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_at_full_range(tmp_path, grey, name):
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / name)
    np.testing.assert_allclose(read_case(tmp_path / name).array[:, :, 0].T, grey, atol=1e-4)


def test_float_tiff_in_hounsfield_units(tmp_path, ct):
    Image.fromarray(ct[:, :, 0].T.astype(np.float32)).save(tmp_path / "a.tif")
    case = read_case(tmp_path / "a.tif")
    assert (case.kind, case.intensity) == ("picture", "hu")
    np.testing.assert_array_equal(case.array[:, :, 0], ct[:, :, 0])


def test_a_wrong_but_readable_extension(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "a.jpg", "PNG")
    np.testing.assert_array_equal(read_case(tmp_path / "a.jpg").array[:, :, 0].T, grey)
