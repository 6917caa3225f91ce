"""Volumes, extent and pictures of a predicted mask, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.tasks.lung_ct.case_report import (
    COLOURS,
    LUNG_RANGE_L,
    TILES,
    extent_notes,
    measure_case,
    overlay,
    volume_notes,
    volume_overlay,
)


def mask() -> np.ndarray:
    """100 x 100 x 10 voxels: 30,000 of lung in slices 2 to 7, 3,000 of them lesion, most in slice 5."""
    labels = np.zeros((100, 100, 10), np.uint8)
    labels[10:60, 10:110, 2:8] = 1  # 50 x 90 x 6
    labels[60:70, 10:70, 2:7] = 1  # 10 x 60 x 5
    labels[10:20, 10:20, 4:6] = 2
    labels[20:60, 10:80, 5] = 2  # 40 x 70
    return labels


def test_volumes_and_extent():
    report = measure_case(mask(), (2.0, 2.0, 5.0))
    assert report["lung_px"] == 50 * 90 * 6 + 10 * 60 * 5 == 30_000
    assert report["lesion_px"] == 2 * 100 + 40 * 70 == 3_000
    assert report["lung_ml"] == 30_000 * 0.02
    assert report["lesion_ml"] == 3_000 * 0.02
    assert report["extent"] == 0.1
    assert report["slices_with_lesion"] == 2
    assert report["largest_lesion_slice"] == 5


def test_a_picture_has_no_millilitres():
    report = measure_case(mask()[:, :, 5:6], None)
    assert report["lung_ml"] is report["lesion_ml"] is None
    assert report["extent"] == pytest.approx(2_900 / (50 * 90 + 600), abs=1e-6)


@pytest.mark.parametrize(("lung_ml", "said"), [(3.6, "0.0036 L"), (299, "0.299 L"), (12_100, "12.1 L"), (0, "0 L")])
def test_a_lung_that_no_person_has_is_said(lung_ml, said):
    (note,) = volume_notes(lung_ml)
    assert said in note
    assert "voxel size" in note
    assert LUNG_RANGE_L == (0.3, 12.0)


@pytest.mark.parametrize("lung_ml", [None, 300.0, 3_600.0, 12_000.0])
def test_a_lung_that_a_person_may_have_is_not(lung_ml):
    assert volume_notes(lung_ml) == []


@pytest.mark.parametrize(
    ("shape", "spacing", "said"),
    [
        ((512, 512, 40), (0.7, 0.7, 0.5), "20 mm high (40 voxels of 0.5 mm)"),  # slices 5 mm apart, in centimetres
        ((512, 512, 40), (0.07, 0.7, 5.0), "35.84 mm wide (512 voxels of 0.07 mm)"),
        ((512, 512, 1), (0.7, 0.07, 5.0), "35.84 mm deep"),
        ((512, 512, 40), (7.0, 0.7, 5.0), "3584 mm wide"),
        ((512, 512, 600), (0.7, 0.7, 5.0), "3000 mm high"),
    ],
)
def test_a_scan_of_a_size_that_no_chest_has_is_said(shape, spacing, said):
    (note,) = extent_notes(shape, spacing)
    assert said in note
    assert "voxel size is wrong" in note


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((512, 512, 1), (0.66, 0.66, 5.0)),  # NEMA CT1
        ((512, 512, 1), (0.468, 0.468, 10.0)),  # NEMA CT2
        ((512, 512, 3), (0.81, 0.81, 1.0)),  # three slices
        ((128, 128, 1), (0.66, 0.66, 5.0)),  # pydicom's CT_small
        ((512, 512, 9), (0.7, 0.7, 1.0)),
        ((512, 512, 60), (0.35, 0.35, 1.25)),  # an infant
        ((512, 512, 1800), (0.98, 0.98, 1.0)),  # a whole body
        ((400, 400, 1), None),
    ],
)
def test_single_slices_slabs_and_whole_bodies_are_not(shape, spacing):
    assert extent_notes(shape, spacing) == []


def test_slices_further_apart_than_the_trainings_are_said():
    (note,) = extent_notes((512, 512, 30), (0.7, 0.7, 10.0))
    assert "10 mm apart" in note
    assert extent_notes((512, 512, 40), (0.7, 0.7, 8.0)) == []


@pytest.mark.parametrize("side", [0, 2])
def test_below_the_lung_floor_nothing_is_divided(side):
    labels = np.zeros((50, 50, 4), np.uint8)
    labels[:side, :side] = 2
    for spacing in ((1.0, 1.0, 1.0), None):
        assert measure_case(labels, spacing)["extent"] is None


def test_overlay_stands_upright_with_both_outlines():
    image, labels = np.full((40, 30), -900.0, np.float32), np.zeros((40, 30), np.uint8)
    labels[5:35, 5:25] = 1
    labels[10:15, 10:15] = 2
    picture = overlay(image, labels, "hu")
    assert picture.shape == (30, 40, 3)  # rows run to the back, columns to the patient's left
    assert tuple(picture[5, 20]) == COLOURS[1]
    assert tuple(picture[10, 12]) == COLOURS[2]
    assert tuple(picture[20, 20]) == (18, 18, 18)  # (-900 + 1000) / 1400 of 255


def test_volume_overlay_shows_the_slice_with_the_largest_lesion():
    image, labels = np.zeros((32, 24, 60), np.float32), np.ones((32, 24, 60), np.uint8)
    labels[10:20, 8:16, 1] = 2  # between the evenly spaced slices 0 and 5
    picture = volume_overlay(image, labels, "display")
    assert picture.shape == (24 * TILES // 4, 32 * 4, 3)
    assert (picture == COLOURS[2]).all(axis=-1).any()


@pytest.mark.parametrize(
    ("spacing", "shape"), [((1.0, 2.0, 5.0), (48, 32)), ((2.0, 1.0, 5.0), (24, 64)), ((0.7, 0.7, 5.0), (24, 32))]
)
def test_pixels_that_are_not_square_are_drawn_in_proportion(spacing, shape):
    image, labels = np.zeros((32, 24, 1), np.float32), np.zeros((32, 24, 1), np.uint8)
    labels[8:24, 6:18] = 1
    picture = volume_overlay(image, labels, "display", spacing)
    assert picture.shape[:2] == shape
    rows, columns = np.nonzero((picture == COLOURS[1]).all(axis=2))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (shape[1] // 2, shape[0] // 2)
