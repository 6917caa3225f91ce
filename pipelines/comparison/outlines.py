"""Cases of a segmentation on which networks disagree: one picture a case, a panel a network, each beside the truth."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipelines.comparison.disagreement import Divided, label_names, measured_items, plain
from pipelines.comparison.kept import mask_file, read_kept
from pipelines.comparison.ranking import Row
from pipelines.comparison.runs import Store
from pipelines.errors import PipelinesError
from pipelines.evaluation.pictures import LABEL, PREDICTION, add_legend, outline, telling_slice
from pipelines.evaluation.stored_images import is_picture, shown_grey, stored_picture
from pipelines.readers import CaseImage, read_as_shown, read_label

_COLUMNS = 4
_SIDE = 480  # pixels at most of an embedded panel
_MARGIN = 0.25  # of the marked area's longer side, around it
_LEAST = 1 / 3  # of the image's shorter side, that a panel shows at least
_READING = (PipelinesError, OSError, ValueError, IndexError)


@dataclass(frozen=True)
class Panel:
    """What one network found: its label, its value, and its mask (rows x columns); None where none was kept."""

    label: str
    value: float
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True)
class OutlinedCase:
    """One case.

    Attributes:
        image: rows x columns (x 3), uint8. truth: rows x columns.
        where: which slice it is; empty for a picture.
        caption: the case, the largest and the smallest value, and why a mask is not shown.
        folders: evaluations to look at, of the networks with the largest and the smallest value.
    """

    case: str
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    panels: tuple[Panel, ...]
    where: str
    caption: str
    folders: tuple[Path, ...]

    @property
    def command(self) -> str:
        """What opens the case in the viewer; empty where no masks lie on this machine."""
        return shlex.join(["python", "-m", "pipelines", "view", *map(str, self.folders)]) if self.folders else ""

    @property
    def alt(self) -> str:
        """The picture in words."""
        true = int(self.truth.sum())
        words = [f"{self.case}{f', {self.where}' if self.where else ''}. Truth: {true} pixels"]
        for panel in self.panels:
            found = "mask not kept" if panel.mask is None else f"{int(panel.mask.sum())} pixels"
            both = "" if panel.mask is None else f", {int((panel.mask & self.truth).sum())} of them true"
            words.append(f"{panel.label}: {_value(panel.value)}, {found}{both}")
        return "; ".join(words)


class CasePictures:
    """Reads what is drawn of the chosen cases.

    Args:
        rows: those that are compared, by their label.
        metric: its first word is the class that is outlined.
    """

    def __init__(self, store: Store, rows: Mapping[str, Row], metric: str) -> None:
        self.store, self.rows, self.metric = store, rows, metric
        kept = {label: read_kept(store, row.first) for label, row in rows.items()}
        self.kept = {label: each for label, each in kept.items() if each is not None}
        self._items, self._reason = measured_items(next(iter(rows.values())).first)

    @property
    def explained(self) -> str:
        """What all the pictures show, and which networks they cannot show."""
        truth = "Left the whole image with the true outline (solid)"
        if not self.kept:
            return f"{truth}. {_not_kept('these networks')} only the truth is drawn."
        said = (
            f"{truth}; then, for each network, the framed area with the true outline and the network's (dashed), below "
            f"its {self.metric}. Of a volume it is the slice on which the networks differ most."
        )
        if any(len(row.runs) > 1 for row in self.rows.values()):
            said += " With several seeds the value is their mean, and the outline that of the lowest."
        without = [label for label in self.rows if label not in self.kept]
        return f"{said} {_not_kept(', '.join(without))} only the truth is in its panel." if without else said

    def read(self, chosen: Sequence[Divided]) -> tuple[list[OutlinedCase], str]:
        """The cases that can be had; and why there are none, or fewer."""
        found, reason = [], ""
        for each in chosen:
            try:
                case = self._case(each)
            except _READING as error:
                reason = reason or f"{each.case} cannot be drawn ({error})"
                continue
            if case is not None:
                found.append(case)
        return found, reason or ("" if len(found) == len(chosen) else self._reason)

    def _case(self, divided: Divided) -> OutlinedCase | None:
        item = self._item(divided.case)
        if item is None:
            return None
        path, label_path = str(item["image"]), str(item["label"])
        image = None if is_picture(path) else read_as_shown(path)
        picture = stored_picture(path) if image is None else None
        truth = _labels(Path(label_path), image)
        _check(truth, picture)
        value = self._class_value(truth)
        true = truth == value
        found, remarks = self._masks(divided.case, image, true.shape, value)
        place = _slice_to_show(true, list(found.values()))
        if image is None:
            where = ""
        else:
            picture = shown_grey(image.axial(image.array)[:, :, place], image.intensity).T
            number = truth.shape[2]
            where = f"slice {place + 1} of {number} from the feet" if number > 1 else ""
        assert picture is not None
        planes = {label: _unpacked(mask[:, :, place], len(true)).T for label, mask in found.items()}
        panels = tuple(Panel(label, divided.values[label], planes.get(label)) for label in divided.values)
        ends = (self.kept[label].folder for label in dict.fromkeys(divided.ends) if label in found)
        folders = tuple(folder for folder in ends if folder is not None)
        values = ", ".join(f"{_value(divided.values[label])} of {label}" for label in divided.ends)
        about = f"{divided.case}{f', {where}' if where else ''}: {self.metric} {values}."
        caption = " ".join([about, *(f"{remark[0].upper()}{remark[1:]}." for remark in remarks)])
        return OutlinedCase(divided.case, picture, true[:, :, place].T, panels, where, caption, folders)

    def _item(self, case: str) -> Mapping[str, Any] | None:
        """Where its image and label lie: by what an evaluation wrote down, else by the training's data."""
        for each in self.kept.values():
            entry = each.items.get(case)
            if entry is not None and all(entry[key] and _exists(str(entry[key])) for key in ("image", "label")):
                return entry
        if self.kept and case not in self._items:
            self._reason = "the images that were measured are not on this machine (or not where they were read)"
        return self._items.get(case)

    def _masks(
        self, case: str, image: CaseImage | None, shape: tuple[int, ...], value: int
    ) -> tuple[dict[str, NDArray[np.uint8]], list[str]]:
        """Where each network says the class, packed along the first axis; and why some masks are missing."""
        found, remarks = {}, []
        for label, kept in self.kept.items():
            entry = kept.items.get(case)
            path = None if entry is None else mask_file(self.store, self.rows[label].first, entry)
            if path is None:
                continue
            try:
                mask = _labels(path, image)
            except _READING as error:
                remarks.append(f"the mask of {label} cannot be read ({error})")
                continue
            if mask.shape == shape:
                found[label] = np.packbits(mask == value, axis=0)
            else:
                remarks.append(f"the mask of {label} is not on the image's grid")
        return found, remarks

    def _class_value(self, truth: NDArray[np.uint8]) -> int:
        """The value of the metric's class: as the runs' masks name it, or the data; else the highest value."""
        first = next(iter(self.rows.values())).first
        for values in (*(kept.values for kept in self.kept.values()), label_names(first)):
            named = [name for name in values if self.metric.startswith(f"{name}_")]
            if named:
                return values[max(named, key=len)]
        return max(1, int(truth.max()))


def figure_of(case: OutlinedCase) -> Figure:
    """The image whole with the true outline, and for each network the area in question with both outlines."""
    box = _box(case)
    columns = min(_COLUMNS, 1 + len(case.panels))
    rows = math.ceil((1 + len(case.panels)) / columns)
    aspect = case.image.shape[0] / case.image.shape[1]
    figure = Figure(figsize=(2.4 * columns, (2.4 * min(1.3, aspect) + 0.55) * rows + 0.35), dpi=110)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    whole = slice(0, case.image.shape[0]), slice(0, case.image.shape[1])
    _draw(grid[0], case, whole, None, "the case")
    top, left = box[0].start, box[1].start
    if box != whole:
        size = box[1].stop - left, box[0].stop - top
        step = _step(whole)
        corner = (left / step - 0.5, top / step - 0.5)
        area = Rectangle(corner, size[0] / step, size[1] / step, fill=False, edgecolor="white", linewidth=0.8)
        grid[0].add_patch(area)
    for axes, panel in zip(grid[1:], case.panels, strict=False):
        name = "\n".join(textwrap.wrap(plain(panel.label), 30)[:2])
        _draw(axes, case, box, panel, f"{name}\n{_value(panel.value)}")
    for axes in grid[1 + len(case.panels) :]:
        axes.set_axis_off()
    add_legend(figure, "truth", "network")
    return figure


def _draw(axes: Axes, case: OutlinedCase, box: tuple[slice, slice], panel: Panel | None, title: str) -> None:
    step = _step(box)
    rows, columns = (slice(each.start, each.stop, step) for each in box)
    shown = case.image[rows, columns]
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, parse_math=False, loc="left")
    outline(axes, case.truth[rows, columns], LABEL)
    if panel is not None and panel.mask is not None:
        outline(axes, panel.mask[rows, columns], PREDICTION)
    elif panel is not None:
        box_style = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 2}
        axes.text(
            0.5, 0.04, "mask not kept", transform=axes.transAxes, ha="center", color="white", fontsize=8, bbox=box_style
        )
    axes.set_xlim(-0.5, shown.shape[1] - 0.5)
    axes.set_ylim(shown.shape[0] - 0.5, -0.5)


def _step(box: tuple[slice, slice]) -> int:
    return max(1, math.ceil(max(each.stop - each.start for each in box) / _SIDE))


def _box(case: OutlinedCase) -> tuple[slice, slice]:
    """The rows and columns in which something is outlined, with a margin; all of them where nothing is."""
    marked = np.logical_or.reduce([case.truth, *(each.mask for each in case.panels if each.mask is not None)])
    whole = slice(0, marked.shape[0]), slice(0, marked.shape[1])
    if not marked.any():
        return whole
    ends = [np.flatnonzero(marked.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    longest = max(int(last - first) + 1 for first, last in ends)
    side = max(longest * (1 + 2 * _MARGIN), min(marked.shape) * _LEAST)
    found = []
    for (first, last), size in zip(ends, marked.shape, strict=True):
        start = max(0, min(round((first + last + 1 - side) / 2), size - math.ceil(side)))
        found.append(slice(start, min(size, start + math.ceil(side))))
    return found[0], found[1]


def _slice_to_show(truth: NDArray[np.bool_], packed: Sequence[NDArray[np.uint8]]) -> int:
    """Where the networks differ most; with fewer than two masks where there is most of the truth, or of the mask."""
    if len(packed) > 1:
        apart = np.bitwise_or.reduce(packed) & ~np.bitwise_and.reduce(packed)
        if apart.any():
            return int(np.bitwise_count(apart).sum(axis=(0, 1)).argmax())
    return telling_slice(truth, _unpacked(packed[0], len(truth)) if packed else truth)


def _unpacked(packed: NDArray[np.uint8], size: int) -> NDArray[np.bool_]:
    return np.unpackbits(packed, axis=0, count=size).astype(np.bool_)


def _labels(path: Path, image: CaseImage | None) -> NDArray[np.uint8]:
    """Label values (X, Y, Z): of a volume on its axial axes, of a picture as it is stored."""
    return read_label(path) if image is None else image.axial(read_label(path, image))


def _check(truth: NDArray, picture: NDArray | None) -> None:
    if picture is not None and truth.shape[:2] != picture.shape[1::-1]:
        raise ValueError("the mask is not on the picture's grid")


def _not_kept(whose: str) -> str:
    return (
        f"The masks of {whose} were not kept (evaluated by an earlier version, or on more cases than keep_masks; "
        "evaluating again keeps them):"
    )


def _exists(path: str) -> bool:
    return Path(path.partition("::")[0]).exists()


def _value(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "undefined"
