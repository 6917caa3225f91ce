"""Cases on which the networks disagree most, as pictures, where the data are on this machine."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.comparison.cases import ItemTable
from pipelines.comparison.ranking import measured
from pipelines.comparison.runs import Run
from pipelines.datasets import files
from pipelines.errors import PipelinesError
from pipelines.evaluation.pictures import telling_slice
from pipelines.readers import read_case, read_colour, read_label, read_picture
from pipelines.readers.picture_file import SUFFIXES
from pipelines.transforms import scale_ct

logger = logging.getLogger(__name__)

MOST = 6
_COLUMNS = 3
_SIDE = 420  # pixels at most of an embedded picture
_ORANGE = "#E69F00"


@dataclass(frozen=True)
class Disagreement:
    """One case: what it is, what the networks made of it, and its picture.

    Attributes:
        lines: what is said under the picture, a line each.
        image: rows x columns (x 3), uint8. outline: rows x columns, the true mask; None for a classification.
    """

    case: str
    lines: tuple[str, ...]
    image: NDArray[np.uint8]
    outline: NDArray[np.bool_] | None


def divided_cases(values: Mapping[str, NDArray[np.float64]], cases: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The cases whose values lie farthest apart between rows, with the largest and the smallest.

    Args:
        values: for each row's label (N,) values. cases: (N,) names.
    """
    stacked = np.stack(list(values.values()))
    labels = list(values)
    usable = np.isfinite(stacked).sum(axis=0) > 1
    apart = np.where(usable, np.nanmax(np.nan_to_num(stacked, nan=-np.inf), axis=0), -np.inf)
    apart = apart - np.where(usable, np.nanmin(np.nan_to_num(stacked, nan=np.inf), axis=0), 0.0)
    found: list[tuple[str, tuple[str, ...]]] = []
    for place in np.argsort(-apart, kind="stable")[:MOST]:
        if not apart[place] > 0:
            break
        column = stacked[:, place]
        most, least = int(np.nanargmax(column)), int(np.nanargmin(column))
        found.append((cases[place], (f"{column[most]:.3f} {labels[most]}", f"{column[least]:.3f} {labels[least]}")))
    return found


def divided_items(tables: Mapping[str, ItemTable]) -> list[tuple[int, tuple[str, ...]]]:
    """The items that nearly as many rows have right as wrong: their places, and who says what."""
    some = next(iter(tables.values()))
    right = np.stack([table.right for table in tables.values()])
    split = np.minimum(right.sum(axis=0), (~right).sum(axis=0))
    sureness = np.stack([table.probabilities.max(axis=1) for table in tables.values()]).mean(axis=0)
    order = np.lexsort((-sureness, -split))
    found = []
    for place in order[:MOST]:
        if not split[place]:
            break
        said: dict[str, list[str]] = {}
        for label, table in tables.items():
            said.setdefault(table.names[table.predicted[place]], []).append(label)
        lines = [f"true: {some.names[some.labels[place]]}"]
        lines += [f"{name}: {_few(labels)}" for name, labels in said.items()]
        found.append((int(place), tuple(lines)))
    return found


def draw_cases(run: Run, chosen: Sequence[tuple[str, tuple[str, ...]]], metric: str) -> tuple[list[Disagreement], str]:
    """Pictures of a segmentation's cases with the true outline; and why there are none, or fewer.

    Args:
        run: whose parameters say where the data are. metric: its first word is the class outlined.
    """
    items, reason = _items(run)
    found = []
    for case, lines in chosen:
        if case not in items:
            continue
        try:
            image, outline = _slice_with_most(items[case], metric)
        except (PipelinesError, OSError, ValueError, IndexError) as error:
            reason = reason or f"{case} cannot be drawn ({error})"
            continue
        found.append(_smaller(Disagreement(case, lines, image, outline)))
    return found, reason


def draw_items(
    run: Run, table: ItemTable, chosen: Sequence[tuple[int, tuple[str, ...]]]
) -> tuple[list[Disagreement], str]:
    """Pictures of a classification's slices or pictures; and why there are none, or fewer."""
    items, reason = _items(run)
    found = []
    for place, lines in chosen:
        case, name = table.cases[place], table.items[place]
        if case not in items:
            continue
        try:
            path = str(items[case]["image"])
            number = int(name.rpartition("#")[2]) if name != case else 0
            image = _picture(path) if _is_picture(path) else _planes(path)[0][:, :, number].T
        except (PipelinesError, OSError, ValueError, IndexError) as error:
            reason = reason or f"{name} cannot be drawn ({error})"
            continue
        found.append(_smaller(Disagreement(name, lines, image, None)))
    return found, reason


def figure_of(found: Sequence[Disagreement]) -> Figure:
    """All of them side by side, upright."""
    columns = min(_COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    deepest = max(len(each.lines) for each in found) + 1
    figure = Figure(figsize=(3.0 * columns, (3.0 + 0.17 * deepest) * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, each in zip(grid.flat, found, strict=False):
        axes.imshow(each.image, cmap="gray", vmin=0, vmax=255)
        if each.outline is not None and each.outline.any():
            axes.contour(each.outline.astype(np.float32), levels=[0.5], colors=_ORANGE, linewidths=1.3)
        lines = [_plain(line) for line in (each.case, *each.lines)]
        axes.set_title("\n".join(lines), fontsize=7, parse_math=False, loc="left")
    return figure


def _items(run: Run) -> tuple[dict[str, dict[str, Any]], str]:
    """The run's test cases by name, where the data it was measured on still lie where it says."""
    if measured(run).get("data_fingerprint") != run.params.get("data_fingerprint"):
        return {}, "the run was measured on other data than the training's, and does not say where they lie"
    folder, name = run.params.get("dataset_dir", ""), run.params.get("datalist", "datalist.json")
    if not folder or not Path(folder).is_dir():
        return {}, "the data are not on this machine (or not where the run read them)"
    try:
        items = files(folder, name, "test")
    except PipelinesError as error:
        return {}, f"the data cannot be read any more ({error})"
    return {name: item for item in items for name in (item["case"], f"'{item['case']}")}, ""  # see files.table


def _slice_with_most(item: Mapping[str, Any], metric: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The slice with most of the class, rows x columns, and the class's mask there."""
    path, label = str(item["image"]), str(item["label"])
    if _is_picture(path):
        image = _picture(path)
        mask = _of_class(read_label(label)[:, :, 0], metric).T
        if mask.shape != image.shape[:2]:
            raise ValueError("the mask is not on the picture's grid")
        return image, mask
    planes, axial = _planes(path, label)
    mask = _of_class(axial, metric)
    place = telling_slice(mask, mask)
    return planes[:, :, place].T, mask[:, :, place].T


def _of_class(label: NDArray, metric: str) -> NDArray[np.bool_]:
    """Where the label has the class of a metric: lung is 1; lesion is the highest value, 1 where there is no lung."""
    return np.asarray(label == 1 if metric.startswith("lung") else label == max(int(label.max()), 1))


def _planes(path: str, label: str | None = None) -> tuple[NDArray[np.uint8], NDArray]:
    case = read_case(path)
    scaled = (scale_ct(case.axial(case.array), case.intensity) * 255).astype(np.uint8)
    return scaled, scaled if label is None else case.axial(read_label(label, case))


def _is_picture(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def _picture(path: str) -> NDArray[np.uint8]:
    try:
        return read_colour(path).array.transpose(2, 1, 0).astype(np.uint8)
    except PipelinesError:  # smaller than a camera's picture, or not in 8 bits
        return read_picture(Path(path), smallest=1).array[:, :, 0].T.astype(np.uint8)


def _smaller(found: Disagreement) -> Disagreement:
    step = max(1, math.ceil(max(found.image.shape[:2]) / _SIDE))
    outline = None if found.outline is None else found.outline[::step, ::step]
    return Disagreement(found.case, found.lines, found.image[::step, ::step], outline)


def _few(labels: Sequence[str]) -> str:
    return ", ".join(labels[:2]) + (f" and {len(labels) - 2} more" if len(labels) > 2 else "")


def _plain(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= 54 else f"{shown[:53]}…"
