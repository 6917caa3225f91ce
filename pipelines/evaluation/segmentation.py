"""How good a predicted label map is, case by case, on the original grid.

Rules for empty masks, the same in every table of this project. For one class, in one case:

=====================  ==================  =================  ===========================  ============
mask                   Dice, IoU, NSD      sensitivity        specificity, accuracy        HD95
=====================  ==================  =================  ===========================  ============
both empty             undefined           undefined          defined                      undefined
only prediction empty  0                   0                  defined                      undefined
only label empty       0                   undefined          defined                      undefined
=====================  ==================  =================  ===========================  ============

Undefined is NaN: left out of means and counted beside them (``n_undefined``). A mean of HD95 is therefore over the
cases in which both masks have something, and is to be read with its count: what is missed has no distance, and shows in
Dice.
A value whose denominator is zero is undefined too (specificity where the class fills the label).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from monai.metrics.utils import get_mask_edges, get_surface_distance
from numpy.typing import ArrayLike, NDArray

from pipelines.errors import GeometryError, LabelError

NO_NSD: Mapping[str, float] = MappingProxyType({})


class Measure(Protocol):
    """What a task measures of a case beside ``case_metrics``."""

    def __call__(
        self, prediction: NDArray, label: NDArray, classes: Mapping[int, str], spacing: Sequence[float] | None
    ) -> Mapping[str, float]:
        """Numbers by name, always the same names; NaN where undefined. ``NAME_label`` and ``NAME_prediction`` are of
        one side alone, and rank nothing.

        Args:
            prediction, label: X x Y or X x Y x Z, values of ``classes`` or 0.
            classes: names by value. spacing: as of ``case_metrics``.
        """


def case_metrics(
    prediction: ArrayLike,
    label: ArrayLike,
    classes: Mapping[int, str],
    *,
    spacing: Sequence[float] | None = None,
    nsd_tolerance: Mapping[str, float] = NO_NSD,
    iou_threshold: float | None = None,
) -> dict[str, float]:
    """Metrics of one case, each class on its own, background never averaged in.

    Args:
        prediction: X x Y or X x Y x Z label map of whole numbers, on the grid of the label.
        label: the reference, the same shape.
        classes: label value to name, in the order of the result; 0 is background. Values above the highest are refused;
            lower ones that have no name count as background does.
        spacing: millimetres along each axis; None where unknown (a picture): one pixel is then the unit of distance.
        nsd_tolerance: class name to the distance, in that unit, at which two surfaces still agree. Classes without an
            entry get no NSD.
        iou_threshold: also give ``NAME_thresholded_iou``: the IoU, or 0 where it is below this (0.65 is the rule of the
            ISIC 2018 challenge, Codella et al., https://arxiv.org/abs/1902.03368: a mask that bad is of no use).

    Returns:
        For each class NAME: ``NAME_dice``, ``NAME_iou``, ``NAME_accuracy`` (of NAME against all else),
        ``NAME_sensitivity``, ``NAME_specificity``, ``NAME_hd95_mm`` (``NAME_hd95_px`` without spacing; the 95th
        percentile of surface distances, the worse direction) and ``NAME_nsd`` (normalised surface Dice of edge voxels).
        Then ``pixel_accuracy_with_background``. A class means what has its value, and nothing that lies within it.
        Undefined values are NaN, by the rules of this module.

    Raises:
        GeometryError: shapes differ, are not 2D or 3D, or the spacing does not fit them.
        LabelError: a value is not a whole number, is negative, or is above the highest class.
    """
    highest = max(classes)
    predicted, true = _label_map(prediction, "prediction", highest), _label_map(label, "label", highest)
    if predicted.shape != true.shape:
        raise GeometryError(
            f"the prediction is {_times(predicted.shape)} and the label {_times(true.shape)}",
            how="bring the prediction back onto the grid of the label before measuring",
        )
    if true.ndim not in (2, 3) or true.size == 0:
        raise GeometryError(f"a label map must be X x Y or X x Y x Z, this one is {_times(true.shape)}")
    if spacing is not None and (len(spacing) != true.ndim or not all(0 < step < np.inf for step in spacing)):
        raise GeometryError(f"spacing {tuple(spacing)} does not fit a label map of {_times(true.shape)}")

    confusion = _confusion(predicted, true, highest + 1)
    distance_key = "hd95_px" if spacing is None else "hd95_mm"
    metrics: dict[str, float] = {}
    for value, name in classes.items():
        metrics |= {f"{name}_{key}": number for key, number in _overlap(confusion, value).items()}
        if iou_threshold is not None:
            iou = metrics[f"{name}_iou"]
            metrics[f"{name}_thresholded_iou"] = 0.0 if iou < iou_threshold else iou
        to_label, to_prediction = _surface_distances(predicted == value, true == value, spacing)
        metrics[f"{name}_{distance_key}"] = _hd95(to_label, to_prediction)
        if name in nsd_tolerance:
            metrics[f"{name}_nsd"] = _nsd(to_label, to_prediction, nsd_tolerance[name])
    metrics["pixel_accuracy_with_background"] = _ratio(np.trace(confusion), confusion.sum())
    return metrics


def _label_map(values: ArrayLike, role: str, highest: int) -> NDArray[np.uint8]:
    """The values as uint8, which is exact or refused."""
    array = np.asarray(values)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if not (low >= 0 and high <= highest):  # also where one of them is NaN
        raise LabelError(f"the {role} has values from {low} to {high}, only 0 to {highest} have a meaning")
    whole = array.astype(np.uint8, copy=False)
    if whole is not array and not np.array_equal(whole, array):
        raise LabelError(
            f"the {role} has values that are not whole numbers", how="give label values, not probabilities"
        )
    return whole


def _confusion(predicted: NDArray[np.uint8], true: NDArray[np.uint8], number: int) -> NDArray[np.int64]:
    """Voxel counts, rows by label and columns by prediction.

    A plane at a time: numpy.bincount widens its input to 64 bits, eight times a whole volume otherwise.
    """
    confusion = np.zeros(number * number, dtype=np.int64)
    for predicted_plane, true_plane in zip(predicted, true, strict=True):
        pairs = true_plane.astype(np.intp) * number + predicted_plane
        confusion += np.bincount(pairs.ravel(), minlength=number * number)
    return confusion.reshape(number, number)


def _overlap(confusion: NDArray[np.int64], value: int) -> dict[str, float]:
    """The counting metrics of one class against all else."""
    total = confusion.sum()
    both = confusion[value, value]
    false_negative = confusion[value].sum() - both
    false_positive = confusion[:, value].sum() - both
    neither = total - both - false_negative - false_positive
    return {
        "dice": _ratio(2 * both, 2 * both + false_positive + false_negative),
        "iou": _ratio(both, both + false_positive + false_negative),
        "accuracy": _ratio(both + neither, total),
        "sensitivity": _ratio(both, both + false_negative),
        "specificity": _ratio(neither, neither + false_positive),
    }


def _surface_distances(
    predicted: NDArray[np.bool_], true: NDArray[np.bool_], spacing: Sequence[float] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distances from each edge voxel of the prediction to the label's edge, and the other way; empty where undefined.

    A picture held as a volume of one slice is measured as a picture: in three dimensions all of it would be edge.
    """
    kept = [axis for axis, size in enumerate(true.shape) if size > 1] or [0]
    steps = None if spacing is None else [spacing[axis] for axis in kept]
    flat = [mask.reshape([mask.shape[axis] for axis in kept]) for mask in (predicted, true)]
    empty = np.zeros(0, dtype=np.float32)
    boxes = [_bounding_box(mask) for mask in flat]
    if boxes[0] is None and boxes[1] is None:
        return empty, empty
    box = tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*(box for box in boxes if box is not None), strict=True)
    )
    # Beyond the box there is nothing of either mask, so the crop has the edges of the whole.
    predicted_edge, true_edge = get_mask_edges(flat[0][box], flat[1][box], crop=False)
    return (
        np.asarray(get_surface_distance(predicted_edge, true_edge, spacing=steps)) if predicted_edge.any() else empty,
        np.asarray(get_surface_distance(true_edge, predicted_edge, spacing=steps)) if true_edge.any() else empty,
    )


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    box = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if occupied.size == 0:
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)


def _hd95(to_label: NDArray[np.float32], to_prediction: NDArray[np.float32]) -> float:
    if to_label.size == 0 or to_prediction.size == 0:
        return float("nan")
    return float(max(np.percentile(to_label, 95), np.percentile(to_prediction, 95)))


def _nsd(to_label: NDArray[np.float32], to_prediction: NDArray[np.float32], tolerance: float) -> float:
    within = int((to_label <= tolerance).sum()) + int((to_prediction <= tolerance).sum())
    return _ratio(within, to_label.size + to_prediction.size)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "a single number"
