from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import IntensityError
from pipelines.readers import classify


def _f(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32)


def test_hounsfield_units_pass_unchanged(ct):
    array = _f(ct)
    assert classify(array, "x") == ("hu", ())
    np.testing.assert_array_equal(array, ct)


@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
def test_padding_becomes_air(ct, padding):
    ct[:3] = padding
    array = _f(ct)
    intensity, notes = classify(array, "x")
    assert intensity == "hu"
    assert (array[:3] == -1024).all()
    assert "-1024" in notes[0]
    np.testing.assert_array_equal(array[3:], ct[3:])


def test_metal_passes(ct):
    ct[20, 20] = 32767
    assert classify(_f(ct), "x")[0] == "hu"


def test_grey_passes(grey):
    assert classify(_f(grey)[:, :, None], "x") == ("display", ())


def test_zero_to_one_is_scaled(grey):
    array = _f(grey)[:, :, None] / np.float32(grey.max())
    intensity, notes = classify(array, "x")
    assert (intensity, array.max()) == ("display", 255)
    assert "0..255" in notes[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_number(ct, value):
    array = _f(ct)
    array[3, 4, 2] = value
    with pytest.raises(IntensityError, match="NaN or infinite"):
        classify(array, "x")


def test_constant():
    with pytest.raises(IntensityError, match="every voxel"):
        classify(np.full((40, 40, 2), -1000, np.float32), "x")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda ct: ct + 1024.0, "without their rescale"),  # stored values 0..4095
        (lambda ct: np.where(ct < -900, -2000, ct + 1024), "no air or lung"),  # the same with padding
        (lambda ct: ct - 1024.0, "no soft tissue"),  # the intercept applied twice
        (lambda ct: ct.clip(-160, 240), "below -200 HU there is nothing"),  # a soft-tissue window
        (lambda ct: (ct - ct.mean()) / ct.std(), "below -200 HU there is nothing"),  # z-scores
        (lambda ct: np.where(ct == 777, 60000, ct), "are not Hounsfield units"),
        (lambda ct: np.where(ct > 0, 255.0, 0), "only two steps"),  # a mask
        (lambda ct: np.where(ct > 0, 1.0, 0) + 2 * (ct < -900), "few steps"),  # a label
    ],
)
def test_other_meanings_are_refused(ct, spoil, words):
    with pytest.raises(IntensityError, match=words):
        classify(_f(spoil(ct.astype(np.float64))), "x")


def test_the_message_names_the_file(ct):
    with pytest.raises(IntensityError, match=r"case7\.nii: .*; export"):
        classify(_f(ct) + 1024, "case7.nii")
