from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from pipelines.errors import GeometryError, LabelError
from pipelines.evaluation import case_metrics as metrics_of

LABEL = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 0]], dtype=np.uint8)
PREDICTION = np.array([[1, 1, 1, 2], [1, 1, 2, 2], [0, 0, 2, 0]], dtype=np.uint8)
EMPTY = np.zeros((3, 4), dtype=np.uint8)
CLASSES = {1: "lung", 2: "lesion"}
TOLERANCE = {"lung": 1.0, "lesion": 3.0}


def case_metrics(prediction: Any, label: Any, **arguments: Any) -> dict[str, float]:
    """Of lung and lesion, with the tolerances of a benchmark, unless a test says otherwise."""
    arguments = {"classes": CLASSES, "nsd_tolerance": TOLERANCE} | arguments
    return metrics_of(prediction, label, **arguments)


def test_values_worked_out_by_hand() -> None:
    # lesion: 3 both, 1 missed, 1 false, 7 neither; lung: 4 both, 0 missed, 1 false, 7 neither; 10 of 12 right
    expected = {
        "lesion_dice": 6 / 8,
        "lesion_iou": 3 / 5,
        "lesion_accuracy": 10 / 12,
        "lesion_sensitivity": 3 / 4,
        "lesion_specificity": 7 / 8,
        "lung_dice": 8 / 9,
        "lung_iou": 4 / 5,
        "lung_accuracy": 11 / 12,
        "lung_sensitivity": 1.0,
        "lung_specificity": 7 / 8,
        "pixel_accuracy_with_background": 10 / 12,
    }
    metrics = case_metrics(PREDICTION, LABEL)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert metrics.keys() - expected.keys() == {"lung_hd95_px", "lung_nsd", "lesion_hd95_px", "lesion_nsd"}


def test_distances_worked_out_by_hand() -> None:
    label, prediction = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    label[1, 1], prediction[4, 5] = 2, 2  # 3 apart along X, 4 along Y
    assert case_metrics(prediction, label)["lesion_hd95_px"] == pytest.approx(5)
    in_mm = case_metrics(prediction, label, spacing=(2, 1), nsd_tolerance={"lesion": 7.3})
    assert in_mm["lesion_hd95_mm"] == pytest.approx(math.hypot(6, 4))
    assert "lesion_hd95_px" not in in_mm
    assert in_mm["lesion_nsd"] == 1
    assert case_metrics(prediction, label, spacing=(2, 1), nsd_tolerance={"lesion": 7.2})["lesion_nsd"] == 0


@pytest.mark.parametrize("shape", [(13, 17), (9, 11, 7)], ids=str)
def test_distances_equal_monai(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(3)
    spacing = (0.7, 1.3, 2.5)[: len(shape)]
    for _ in range(5):
        label, prediction = (generator.choice(3, size=shape, p=(0.8, 0.1, 0.1)).astype(np.uint8) for _ in range(2))
        label[0, 0] = prediction[-1, -1] = 2  # masks that reach the border
        metrics = case_metrics(prediction, label, spacing=spacing, nsd_tolerance={"lung": 1.5, "lesion": 1.0})
        one_hot = [torch.stack([torch.as_tensor(m == value) for value in range(3)])[None] for m in (prediction, label)]
        hd95 = compute_hausdorff_distance(*one_hot, percentile=95, spacing=spacing)[0]
        nsd = compute_surface_dice(*one_hot, class_thresholds=[1.5, 1.0], spacing=spacing)[0]
        for index, name in enumerate(("lung", "lesion")):
            assert metrics[f"{name}_hd95_mm"] == pytest.approx(hd95[index].item(), rel=1e-5)
            assert metrics[f"{name}_nsd"] == pytest.approx(nsd[index].item(), rel=1e-5)


def test_both_empty_is_undefined_where_nothing_can_be_said() -> None:
    metrics = case_metrics(EMPTY, EMPTY)
    for name in ("dice", "iou", "sensitivity", "nsd", "hd95_px"):
        assert math.isnan(metrics[f"lesion_{name}"]), name
    assert metrics["lesion_specificity"] == metrics["lesion_accuracy"] == metrics["pixel_accuracy_with_background"] == 1


def test_a_missed_lesion_is_zero() -> None:
    metrics = case_metrics(EMPTY, LABEL)
    assert [metrics[f"lesion_{name}"] for name in ("dice", "iou", "sensitivity", "nsd")] == [0, 0, 0, 0]
    assert metrics["lesion_specificity"] == 1
    assert math.isnan(metrics["lesion_hd95_px"])


def test_a_false_lesion_is_zero_and_has_no_sensitivity() -> None:
    metrics = case_metrics(PREDICTION, EMPTY)
    assert [metrics[f"lesion_{name}"] for name in ("dice", "iou", "nsd")] == [0, 0, 0]
    assert math.isnan(metrics["lesion_sensitivity"])
    assert math.isnan(metrics["lesion_hd95_px"])
    assert metrics["lesion_specificity"] == pytest.approx(8 / 12)


def test_specificity_is_undefined_without_negatives() -> None:
    full = np.full((3, 4), 2, np.uint8)
    assert math.isnan(case_metrics(full, full)["lesion_specificity"])


def test_a_picture_held_as_one_slice_is_measured_as_a_picture() -> None:
    flat, deep = (case_metrics(PREDICTION.reshape(shape), LABEL.reshape(shape)) for shape in ((3, 4), (3, 4, 1)))
    assert deep == flat
    assert case_metrics(PREDICTION[..., None], LABEL[..., None], spacing=(1, 1, 9)) == case_metrics(
        PREDICTION, LABEL, spacing=(1, 1)
    )


def test_a_single_pixel_is_measured() -> None:
    assert case_metrics([[2]], [[2]])["lesion_hd95_px"] == 0


def test_background_is_in_no_class_value() -> None:
    wide = [np.pad(array, 50) for array in (PREDICTION, LABEL)]
    near, far = case_metrics(PREDICTION, LABEL), case_metrics(*wide)
    for name in ("lesion_dice", "lesion_iou", "lesion_sensitivity", "lung_dice", "lesion_hd95_px", "lesion_nsd"):
        assert far[name] == near[name], name
    assert far["pixel_accuracy_with_background"] > near["pixel_accuracy_with_background"]


def test_float_and_bool_maps_of_whole_numbers_are_taken() -> None:
    assert case_metrics(PREDICTION.astype(np.float32), LABEL.astype(np.int64)) == case_metrics(PREDICTION, LABEL)
    assert case_metrics(LABEL == 1, LABEL == 1, classes={1: "lung"})["lung_dice"] == 1


@pytest.mark.parametrize("value", [0.5, 3, 255, -1, np.nan], ids=str)
def test_values_without_a_meaning_are_refused(value: float) -> None:
    wrong = LABEL.astype(np.float32)
    wrong[0, 0] = value
    with pytest.raises(LabelError, match="label"):
        case_metrics(PREDICTION, wrong)
    with pytest.raises(LabelError, match="prediction"):
        case_metrics(wrong, LABEL)


def test_grids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"3x4.*4x3"):
        case_metrics(PREDICTION, LABEL.T)
    with pytest.raises(GeometryError, match="must be"):
        case_metrics(LABEL[None, None], LABEL[None, None])
    for spacing in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(GeometryError, match="spacing"):
            case_metrics(PREDICTION, LABEL, spacing=spacing)


def test_memory_stays_near_the_size_of_the_volume() -> None:
    label = np.zeros((200, 200, 100), np.uint8)
    label[50:60, 50:60, 50:60] = 2
    prediction = np.roll(label, 3, axis=0)
    tracemalloc.start()
    case_metrics(prediction, label, spacing=(1, 1, 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * label.nbytes


def test_thresholded_iou_is_nothing_below_its_threshold() -> None:
    """By hand: the lesion's IoU is 3/5, the lung's 4/5."""
    metrics = case_metrics(PREDICTION, LABEL, iou_threshold=0.65)
    assert metrics["lesion_thresholded_iou"] == 0
    assert metrics["lung_thresholded_iou"] == pytest.approx(4 / 5)
    assert case_metrics(PREDICTION, LABEL, iou_threshold=3 / 5)["lesion_thresholded_iou"] == pytest.approx(3 / 5)
    assert math.isnan(case_metrics(EMPTY, EMPTY, iou_threshold=0.65)["lesion_thresholded_iou"])
    assert "lesion_thresholded_iou" not in case_metrics(PREDICTION, LABEL)


def test_binary_masks_worked_out_by_hand() -> None:
    """12 pixels: 3 both, 1 missed, 2 false, 6 neither. Not the same number for whatever is given."""
    label = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    prediction = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    metrics = case_metrics(prediction, label, classes={1: "lesion"}, nsd_tolerance={})
    expected = {
        "lesion_dice": 6 / 9, "lesion_iou": 3 / 6, "lesion_sensitivity": 3 / 4, "lesion_specificity": 6 / 8,
        "lesion_accuracy": 9 / 12, "pixel_accuracy_with_background": 9 / 12,
    }  # fmt: skip
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert case_metrics(label, label, classes={1: "lesion"}, nsd_tolerance={})["lesion_iou"] == 1
