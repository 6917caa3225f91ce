"""One page on the severity of one scan, as PNG or PDF: what a person needs to check it by eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.tasks.lung_ct.case_report import overlay

A4_INCHES = (8.27, 11.69)
WORST = 6
_MARGIN = 0.12  # around the lungs, of their width and depth
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "0.45"


def draw_case_page(
    file: IO[bytes],
    name: str,
    image: NDArray,
    mask: NDArray,
    intensity: str,
    severity: Mapping[str, Any],
    facts: Mapping[str, str],
    *,
    thresholds: Sequence[float],
    footer: str,
    file_format: str = "png",
    aspect: float = 1.0,
) -> None:
    """Write the page of one volume.

    Args:
        file: open for writing.
        name: of the case.
        image: (X, Y, Z) axial, slices from the feet to the head.
        mask: (X, Y, Z) on the same grid: 0 background, 1 lung, 2 lesion.
        intensity: "hu" or "display", what the image's values are.
        severity: of ``case_severity``.
        facts: lines of the table: volumes, network, weights.
        thresholds: extents (0..1) at which classes begin.
        footer: what the page is not.
        file_format: "png" or "pdf".
        aspect: height of a pixel over its width.
    """
    figure = Figure(figsize=A4_INCHES, dpi=130, facecolor="white")
    grid = figure.add_gridspec(
        5, 3, height_ratios=[0.8, 0.8, 1.3, 2.0, 2.0],
        left=0.08, right=0.95, top=0.97, bottom=0.05, hspace=0.28, wspace=0.06,
    )  # fmt: skip
    _headline(figure.add_subplot(grid[0, :]), name, severity)
    _facts(figure.add_subplot(grid[1, :]), facts)
    _curve(figure.add_subplot(grid[2, :]), severity["slices"], thresholds)
    worst = worst_slices(severity["slices"])
    frame = _frame(mask)
    image, mask = image[frame], mask[frame]
    for place in range(WORST):
        axes = figure.add_subplot(grid[3 + place // 3, place % 3])
        axes.set_axis_off()
        if place < len(worst):
            each = worst[place]
            axes.imshow(overlay(image[:, :, each["slice"]], mask[:, :, each["slice"]], intensity), aspect=aspect)
            axes.set_title(f"slice {each['slice']}: {_percent(each)}, {each['class']}", fontsize=9)
        elif not worst and place == 1:
            axes.text(0.5, 0.5, "no lesion was found", ha="center", va="center", color=_GREY)
    figure.text(0.08, 0.018, footer, fontsize=7, color=_GREY)
    figure.savefig(file, format=file_format)


def worst_slices(slices: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rated slices with the largest extents, up to six, the largest first; none without lesion."""
    ill = [each for each in slices if each["extent"]]
    return sorted(ill, key=lambda each: -each["extent"])[:WORST]


def _frame(mask: NDArray) -> tuple[slice, slice]:
    """The box of the lungs with some of what is around them; the whole slice where there are none."""
    found = np.any(mask > 0, axis=2)
    parts = []
    for axis in (0, 1):
        places = np.flatnonzero(np.any(found, axis=1 - axis))
        low, high = (int(places[0]), int(places[-1]) + 1) if places.size else (0, mask.shape[axis])
        margin = round(_MARGIN * (high - low))
        parts.append(slice(max(low - margin, 0), high + margin))
    return parts[0], parts[1]


def _headline(axes: Axes, name: str, severity: Mapping[str, Any]) -> None:
    axes.set_axis_off()
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    axes.text(0, 0.95, f"Lesion extent on chest CT: {shown[-60:]}", fontsize=13, va="top", parse_math=False)
    if severity["class"] is None:
        axes.text(0, 0.62, "not rated", fontsize=22, va="top", weight="bold")
        axes.text(0, 0.1, severity["reason"], fontsize=9, va="top")
        return
    borderline = ", borderline" if severity["borderline"] else ""
    axes.text(0, 0.66, f"{severity['class']}{borderline}", fontsize=22, va="top", weight="bold")
    axes.text(0, 0.18, f"extent {_percent(severity)}   ({severity['rule']})", fontsize=9, va="top")


def _percent(rated: Mapping[str, Any]) -> str:
    text = f"{100 * rated['extent']:.1f} %"
    if rated["extent_low"] is not None:
        text += f" ({100 * rated['extent_low']:.1f} to {100 * rated['extent_high']:.1f})"
    return text


def _facts(axes: Axes, facts: Mapping[str, str]) -> None:
    axes.set_axis_off()
    half = -(-len(facts) // 2)
    for index, (label, value) in enumerate(facts.items()):
        column, row = divmod(index, half)
        height = 0.92 - 0.9 * row / max(half, 1)
        axes.text(0.5 * column, height, label, fontsize=9, color=_GREY, va="top")
        axes.text(0.5 * column + 0.2, height, str(value)[:32], fontsize=9, va="top", parse_math=False)


def _curve(axes: Axes, slices: Sequence[Mapping[str, Any]], thresholds: Sequence[float]) -> None:
    values = {key: np.array([_number(each[key]) for each in slices]) for key in ("extent", "extent_low", "extent_high")}
    places = np.arange(len(slices))
    if np.isfinite(values["extent_low"]).any():
        axes.fill_between(
            places, 100 * values["extent_low"], 100 * values["extent_high"], color=_BLUE, alpha=0.25, linewidth=0,
            label="interval",
        )  # fmt: skip
    axes.plot(places, 100 * values["extent"], color=_BLUE, marker=".", markersize=4, linewidth=1.2, label="extent")
    for bound in thresholds:
        axes.axhline(100 * bound, color=_ORANGE, linewidth=0.9, linestyle="--")
    axes.set_xlim(-0.5, len(slices) - 0.5)
    finite = values["extent_high"] if np.isfinite(values["extent_high"]).any() else values["extent"]
    top = float(np.nanmax(finite)) if np.isfinite(finite).any() else 0.0
    axes.set_ylim(-1, 100 * min(max(1.1 * top, max(thresholds, default=0) + 0.05), 1.02))
    axes.set_xlabel("slice, from the feet to the head", fontsize=8)
    axes.set_ylabel("extent, %", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, loc="upper right", frameon=False)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
