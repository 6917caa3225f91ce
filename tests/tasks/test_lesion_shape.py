"""Sizes of a lesion in pixels, against figures worked out by hand; and its outline."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.tasks.dermoscopy.lesion_shape import OUTLINE, measure_lesion, outlined


def test_a_rectangle_measured_by_hand() -> None:
    mask = np.zeros((40, 30), dtype=np.uint8)  # W x H
    mask[5:15, 10:34] = 1
    assert measure_lesion(mask) == {
        "area_px": 200,
        "area_share": pytest.approx(200 / 1200, abs=1e-6),
        "parts": 1,
        "diameter_px": pytest.approx(np.hypot(10, 20), abs=0.05),
        "equivalent_diameter_px": pytest.approx(np.sqrt(4 * 200 / np.pi), abs=0.05),
        "box_px": {"left": 5, "top": 10, "width": 10, "height": 20},
        "touches_border": True,
    }


def test_diameter_is_the_widest_distance_and_not_that_of_the_box() -> None:
    x, y = np.meshgrid(np.arange(200), np.arange(200), indexing="ij")
    disc = (x - 100) ** 2 + (y - 90) ** 2 <= 50**2
    assert measure_lesion(disc)["diameter_px"] == pytest.approx(101, abs=1)
    assert measure_lesion(disc)["equivalent_diameter_px"] == pytest.approx(100, abs=1)
    assert measure_lesion(disc)["touches_border"] is False
    along = np.zeros((100, 100), dtype=bool)
    along[np.arange(10, 90), np.arange(10, 90)] = True
    assert measure_lesion(along)["diameter_px"] == pytest.approx(np.hypot(80, 80), abs=0.05)
    assert measure_lesion(along)["parts"] == 1  # corners touch


def test_a_single_pixel_and_nothing() -> None:
    mask = np.zeros((9, 9))
    assert measure_lesion(mask)["area_px"] == measure_lesion(mask)["diameter_px"] == 0
    assert measure_lesion(mask)["box_px"] is None
    mask[4, 4] = 1
    assert measure_lesion(mask)["diameter_px"] == pytest.approx(np.sqrt(2), abs=0.05)


def test_outline_lies_on_the_lesions_edge_upright() -> None:
    picture = np.full((3, 60, 40), 200, dtype=np.uint8)  # W 60, H 40
    mask = np.zeros((60, 40), dtype=np.uint8)
    mask[10:30, 5:15] = 1
    drawn = outlined(picture, mask)
    assert drawn.shape == (40, 60, 3)
    rows, columns = np.nonzero((drawn == OUTLINE).all(axis=-1))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 29, 5, 14)
    assert (drawn[8:12, 15:25] == 200).all()
    assert (drawn[30:, 40:] == 200).all()


def test_overlay_of_a_large_picture_is_made_smaller() -> None:
    picture = np.zeros((3, 4288, 2848), dtype=np.uint8)
    assert outlined(picture, np.zeros((4288, 2848))).shape == (1063, 1600, 3)


def test_outline_runs_along_the_border_where_the_lesion_does() -> None:
    """Or a picture that is all lesion would look like one in which nothing was found."""
    picture = np.full((3, 60, 40), 200, dtype=np.uint8)
    drawn = (outlined(picture, np.ones((60, 40))) == OUTLINE).all(axis=-1)
    assert drawn[0].all()
    assert drawn[-1].all()
    assert drawn[:, 0].all()
    assert drawn[:, -1].all()
    assert not drawn[5:-5, 5:-5].any()
