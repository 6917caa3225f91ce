from __future__ import annotations

import io

import nibabel.orientations as orientations
import numpy as np
import pytest
from PIL import Image

from pipelines.evaluation.pictures import CasePicture, draw_cases, grey, telling_slice, upright

BLUE, ORANGE = (0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)


def _drawn(*pictures: CasePicture) -> np.ndarray:
    file = io.BytesIO()
    draw_cases(pictures, file)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def _has(drawn: np.ndarray, colour: tuple[int, int, int]) -> bool:
    rows = drawn[: int(len(drawn) * 0.85)]  # above the legend
    return bool((np.abs(rows - colour).max(axis=-1) < 12).any())


def _picture(case: str = "case", *, label: bool = False, prediction: bool = False) -> CasePicture:
    mask = np.zeros((20, 16), bool)
    mask[4:12, 4:12] = True
    return CasePicture(case, 0.5, np.full((20, 16), 90, np.uint8), mask & label, mask & prediction)


@pytest.mark.parametrize(("label", "prediction"), [(True, False), (False, True), (False, False)])
def test_outlines_have_their_colours(label: bool, prediction: bool) -> None:
    drawn = _drawn(_picture(label=label, prediction=prediction))
    assert _has(drawn, BLUE) == label
    assert _has(drawn, ORANGE) == prediction


def test_names_are_drawn_as_they_are() -> None:
    _drawn(_picture("$\\frac{$"), _picture("long " * 40), _picture("\x00\udcff\n"), _picture())


def test_a_mask_of_one_pixel_in_one_row() -> None:
    line = np.array([[False, True, False]])
    assert _has(_drawn(CasePicture("line", float("nan"), None, line, ~line)), BLUE)


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        draw_cases([], io.BytesIO())


def test_telling_slice() -> None:
    label, prediction = np.zeros((4, 4, 5), bool), np.zeros((4, 4, 5), bool)
    prediction[:, :, 1] = True
    assert telling_slice(label, prediction) == 1
    label[0, 0, 2], label[:2, 0, 3] = True, True
    assert telling_slice(label, prediction) == 3


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAI", "RPI", "PLS", "ARI"])
def test_upright_for_any_orientation(axes: str) -> None:
    """The patient's right is on the left and the front on top, whichever way the volume is stored."""
    lps = np.zeros((4, 6, 2))
    lps[0, 5] = 1  # most right and most to the back
    start, end = (orientations.axcodes2ornt(codes) for codes in ("LPS", axes))
    transform = orientations.ornt_transform(start, end)
    stored = orientations.apply_orientation(lps, transform)
    affine = np.diag([-1, -1, 1, 1]) @ orientations.inv_ornt_aff(transform, lps.shape)
    shown = upright(stored[:, :, 0], affine)
    assert shown.shape == (6, 4)
    assert shown[5, 0] == 1
    assert shown.sum() == 1


def test_a_picture_is_only_transposed() -> None:
    plane = np.arange(6).reshape(2, 3)
    assert np.array_equal(upright(plane, None), plane.T)


def test_grey_keeps_the_window() -> None:
    assert grey(np.array([-2000.0, -1000.0, -300.0, 400.0, np.nan]), -1000, 400).tolist() == [0, 0, 127, 255, 182]
    assert grey(np.full((3, 3), 7.0)).max() == 0
