"""The evaluation report as a handler of MONAI's evaluator."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from numpy.typing import NDArray

from pipelines.errors import ConfigError, DatalistError, PipelinesError
from pipelines.evaluation.collecting import Report
from pipelines.evaluation.kept_masks import KeptMask, MaskKeeper
from pipelines.evaluation.pictures import CasePicture, grey, telling_slice, upright
from pipelines.evaluation.report import EvaluationRow, flatten, summarise, write_evaluation
from pipelines.evaluation.segmentation import NO_NSD, Measure, case_metrics
from pipelines.evaluation.stored_images import shown_grey
from pipelines.readers import read_as_shown, read_colour

logger = logging.getLogger(__name__)

_DRAWN_SIDE = 800  # pixels


@dataclass
class _Shown:
    """What is drawn of a case: its telling slice, X x Y, and where to find the image if it is not here."""

    slice_index: int
    affine: NDArray | None
    image: NDArray | None
    image_path: str | None
    label: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    coloured: bool


@dataclass
class MeasuredCase:
    """One case: its row, the Dice of the class that counts, what is drawn of it while it is one of the worst, and its
    mask where that is kept."""

    row: EvaluationRow
    dice: float
    shown: _Shown | None = None
    mask: KeptMask | None = None

    @property
    def key(self) -> str:
        return self.row["case"]


class EvaluationReport(Report[MeasuredCase]):
    """Measures each case of a segmentation as it comes and writes the report when the epoch is over.

    Attach to a ``SupervisedEvaluator`` that decollates (its default) and whose postprocessing brings the prediction
    back onto the original grid. Each item of ``engine.state.output``, with that of ``engine.state.batch``, has

    - ``key_pred``: 1 x X x Y x Z (or 1 x X x Y) predicted label map; ``key_label``: the original label, same shape;
    - ``patient`` and ``case``: names from the datalist; without ``case`` the image's file name is taken;
    - ``key_image``: the image as it was loaded, of one channel, or three in colour. Its meta says ``kind`` ("volume":
      distances in millimetres by its affine; "picture": in pixels, as also where there is no kind) and
      ``filename_or_obj``, which is read again for the pictures where preprocessing changed the grid.

    Of a case it keeps the numbers, of the worst ones a slice, and on request the mask (``MaskKeeper``). After the epoch
    ``engine.state.metrics`` has ``PREFIX_METRIC``, ``PREFIX_METRIC_ci_low`` and ``PREFIX_METRIC_ci_high`` for each
    metric of ``case_metrics`` and of the measures. With more than one process all gather, the first one writes, and a
    case that a sampler gave twice counts once.

    Args:
        output_dir: folder for the files of ``write_evaluation``.
        classes, nsd_tolerance, iou_threshold: see ``case_metrics``.
        key_class: the class that counts: by its Dice cases are the worst; None for that of the highest value.
        measures: what the task measures of a case beside ``case_metrics``; the names go into the metrics as they are.
        outlined: classes whose outlines are drawn; None for all.
        window: the least and the greatest value that is drawn of a grey image that was read again (of a picture 0 to
            255); None for its darkest and brightest percent.
        key_pred: key of the prediction.
        key_label: key of the label.
        key_image: key of the image.
        prefix: of the metric names.
        group_key: of the items' group (a diagnosis), where results are also wanted by group; None for none.
        n_worst: how many of the worst cases are drawn; 0 for none.
        n_resamples: bootstrap samples of the intervals.
        keep_masks: predictions are kept in ``masks/`` where there are at most so many cases; 0 keeps none.

    Raises:
        ValueError: n_worst or keep_masks is negative.
        ConfigError: there are no classes, or ``key_class`` or ``outlined`` names none of them; while running, where an
            item lacks a key or is no label map.
        DatalistError: while running, where a case has no patient or no name, or there was no case.
        GeometryError, LabelError: while running, from ``case_metrics``, with the case's name.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        classes: Mapping[int, str],
        key_class: str | None = None,
        key_pred: str = "pred",
        key_label: str = "label",
        key_image: str = "image",
        prefix: str = "test",
        n_worst: int = 6,
        n_resamples: int = 2000,
        nsd_tolerance: Mapping[str, float] = NO_NSD,
        iou_threshold: float | None = None,
        group_key: str | None = None,
        keep_masks: int = 0,
        measures: Sequence[Measure] = (),
        outlined: Sequence[str] | None = None,
        window: tuple[float, float] | None = None,
    ) -> None:
        for name, number in (("n_worst", n_worst), ("keep_masks", keep_masks)):
            if number < 0:
                raise ValueError(f"{name} must be 0 or more, got {number}")
        super().__init__(output_dir, prefix, n_resamples)
        self.key_pred = key_pred
        self.key_label = key_label
        self.key_image = key_image
        self.n_worst = n_worst
        self.classes = {int(value): name for value, name in classes.items() if int(value) != 0}
        self.nsd_tolerance = dict(nsd_tolerance)
        self.iou_threshold = iou_threshold
        self.group_key = group_key
        self.measures = list(measures)
        self.window = None if window is None else (float(window[0]), float(window[1]))
        if not self.classes:
            raise ConfigError("there are no classes", where="EvaluationReport", how="name label values from 1")
        self.key_class = self.classes[max(self.classes)] if key_class is None else key_class
        drawn = list(self.classes.values()) if outlined is None else list(outlined)
        for name in (self.key_class, *drawn):
            if name not in self.classes.values():
                raise ConfigError(
                    f"there is no class {name!r}",
                    where="EvaluationReport",
                    how=f"name one of {', '.join(self.classes.values())}",
                )
        self.outlined = {value: name for value, name in self.classes.items() if name in drawn}
        self._worst: list[MeasuredCase] = []
        self._masks = MaskKeeper(self.output_dir, keep_masks, self.classes)

    def start(self, engine: Engine) -> None:
        self._worst = []
        self._masks.start(engine)

    def collect(self, item: Mapping[str, Any]) -> list[MeasuredCase]:
        image = item.get(self.key_image)
        meta: Mapping[str, Any] = image.meta if isinstance(image, MetaTensor) else {}
        case, patient = self._names(item, meta)
        prediction, label = self._label_map(item, self.key_pred, case), self._label_map(item, self.key_label, case)
        affine = self._affine(item, meta) if meta.get("kind") == "volume" else None
        spacing = None if affine is None else [float(step) for step in affine_to_spacing(affine, r=label.ndim)]
        try:
            metrics = case_metrics(
                *(prediction, label, self.classes),
                spacing=spacing,
                nsd_tolerance=self.nsd_tolerance,
                iou_threshold=self.iou_threshold,
            )
            for measure in self.measures:
                metrics |= measure(prediction, label, self.classes, spacing)
        except PipelinesError as error:
            raise type(error)(error.what, where=case, how=error.how) from error
        row: EvaluationRow = {"case": case, "patient": patient, "metrics": metrics}
        if self.group_key is not None:
            row["group"] = str(item.get(self.group_key, "unknown"))
        measured = MeasuredCase(row, metrics[f"{self.key_class}_dice"])
        measured.mask = self._masks.add(case, prediction, affine, image, item[self.key_label])
        if self._is_bad(measured):
            measured.shown = self._shown(prediction, label, image, meta, affine)
            self._worst.append(measured)
            self._worst.sort(key=lambda each: each.dice)
            for each in self._worst[self.n_worst :]:
                each.shown = None
            del self._worst[self.n_worst :]
        return [measured]

    def _names(self, item: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[str, str]:
        path = str(meta.get("filename_or_obj", ""))
        case = str(item["case"]) if "case" in item else Path(path).name
        if not case:
            raise DatalistError("a case has no 'case' in the datalist and no image file", how="prepare the data again")
        if "patient" not in item:
            raise DatalistError(
                "the case has no 'patient', and intervals are over patients",
                where=case,
                how="prepare the data again; where patients are unknown the datalist makes each image its own",
            )
        return case, str(item["patient"])

    def _label_map(self, item: Mapping[str, Any], key: str, case: str) -> NDArray:
        """The item's label map without its channel: X x Y or X x Y x Z."""
        if key not in item:
            raise ConfigError(
                f"the evaluator's output has no '{key}', only {sorted(map(str, item))}",
                where=case,
                how="give EvaluationReport the keys that postprocessing makes",
            )
        value = item[key]
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        if array.ndim not in (3, 4) or array.shape[0] != 1:
            raise ConfigError(
                f"'{key}' is {array.shape}, not a label map with one channel (1 x X x Y x Z)",
                where=case,
                how="take the argmax in postprocessing",
            )
        return np.asarray(array[0])

    def _affine(self, item: Mapping[str, Any], meta: Mapping[str, Any]) -> NDArray:
        """The original grid's affine: the label's own, or the one the image was loaded with."""
        label = item[self.key_label]
        affine = label.affine if isinstance(label, MetaTensor) else meta["original_affine"]
        return np.asarray(affine, dtype=np.float64)

    def _is_bad(self, measured: MeasuredCase) -> bool:
        """Whether it is one of the worst so far."""
        if self.n_worst == 0 or np.isnan(measured.dice):
            return False
        return len(self._worst) < self.n_worst or measured.dice < self._worst[-1].dice

    def _shown(
        self, prediction: NDArray, label: NDArray, image: Any, meta: Mapping[str, Any], affine: NDArray | None
    ) -> _Shown:
        spatial = (*label.shape, 1)[:3]
        true, predicted = (np.reshape(array, spatial).astype(np.uint8) for array in (label, prediction))
        key = next(value for value, name in self.classes.items() if name == self.key_class)
        index = telling_slice(true == key, predicted == key)
        plane = None
        if image is not None and tuple(image.shape[1:]) == label.shape and _untouched(image):
            pixels = image.detach().cpu().numpy()
            if len(pixels) == 3:
                plane = np.rint(255 * pixels.transpose(1, 2, 0)).astype(np.uint8)  # W x H x RGB
            else:
                plane = np.array(pixels[0].reshape(spatial)[:, :, index])
        path = str(meta["filename_or_obj"]) if "filename_or_obj" in meta else None
        planes = true[:, :, index].copy(), predicted[:, :, index].copy()
        coloured = image is not None and image.shape[0] == 3
        if coloured and plane is not None:  # a camera's picture is many times what is drawn of it
            step = max(1, max(label.shape) // _DRAWN_SIDE)
            plane, planes = plane[::step, ::step].copy(), (planes[0][::step, ::step], planes[1][::step, ::step])
        return _Shown(index, affine, plane, path, *planes, coloured)

    def finish(self, engine: Engine, collected: Sequence[MeasuredCase]) -> None:
        rows = [each.row for each in collected]
        if idist.get_rank() > 0:
            summary, _ = summarise(rows, self.prefix, n_resamples=self.n_resamples)
        else:
            tolerance = ", ".join(f"{name} {distance:g}" for name, distance in self.nsd_tolerance.items())
            notes = (
                [f"NSD tolerance in mm, for pictures of unknown spacing in pixels: {tolerance}."] if tolerance else []
            )
            if self.iou_threshold is not None:
                notes.append(f"Thresholded IoU: an IoU below {self.iou_threshold:g} counts as 0.")
            kept = [each.mask for each in collected if each.mask is not None]
            if rows and (self._masks.most or self._masks.folder.is_dir()):
                notes.append(self._masks.finish(kept, len(rows)))
            worst = sorted((each for each in collected if each.shown is not None), key=lambda each: each.dice)
            summary = write_evaluation(
                rows,
                self.output_dir,
                self.prefix,
                pictures=[
                    self._picture(each.key, each.dice, each.shown) for each in worst[: self.n_worst] if each.shown
                ],
                notes=notes,
                key_class=self.key_class,
                n_resamples=self.n_resamples,
            )
            logger.info("evaluated %d cases, report in %s", len(rows), self.output_dir)
        engine.state.metrics.update(flatten(summary))
        self._worst = []

    def _picture(self, case: str, dice: float, shown: _Shown) -> CasePicture:
        plane = shown.image
        if plane is not None and not shown.coloured:
            plane = grey(plane)
        elif plane is None and shown.image_path is not None:
            try:
                if shown.coloured:
                    plane = read_colour(shown.image_path).array.transpose(1, 2, 0)
                else:
                    loaded = read_as_shown(shown.image_path)
                    plane = shown_grey(loaded.array[:, :, shown.slice_index], loaded.intensity, self.window)
            except (PipelinesError, OSError, IndexError) as error:  # the numbers are right without the picture
                logger.warning("%s: no image behind the outlines (%s)", case, error)
        if plane is not None and plane.shape[:2] != shown.label.shape:
            logger.warning("%s: no image behind the outlines (it is not on the label's grid)", case)
            plane = None
        return CasePicture(
            case,
            dice,
            None if plane is None else upright(plane, shown.affine),
            upright(shown.label, shown.affine),
            upright(shown.prediction, shown.affine),
            self.outlined,
        )


def _untouched(image: Any) -> bool:
    """Whether the image is still on the grid it was loaded with; an equal shape alone does not say so."""
    if not isinstance(image, MetaTensor) or "original_affine" not in image.meta:
        return True
    original = np.asarray(image.meta["original_affine"], dtype=np.float64)
    return bool(np.allclose(np.asarray(image.affine, dtype=np.float64), original, atol=1e-4))
