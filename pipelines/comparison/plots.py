"""The plots of a comparison: every row has the same colour, marker and line in all of them, and stays in its place.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which are told apart with any colour vision; markers and
line styles tell the same in grey.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from pipelines.comparison.cases import ItemTable
from pipelines.evaluation.calibration import calibration_error, reliability
from pipelines.evaluation.classification import area_under_curve, average_precision, confusion, curve_points

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
_Line = Literal["-"] | tuple[float, tuple[float, ...]]
_LINES: tuple[_Line, ...] = (
    "-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)),
)  # fmt: skip
_WIDTH = 9.0
_LETTERS = 44


@dataclass(frozen=True)
class Style:
    """How a row is drawn, everywhere."""

    colour: str
    marker: str
    line: _Line


def style(place: int) -> Style:
    """The style of the row that is at this place (0...) among all rows of a page; 70 are different."""
    return Style(_COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)], _LINES[place % len(_LINES)])


@dataclass(frozen=True)
class Drawn:
    """A row as plots need it."""

    label: str
    style: Style


def pareto_front(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Places of those that nothing else beats in both: no cheaper one is as good. Cheapest first; NaN is on no front.

    Args:
        costs: less is better. qualities: more is better.
    """
    usable = [k for k in range(len(costs)) if math.isfinite(costs[k]) and math.isfinite(qualities[k])]
    front: list[int] = []
    for place in sorted(usable, key=lambda k: (costs[k], -qualities[k])):
        if not front or qualities[place] > qualities[front[-1]]:
            front.append(place)
    return front


def quality_and_cost(
    rows: Sequence[Drawn],
    quality: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    costs: Mapping[str, Sequence[float]],
    metric: str,
    higher: bool,
) -> Figure:
    """The metric against each cost on a logarithmic scale, with intervals and the Pareto front.

    Args:
        costs: by name of the axis, a value a row; NaN is left out.
    """
    figure = _figure(4.3 + 0.22 * math.ceil(len(rows) / 2))
    for axes, (name, values) in zip(np.atleast_1d(figure.subplots(1, len(costs))), costs.items(), strict=True):
        for row, x, y, (low, high) in zip(rows, values, quality, intervals, strict=True):
            if not (math.isfinite(x) and math.isfinite(y) and x > 0):
                continue
            if math.isfinite(low) and math.isfinite(high):
                axes.plot([x, x], [low, high], color=row.style.colour, linewidth=1, alpha=0.6)
            axes.plot(x, y, linestyle="none", marker=row.style.marker, color=row.style.colour, markersize=8)
        front = pareto_front(values, [y if higher else -y for y in quality])
        if len(front) > 1:
            xs, ys = [values[k] for k in front], [quality[k] for k in front]
            axes.step(xs, ys, where="post", color="0.45", linestyle="--", linewidth=1, zorder=0, label="Pareto front")
            axes.legend(fontsize="small", loc="best")
        _scale(axes, values)
        axes.set(xlabel=name, ylabel=metric if higher else f"{metric} (less is better)")
        axes.grid(alpha=0.3)
    _legend(figure, rows, lines=False)
    return figure


def curves(rows: Sequence[Drawn], tables: Sequence[ItemTable]) -> Figure:
    """ROC and precision-recall curves together; with more than two classes a pair for each class."""
    names = tables[0].names
    classes = [1] if len(names) == 2 else list(range(len(names)))
    figure = _figure(4.2 * len(classes) + 0.22 * math.ceil(len(rows) / 2))
    for line, k in zip(figure.subplots(len(classes), 2, squeeze=False), classes, strict=True):
        for row, table in zip(rows, tables, strict=True):
            _curve_pair(line, row, table.probabilities[:, k], table.labels == k)
        share = float(np.mean(tables[0].labels == k))
        line[0].plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
        line[1].axhline(share, color="0.5", linestyle=":", linewidth=1)
        line[0].set(xlabel="1 - specificity", ylabel="sensitivity", title=_plain(f"ROC, {names[k]}"))
        line[1].set(
            xlabel="sensitivity (recall)", ylabel="precision", title=_plain(f"precision and recall, {names[k]}")
        )
        for axes in line:
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axes.grid(alpha=0.3)
            axes.legend(fontsize="x-small", loc="lower right" if axes is line[0] else "lower left", title="area")
    _legend(figure, rows)
    return figure


def reliabilities(rows: Sequence[Drawn], tables: Sequence[ItemTable]) -> Figure:
    """Accuracy against confidence, and how many items each bin of confidence has."""
    figure = _figure(4.6 + 0.22 * math.ceil(len(rows) / 2))
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    left.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
    for row, table in zip(rows, tables, strict=True):
        number, confidence, accuracy = reliability(table.probabilities, table.labels)
        filled = number > 0
        error = calibration_error(table.probabilities, table.labels)
        _line(left, row, confidence[filled], accuracy[filled], f"{error:.3f}")
        middles = (np.arange(len(number)) + 0.5) / len(number)
        _line(right, row, middles[filled], number[filled] / number.sum(), None)
    left.set(xlabel="confidence (highest probability)", ylabel="part that is right", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    right.set(xlabel="confidence (highest probability)", ylabel="part of all", xlim=(0, 1.02), ylim=(0, 1.05))
    left.legend(fontsize="x-small", loc="upper left", title="calibration error")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    _legend(figure, rows)
    return figure


def confusions(rows: Sequence[Drawn], tables: Sequence[ItemTable]) -> Figure:
    """A confusion matrix a row: truth downwards, prediction to the right, shaded by the part of the true class."""
    columns = min(4, len(rows))
    lines = math.ceil(len(rows) / columns)
    figure = _figure(2.2 * lines + 0.2)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, row, table in zip(grid.flat, rows, tables, strict=False):
        axes.set_axis_on()
        names = [_plain(name) for name in table.names]
        counts = confusion(table.labels, table.predicted, len(names))
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Greys", vmin=0, vmax=1)
        for y, x in np.ndindex(counts.shape):
            text = f"{counts[y, x]}\n{100 * share[y, x]:.0f} %" if counts[y].sum() else "0"
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if share[y, x] > 0.5 else "black")
        axes.set_xticks(range(len(names)), names, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_title(_plain(row.label), fontsize=8)
        axes.set_xlabel("predicted", fontsize=7)
        axes.set_ylabel("true", fontsize=7)
    return figure


def learning_curves(
    rows: Sequence[Drawn], histories: Mapping[str, Sequence[Sequence[Sequence[tuple[int, float]]]]]
) -> Figure:
    """A panel a metric, against epochs; a line a run.

    Args:
        histories: by metric, for each row, for each of its runs: (epoch, value).
    """
    figure = _figure(4.0 + 0.22 * math.ceil(len(rows) / 2))
    for axes, (metric, of_rows) in zip(
        np.atleast_1d(figure.subplots(1, len(histories))), histories.items(), strict=True
    ):
        for row, of_runs in zip(rows, of_rows, strict=True):
            for points in of_runs:
                x, y = [epoch for epoch, _ in points], [value for _, value in points]
                every = max(1, len(x) // 8)
                axes.plot(
                    x, y, color=row.style.colour, linestyle=row.style.line, marker=row.style.marker, markevery=every,
                    markersize=4, linewidth=1.2,
                )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=metric)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    _legend(figure, rows)
    return figure


def strips(rows: Sequence[Drawn], values: Sequence[NDArray[np.float64]], metric: str) -> Figure:
    """Every case as a point, a strip a row, with the mean (line) and the quartiles (box)."""
    figure = _figure(1.1 + 0.52 * len(rows))
    axes = figure.subplots()
    jitter = np.random.default_rng(0).uniform(-0.24, 0.24, size=max(len(each) for each in values))
    for place, (row, each) in enumerate(zip(rows, values, strict=True)):
        defined = np.isfinite(each)
        y = place + jitter[: len(each)][defined]  # a case has the same height in every strip
        axes.plot(
            each[defined],
            y,
            linestyle="none",
            marker=row.style.marker,
            color=row.style.colour,
            alpha=0.55,
            markersize=5,
        )
        if defined.any():
            low, middle, high = np.percentile(each[defined], [25, 50, 75])
            axes.fill_between([low, high], place - 0.33, place + 0.33, color="0.85", zorder=0)
            axes.plot([middle, middle], [place - 0.33, place + 0.33], color="0.45", linewidth=1.5, linestyle=":")
            mean = float(np.mean(each[defined]))
            axes.plot([mean, mean], [place - 0.38, place + 0.38], color="black", linewidth=2)
    axes.set_yticks(range(len(rows)), [_plain(row.label) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(metric)
    axes.grid(axis="x", alpha=0.3)
    return figure


def _curve_pair(line: NDArray, row: Drawn, scores: NDArray, positive: NDArray[np.bool_]) -> None:
    areas = area_under_curve(scores, positive), average_precision(scores, positive)
    for axes, curve, area in zip(line, curve_points(scores, positive), areas, strict=True):
        if curve[0].size:
            _line(axes, row, *curve, f"{area:.3f}", marked=False)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where the values differ by much, with plain numbers in any case."""
    known = [value for value in values if math.isfinite(value) and value > 0]
    if max(known) > 3 * min(known):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(known) < 60 * min(known) else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """``0.5``, ``12``, ``8 k``, ``2.5 M``."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _line(axes: Axes, row: Drawn, x: NDArray, y: NDArray, label: str | None, *, marked: bool = True) -> None:
    every = 1 if marked else max(1, len(x) // 6)
    axes.plot(
        x, y, color=row.style.colour, linestyle=row.style.line, marker=row.style.marker, markersize=4.5, linewidth=1.4,
        markevery=every, label=label,
    )  # fmt: skip


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(_WIDTH, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend(figure: Figure, rows: Sequence[Drawn], *, lines: bool = True) -> None:
    handles = [
        Line2D(
            [], [], color=row.style.colour, marker=row.style.marker, linestyle=row.style.line if lines else "none",
            label=_plain(row.label),
        )
        for row in rows
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small", handlelength=4)


def _plain(text: str) -> str:
    """A name from outside, short and printable; a dollar in it begins no formula."""
    name = "".join(letter if letter.isprintable() else "?" for letter in text).replace("$", r"\$")
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
