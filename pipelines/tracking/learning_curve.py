"""The picture of a training: losses and metrics against epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

History = Mapping[str, Sequence[tuple[int, float]]]


def learning_curve(history: History, title: str) -> Figure:
    """Losses on the left, every other metric on the right (learning rate and seconds are left out).

    Args:
        history: for each metric its values as (epoch, value); NaN leaves a gap.
        title: written above, the run's name.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display, and without pyplot's global state
    figure.suptitle(title)
    curves = {name: points for name, points in history.items() if not name.startswith(("learning_rate", "epoch_"))}
    left, right = figure.subplots(1, 2)
    for axes, wanted, label in ((left, True, "loss"), (right, False, "validation")):
        for name, points in curves.items():
            if name.endswith("loss") == wanted:
                axes.plot([epoch for epoch, _ in points], [value for _, value in points], marker=".", label=name)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    return figure
