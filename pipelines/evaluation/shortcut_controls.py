"""Shortcut controls: how well classes can be told without what should tell them, beside a model's own figure.

A network that sees a disease in the corners has learned the hospital (DeGrave et al., Nature Machine Intelligence
3:610, 2021).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.errors import ConfigError, DatalistError
from pipelines.evaluation.case_tables import shown
from pipelines.evaluation.class_pictures import BLUE, SlicePicture, draw_slices
from pipelines.evaluation.classification import area_under_curve
from pipelines.evaluation.collecting import Report
from pipelines.evaluation.intervals import Interval, bootstrap_scores
from pipelines.evaluation.rated_items import RatedItem, arrays, rated_items
from pipelines.evaluation.report import as_entry, flatten, with_bounds
from pipelines.evaluation.shortcut_views import (
    SeenPictures,
    View,
    network_scores,
    picture_views,
    see_pictures,
    tree_scores,
)
from pipelines.files import make_folder, table, text, write_file

logger = logging.getLogger(__name__)

MODEL = "model"
MEANINGS = {
    MODEL: "the model that is evaluated, on whole pictures at its own size",
    "whole_picture": "a small network on small whole pictures: what those below are to be held against",
    "borders": "the same, the edge alone. High: they differ where little of the body is (markers, collimation, arms)",
    "size_and_brightness": "trees on size and greys. High: they differ in how pictures were taken or exported",
}
READING = (
    "0.5 is chance. A control far above it says that the classes also differ in what it sees: a model can then be "
    "right for that alone, and fail where that difference is missing, as in another hospital. It does not say that the "
    "model is."
)
_SMALLEST = 32  # pixels a side that the network can halve five times


class ShortcutControls(Report[RatedItem]):
    """Trains controls that see no more than shortcuts, and writes their areas under the curve beside the model's.

    Attach after ``ClassificationReport``, to the same evaluator, of grey pictures in two classes. The model's scores
    are those of the evaluation. Each control learns from the training part, with fixed settings, and is measured on the
    pictures that the model was: nothing is chosen on these. ``whole_picture`` and ``borders`` are one small network on
    reduced pictures, whole, and of the outer frame alone, and so are the task's own ``views``;
    ``size_and_brightness`` is boosted trees on a picture's size and greys.

    It writes ``shortcuts.json``, ``shortcuts.csv``, ``shortcuts.png`` (areas with 95 % intervals over patients),
    ``shortcuts_pictures.csv`` (every score of each picture) and ``shortcuts_seen.png`` (what the networks see). After
    the epoch ``engine.state.metrics`` has ``PREFIX_auc_CONTROL``, with ``_ci_low`` and ``_ci_high``. Of several
    processes, the first does all of this.

    Args:
        output_dir: folder for the files.
        names: of the two classes; areas are those of the second.
        training: items of the training part with ``image`` (a path), ``label`` (0 or 1) and ``patient``.
        preprocessing: makes of ``{"image": path}`` the same with a tensor (1, W, H), grey 0..1, the picture as read.
        network: makes the small network, see ``network_scores``.
        views: what else of a picture a network is left.
        size: pixels a side of the reduced pictures, at least 32.
        border: width of the frame as part of a side, above 0 and below 0.5.
        epochs: of each network, at least 1.
        seed: of weights, order and dropout.
        device: where the networks learn.
        amp: in bfloat16.
        prefix: of the names of the scores; the part that is evaluated.
        n_resamples: bootstrap samples of the intervals.

    Raises:
        ConfigError: an argument is out of its range, or there are not two classes; while running, where an item lacks a
            key.
        DatalistError: the training part lacks a class; while running, the evaluated part does, or has a patient of the
            training part.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        names: Sequence[str],
        training: Sequence[Mapping[str, Any]],
        preprocessing: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        network: Callable[[], torch.nn.Module],
        views: Sequence[View] = (),
        size: int = 64,
        border: float = 0.125,
        epochs: int = 3,
        seed: int = 0,
        device: torch.device | str = "cpu",
        amp: bool = False,
        prefix: str = "test",
        n_resamples: int = 2000,
    ) -> None:
        super().__init__(output_dir, prefix, n_resamples)
        self.names = [str(name) for name in names]
        if len(self.names) != 2:
            raise ConfigError(f"two classes are due, got {self.names}", where=self.name)
        if size < _SMALLEST or not 0 < border < 0.5 or epochs < 1:
            raise ConfigError(
                f"size {size}, border {border:g} and epochs {epochs} cannot be",
                where=self.name,
                how=f"size from {_SMALLEST}, border above 0 and below 0.5, epochs from 1",
            )
        self.training = list(training)
        self.preprocessing = preprocessing
        self.network = network
        self.views = list(views)
        whole, *others = MEANINGS.items()
        self.meanings = dict([whole, others[0], *((view.name, view.meaning) for view in self.views), *others[1:]])
        self.reading = " ".join([READING, *(view.caveat for view in self.views if view.caveat)])
        self.size, self.border, self.epochs, self.seed = size, border, epochs, seed
        self.device, self.amp = torch.device(device), amp
        self._check_classes("training", [int(item["label"]) for item in self.training])

    def collect(self, item: Mapping[str, Any]) -> list[RatedItem]:
        self.required(item, "pred", "label", "case", "patient", "image")
        return rated_items(item, self.names)

    def finish(self, engine: Engine, collected: Sequence[RatedItem]) -> None:
        if idist.get_rank() > 0:
            return
        probabilities, labels = arrays(collected)
        self._check_classes(self.prefix, labels.tolist())
        self._check_patients(collected)
        scores = {MODEL: probabilities[:, 1], **self._controls(collected)}

        def areas(drawn: NDArray[np.intp]) -> dict[str, float]:
            return {f"auc_{name}": area_under_curve(each[drawn], labels[drawn] == 1) for name, each in scores.items()}

        found = bootstrap_scores(areas, [each.patient for each in collected], n_resamples=self.n_resamples)
        summary = {name.removeprefix("auc_"): each for name, each in found.items()}
        for name, interval in summary.items():
            logger.info("%s: area under the curve %s (%s)", name, shown(interval.estimate), with_bounds(interval))
        self._write_tables(collected, scores, summary)
        title = f"{self.names[1]} or {self.names[0]}, {self.prefix}: {len(collected)} pictures"
        write_file(self.output_dir / "shortcuts.png", lambda file: draw_controls(summary, self.meanings, title, file))
        logger.info("shortcut controls in %s. %s", self.output_dir, self.reading)
        controls = {f"{self.prefix}_auc_{name}": each for name, each in summary.items() if name != MODEL}
        engine.state.metrics.update(flatten(controls))

    def _check_classes(self, part: str, labels: Sequence[int]) -> None:
        missing = [name for k, name in enumerate(self.names) if k not in labels]
        if missing:
            raise DatalistError(
                f"the {part} part has no picture of the class {missing[0]}, and shortcut controls need both",
                how="give a datalist whose parts have both classes, or evaluate without shortcuts.yaml",
            )

    def _check_patients(self, items: Sequence[RatedItem]) -> None:
        shared = {str(item["patient"]) for item in self.training} & {each.patient for each in items}
        if shared:
            raise DatalistError(
                f"{len(shared)} patients are in the training part and in what is evaluated, {sorted(shared)[0]} is one",
                where=self.prefix,
                how="evaluate on validation or test, the controls learn from the training part",
            )

    def _controls(self, items: Sequence[RatedItem]) -> dict[str, NDArray[np.float64]]:
        """The scores of each control for each picture."""
        number = len(self.training)
        logger.info("shortcut controls: reading %d pictures to learn from and %d to measure", number, len(items))
        training = see_pictures([str(item["image"]) for item in self.training], self.preprocessing, self.size)
        evaluated = see_pictures([each.path for each in items], self.preprocessing, self.size)
        labels = np.array([int(item["label"]) for item in self.training])
        views = picture_views(self.size, self.border, self.views)
        make_folder(self.output_dir)
        seen = seen_pictures(evaluated, items, self.names, views)
        write_file(self.output_dir / "shortcuts_seen.png", lambda file: draw_slices(seen, file, len(views)))
        scores = {}
        for name, view in views.items():
            logger.info("shortcut controls: %s learns from %d pictures, %d epochs", name, number, self.epochs)
            scores[name] = network_scores(
                *(training.planes, labels, evaluated.planes, view, self.network),
                epochs=self.epochs,
                seed=self.seed,
                device=self.device,
                amp=self.amp,
            )
        scores["size_and_brightness"] = tree_scores(training.features, labels, evaluated.features, seed=self.seed)
        return scores

    def _write_tables(
        self, items: Sequence[RatedItem], scores: Mapping[str, NDArray], summary: Mapping[str, Interval]
    ) -> None:
        rows = [
            (name, each.estimate, each.low, each.high, each.n, each.n_patients, self.meanings[name])
            for name, each in summary.items()
        ]
        head = ["control", "auc", "ci_low", "ci_high", "pictures", "patients", "meaning"]
        write_file(self.output_dir / "shortcuts.csv", text(table(head, rows)))
        head = ["case", "patient", "label", *scores]
        columns = zip(*(each.tolist() for each in scores.values()), strict=True)
        rated = ((each.case, each.patient, self.names[each.label]) for each in items)
        pictures = ((*each, *row) for each, row in zip(rated, columns, strict=True))
        write_file(self.output_dir / "shortcuts_pictures.csv", text(table(head, pictures)))
        content = {
            "part": self.prefix,
            "positive": self.names[1],
            "training_pictures": len(self.training),
            "settings": {"size": self.size, "border": self.border, "epochs": self.epochs, "seed": self.seed},
            "auc": {name: as_entry(each, 0) | {"meaning": self.meanings[name]} for name, each in summary.items()},
            "reading": self.reading,
        }
        write_file(self.output_dir / "shortcuts.json", text(json.dumps(content, indent=2, allow_nan=False) + "\n"))


def seen_pictures(
    pictures: SeenPictures, items: Sequence[RatedItem], names: Sequence[str], views: Mapping[str, torch.Tensor]
) -> list[SlicePicture]:
    """The mean picture and the first of each class, each as every view leaves it."""
    chosen = {"mean of all": pictures.planes.mean(dim=0)[0]}
    for k, name in enumerate(names):
        first = next(place for place, each in enumerate(items) if each.label == k)
        chosen[f"{items[first].case}, {name}"] = pictures.planes[first, 0]
    return [
        SlicePicture(f"{name}\n{title}", ((plane * view).clamp(0, 1) * 255).to(torch.uint8).numpy().T)
        for title, plane in chosen.items()
        for name, view in views.items()
    ]


def draw_controls(summary: Mapping[str, Interval], meanings: Mapping[str, str], title: str, file: IO[bytes]) -> None:
    """Write a PNG: the area under the curve of the model and of each control, a row each, with its interval."""
    figure = Figure(figsize=(9, 0.75 * len(summary) + 1.3), dpi=110, layout="constrained")
    axes = figure.subplots()
    for row, (name, each) in enumerate(summary.items()):
        colour, filled = ("black", "black") if name == MODEL else (BLUE, BLUE if name == "whole_picture" else "white")
        axes.hlines(row, each.low, each.high, color=colour, linewidth=2)
        axes.plot(each.estimate, row, "D" if name == MODEL else "o", color=colour, markerfacecolor=filled, markersize=8)
        bounds = f" ({each.low:.3f} to {each.high:.3f})" if np.isfinite(each.low) else ""
        axes.annotate(
            f"{name}  {each.estimate:.3f}{bounds}\n{meanings[name]}", (0, row), (6, 8), va="bottom", fontsize=8,
            xycoords=("axes fraction", "data"), textcoords="offset points", parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(0.5, color="0.4", linestyle="--", linewidth=1)
    axes.set_yticks([])
    axes.set_ylim(len(summary) - 0.6, -0.8)
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.set_xlim(min(0.45, *(np.nanmin([each.low, each.estimate]) - 0.02 for each in summary.values())), 1.02)
    axes.set_xlabel("area under the ROC curve, 95 % interval over patients; dashed: chance")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file, format="png")
