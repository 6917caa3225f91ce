"""Plots of a classification: confusion, reliability, and the slices that went most wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.evaluation.calibration import BINS, calibration_error, reliability
from pipelines.evaluation.classification import area_under_curve, average_precision, curve_points

BLUE, ORANGE = "#0072B2", "#E69F00"  # Okabe and Ito's, told apart with any colour vision and in grey
_COLUMNS = 3
_NAME_LETTERS = 34


@dataclass(frozen=True)
class SlicePicture:
    """One slice, upright (rows x columns, 0..255 uint8; None where it could not be had), and what is to be said of
    it."""

    title: str
    image: NDArray[np.uint8] | None


def draw_confusion(counts: NDArray, names: Sequence[str], file: IO[bytes], *, predicted_by: str = "predicted") -> None:
    """Write a PNG: a confusion matrix (rows truth, columns prediction), shaded by the share of its row."""
    figure = Figure(figsize=(1.3 * len(names) + 2, 1.1 * len(names) + 1.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            dark = share[row, column] > 0.5
            label = f"{counts[row, column]}\n{100 * share[row, column]:.0f} %" if counts[row].sum() else "0"
            axes.text(column, row, label, ha="center", va="center", color="white" if dark else "black", fontsize=10)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(predicted_by)
    axes.set_ylabel("true")
    figure.savefig(file, format="png")


def draw_reliability(before: NDArray, after: NDArray, labels: NDArray, temperature: float, file: IO[bytes]) -> None:
    """Write a PNG: accuracy against confidence before and after the temperature, with how many slices each bin has."""
    figure = Figure(figsize=(9, 4.2), dpi=110, layout="constrained")
    titles = ("before", f"after, temperature {temperature:.2f}")
    for axes, probabilities, title in zip(figure.subplots(1, 2), (before, after), titles, strict=True):
        number, confidence, accuracy = reliability(probabilities, labels)
        filled = number > 0
        axes.bar(
            (np.arange(BINS) + 0.5) / BINS, number / number.sum(), 0.9 / BINS, color="0.85", label="share of the slices"
        )
        axes.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1, label="as sure as right")
        axes.plot(confidence[filled], accuracy[filled], marker="o", color=BLUE, label="accuracy")
        axes.set_title(f"{title}: ECE {calibration_error(probabilities, labels):.3f}", fontsize=10)
        axes.set_xlabel("confidence (highest probability)")
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(0, 1)
    axes.legend(fontsize="small", loc="upper left")
    figure.savefig(file, format="png")


def draw_curves(
    scores: NDArray, positive: NDArray[np.bool_], predicted: NDArray[np.bool_], name: str, file: IO[bytes]
) -> None:
    """Write a PNG: the ROC and the precision-recall curve, each with its area and where the pictures were cut.

    Args:
        scores: (N,) probabilities of the positive class. positive: (N,) whether it is one. predicted: (N,) whether it
            was called one.
    """
    roc, recalls = curve_points(scores, positive)
    number, others = max(int(positive.sum()), 1), max(int((~positive).sum()), 1)
    figure = Figure(figsize=(9, 4.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(*roc, color=BLUE, label=f"area {area_under_curve(scores, positive):.4f}")
    left.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1)
    at = int((predicted & positive).sum()), int((predicted & ~positive).sum())
    left.plot(at[1] / others, at[0] / number, "o", color="black", label="operating point")
    left.set(xlabel="1 - specificity", ylabel="sensitivity", title=f"ROC, {name}")
    right.step(*recalls, where="pre", color=BLUE, label=f"area {average_precision(scores, positive):.4f}")
    if sum(at):
        right.plot(at[0] / number, at[0] / sum(at), "o", color="black", label="operating point")
    right.axhline(number / max(len(scores), 1), color="0.4", linestyle="--", linewidth=1)
    right.set(xlabel="sensitivity (recall)", ylabel="precision", title=f"precision and recall, {name}")
    for axes in (left, right):
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="lower right", fontsize="small")
        axes.grid(alpha=0.3)
    figure.savefig(file, format="png")


def draw_slices(pictures: Sequence[SlicePicture], file: IO[bytes], columns: int = _COLUMNS) -> None:
    """Write a PNG of slices side by side, each with its title.

    Raises:
        ValueError: there are no pictures.
    """
    if not pictures:
        raise ValueError("there is nothing to draw")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(3.4 * columns, 3.7 * rows), dpi=100, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, picture in zip(grid.flat, pictures, strict=False):
        _draw_slice(axes, picture)
    figure.savefig(file, format="png")


def _draw_slice(axes: Axes, picture: SlicePicture) -> None:
    image = np.zeros((8, 8), dtype=np.uint8) if picture.image is None else picture.image
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    title = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in picture.title)
    lines = [line if len(line) <= _NAME_LETTERS else f"…{line[1 - _NAME_LETTERS :]}" for line in title.split("\n")]
    axes.set_title("\n".join(lines), fontsize=9, parse_math=False)  # a dollar in a name is no formula
