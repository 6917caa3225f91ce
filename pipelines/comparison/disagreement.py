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
from pipelines.errors import PipelinesError
from pipelines.evaluation.stored_images import stored_slice
from pipelines.preparation.datalist import files, load_datalist

logger = logging.getLogger(__name__)

MOST = 6
_COLUMNS = 3
_SIDE = 420  # pixels at most of an embedded picture


@dataclass(frozen=True)
class Divided:
    """A case on whose value the rows are far apart: the value of each row that has one, by its label."""

    case: str
    values: Mapping[str, float]

    @property
    def ends(self) -> tuple[str, str]:
        """The labels with the largest and the smallest value."""
        return max(self.values, key=self.values.__getitem__), min(self.values, key=self.values.__getitem__)


@dataclass(frozen=True)
class Disagreement:
    """One slice or picture of a classification: what it is, what the networks made of it, and its picture.

    Attributes:
        lines: what is said under the picture, a line each.
        image: rows x columns (x 3), uint8.
    """

    case: str
    lines: tuple[str, ...]
    image: NDArray[np.uint8]


def divided_cases(values: Mapping[str, NDArray[np.float64]], cases: Sequence[str]) -> list[Divided]:
    """The cases whose values lie farthest apart between rows.

    Args:
        values: for each row's label (N,) values. cases: (N,) names.
    """
    stacked = np.stack(list(values.values()))
    usable = np.isfinite(stacked).sum(axis=0) > 1
    apart = np.where(usable, np.nanmax(np.nan_to_num(stacked, nan=-np.inf), axis=0), -np.inf)
    apart = apart - np.where(usable, np.nanmin(np.nan_to_num(stacked, nan=np.inf), axis=0), 0.0)
    found: list[Divided] = []
    for place in np.argsort(-apart, kind="stable")[:MOST]:
        if not apart[place] > 0:
            break
        known = {label: float(each[place]) for label, each in values.items() if np.isfinite(each[place])}
        found.append(Divided(cases[place], known))
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


def draw_items(
    run: Run, table: ItemTable, chosen: Sequence[tuple[int, tuple[str, ...]]]
) -> tuple[list[Disagreement], str]:
    """Pictures of a classification's slices or pictures; and why there are none, or fewer."""
    items, reason = measured_items(run)
    found = []
    for place, lines in chosen:
        case, name = table.cases[place], table.items[place]
        if case not in items:
            continue
        try:
            path = str(items[case]["image"])
            number = int(name.rpartition("#")[2]) if name != case else 0
            image = stored_slice(path, number)
        except (PipelinesError, OSError, ValueError, IndexError) as error:
            reason = reason or f"{name} cannot be drawn ({error})"
            continue
        found.append(_smaller(Disagreement(name, lines, image)))
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
        lines = [plain(line) for line in (each.case, *each.lines)]
        axes.set_title("\n".join(lines), fontsize=7, parse_math=False, loc="left")
    return figure


def measured_items(run: Run) -> tuple[dict[str, dict[str, Any]], str]:
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


def label_names(run: Run) -> dict[str, int]:
    """The values of masks by their names, as the run's data say them; empty where they do not, or are not there."""
    if not measured_items(run)[0]:
        return {}
    content = load_datalist(run.params["dataset_dir"], run.params.get("datalist", "datalist.json"))
    return {str(name): int(value) for value, name in content.get("labels", {}).items()}


def _smaller(found: Disagreement) -> Disagreement:
    step = max(1, math.ceil(max(found.image.shape[:2]) / _SIDE))
    return Disagreement(found.case, found.lines, found.image[::step, ::step])


def _few(labels: Sequence[str]) -> str:
    return ", ".join(labels[:2]) + (f" and {len(labels) - 2} more" if len(labels) > 2 else "")


def plain(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= 54 else f"{shown[:53]}…"
