"""Pictures of cases: a slice with the outlines of label and prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Literal

import nibabel
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from pipelines.evaluation.label_outlines import colour_of

# Okabe and Ito's colours (https://jfly.uni-koeln.de/color/): told apart with any colour vision; label and prediction
# also by line style. One class is sky blue and orange; of several each has a colour.
Style = tuple[str, Literal["solid", "dashed"]]
LABEL: Style = ("#56B4E9", "solid")
PREDICTION: Style = ("#E69F00", "dashed")
_COLUMNS = 3
_NAME_LETTERS = 36
_LEGEND_WIDTH = 1.7  # inches of an entry


@dataclass(frozen=True)
class CasePicture:
    """One slice of a case, upright: rows downwards, columns to the right.

    Attributes:
        case: name of the case.
        dice: of the class that counts, in the whole case.
        image: rows x columns (x 3, in colour), 0..255 uint8; None where the image could not be had.
        label: rows x columns, the true label map, or a mask (bool).
        prediction: rows x columns, the predicted one.
        classes: names of the values that are outlined.
    """

    case: str
    dice: float
    image: NDArray[np.uint8] | None
    label: NDArray
    prediction: NDArray
    classes: Mapping[int, str] = field(default_factory=lambda: {1: ""})

    @property
    def styles(self) -> dict[int, tuple[Style, Style]]:
        """How label and prediction of each outlined value are drawn."""
        if len(self.classes) == 1:
            return dict.fromkeys(self.classes, (LABEL, PREDICTION))
        colours = {value: "#%02X%02X%02X" % colour_of(value) for value in self.classes}  # noqa: UP031, of a tuple
        return {value: ((colour, "solid"), (colour, "dashed")) for value, colour in colours.items()}


def telling_slice(label: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> int:
    """Index along Z of the slice with most of the true mask; where there is none, with most of the predicted one."""
    mask = label if label.any() else prediction
    return int(mask.sum(axis=(0, 1)).argmax())


def upright(plane: NDArray, affine: NDArray | None) -> NDArray:
    """An axial X x Y plane as a radiologist sees it: front of the patient up, the patient's right on the left.

    Args:
        plane: X x Y of a volume's slice; of a picture also X x Y x RGB.
        affine: 4 x 4 to RAS of the volume; None takes the plane for a picture held as columns x rows, as MONAI does.
    """
    if affine is None:
        return np.swapaxes(plane, 0, 1)
    first, second, _ = nibabel.aff2axcodes(affine)
    if first in ("A", "P"):
        plane, first, second = plane.T, second, first
    if first == "R":
        plane = plane[::-1]
    if second == "A":
        plane = plane[:, ::-1]
    return plane.T


def grey(plane: NDArray, low: float | None = None, high: float | None = None) -> NDArray[np.uint8]:
    """Values as 0..255 between low and high, by default the darkest and the brightest percent."""
    values = np.nan_to_num(np.asarray(plane, dtype=np.float32))
    bottom = float(np.percentile(values, 1)) if low is None else low
    top = float(np.percentile(values, 99)) if high is None else high
    return (np.clip((values - bottom) / max(top - bottom, 1e-6), 0, 1) * 255).astype(np.uint8)


def draw_cases(pictures: Sequence[CasePicture], file: IO[bytes], key_class: str = "") -> None:
    """Write a PNG of all pictures side by side, each with its case's name and Dice.

    Args:
        pictures: of the same classes. key_class: whose Dice it is.

    Raises:
        ValueError: there are no pictures.
    """
    if not pictures:
        raise ValueError("there is nothing to draw")
    columns = min(_COLUMNS, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(3.6 * columns, 3.8 * rows + 0.4), dpi=110, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, picture in zip(grid.flat, pictures, strict=False):
        _draw_case(axes, picture, f"{key_class} Dice".strip())
    styles = pictures[0].styles
    if len(styles) == 1:
        add_legend(figure, "label", "prediction")
    else:
        named = [(name, styles[value][0]) for value, name in sorted(pictures[0].classes.items())]
        _add_legend(figure, [*named, ("label", ("white", "solid")), ("prediction", ("white", "dashed"))])
    figure.savefig(file, format="png")


def add_legend(figure: Figure, label: str, prediction: str) -> None:
    """Below a figure's pictures, what the two outlines are called."""
    _add_legend(figure, [(label, LABEL), (prediction, PREDICTION)])


def _add_legend(figure: Figure, styles: Sequence[tuple[str, Style]]) -> None:
    lines = [Line2D([], [], color=colour, linestyle=line, label=name) for name, (colour, line) in styles]
    columns = min(len(lines), 4, max(1, int(figure.get_figwidth() // _LEGEND_WIDTH)))
    legend = figure.legend(
        handles=lines, loc="outside lower center", ncols=columns, facecolor="black", edgecolor="black"
    )
    for text in legend.get_texts():
        text.set_color("white")


def outline(axes: Axes, mask: NDArray[np.bool_], style: Style) -> None:
    """Draw where a mask (rows x columns) ends, at the picture's border too; nothing of an empty one."""
    if not mask.any():
        return
    framed = np.pad(mask.astype(np.float32), 1)  # so that outlines close at the border
    rows, columns = (np.arange(-1, size - 1) for size in framed.shape)
    colour, line = style
    drawn = axes.contour(columns, rows, framed, levels=[0.5], colors=colour, linestyles=line, linewidths=1.2)
    drawn.set_path_effects([Stroke(linewidth=2.4, foreground="black", alpha=0.55), Normal()])  # seen on white too


def _draw_case(axes: Axes, picture: CasePicture, score: str) -> None:
    image = np.zeros(picture.label.shape, dtype=np.uint8) if picture.image is None else picture.image
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    name = "".join(letter if letter.isprintable() else "?" for letter in picture.case)
    name = name if len(name) <= _NAME_LETTERS else f"…{name[1 - _NAME_LETTERS :]}"
    dice = f"{picture.dice:.3f}" if math.isfinite(picture.dice) else "undefined"
    # a dollar in a name is no formula
    axes.set_title(f"{name}\n{score} {dice}", fontsize=9, parse_math=False)
    for value, (of_label, of_prediction) in picture.styles.items():
        outline(axes, picture.label == value, of_label)
        outline(axes, picture.prediction == value, of_prediction)
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
