"""The report of a classification of whole pictures; of two classes with an operating threshold and curves."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.errors import ConfigError, PipelinesError
from pipelines.evaluation.case_tables import shown
from pipelines.evaluation.class_pictures import BLUE
from pipelines.evaluation.class_report import ClassificationReport, RatedSlice, arrays
from pipelines.evaluation.classification import (
    area_under_curve,
    average_precision,
    binary_scores,
    class_scores,
    curve_points,
)
from pipelines.evaluation.intervals import Interval, bootstrap_scores
from pipelines.evaluation.report import as_entry
from pipelines.files import markdown_cell, text, write_file
from pipelines.readers import read_colour, read_xray

logger = logging.getLogger(__name__)
_UNKNOWN = "unknown"  # the group of a picture whose group nobody wrote down


class PictureClassificationReport(ClassificationReport):
    """As ``ClassificationReport``, of pictures: an item is rated as a whole, its ``label`` is a class.

    The class that is said follows the checkpoint's operating point. Of two classes there are, beside the scores of
    ``class_scores``, those of ``binary_scores`` for the last one, called positive, and ``curves.png`` has its ROC and
    precision-recall curves. The tables are ``pictures.csv`` and ``cases.csv``; ``groups.json`` has the scores by
    subgroup.

    Args:
        coloured: the pictures are drawn in colour.
        group_key: of the items' subgroup (the kind of pneumonia), where scores are wanted by group too; None for none.
            Pictures of the group "unknown" are in none.

    Raises:
        ConfigError: there are not two classes or more; else as ``ClassificationReport``.
    """

    unit = "picture"
    rules = (
        "The unit is the picture, intervals are over patients. Undefined values (no picture of a class) are left out "
        "of means. The class said follows the operating point that is stored with the weights, if there is one."
    )

    def __init__(self, *args: Any, group_key: str | None = None, coloured: bool = False, **arguments: Any) -> None:
        super().__init__(*args, **arguments)
        self.group_key = group_key
        self.coloured = coloured
        if len(self.names) < 2:
            raise ConfigError(f"two classes are due, or more, got {self.names}", where="PictureClassificationReport")

    def rated(self, item: Mapping[str, Any]) -> list[RatedSlice]:
        missing = [key for key in ("pred", "label", "case", "patient", "image") if key not in item]
        if missing:
            raise ConfigError(f"the evaluator's items have no {missing[0]!r}", where=type(self).__name__)
        probabilities = torch.as_tensor(item["pred"]).detach().cpu().double().flatten().tolist()
        if len(probabilities) != len(self.names):
            raise ConfigError(f"{len(probabilities)} probabilities for {self.names}", where=str(item["case"]))
        path = str(item["image"].meta["filename_or_obj"])
        label = int(torch.as_tensor(item["label"]).flatten()[0])
        group = "" if self.group_key is None else str(item.get(self.group_key, _UNKNOWN))
        group = "" if group == _UNKNOWN else group
        return [RatedSlice(str(item["case"]), str(item["patient"]), 0, label, tuple(probabilities), path, group=group)]

    @property
    def _binary(self) -> bool:
        return len(self.names) == 2

    def scores(self, probabilities: NDArray, labels: NDArray, predicted: NDArray) -> dict[str, float]:
        scores = class_scores(probabilities, labels, self.names, predicted)
        return scores | binary_scores(probabilities[:, 1], labels, predicted) if self._binary else scores

    def refers(self, each: RatedSlice) -> bool:
        return each.probabilities[int(self.predicted([each])[0])] < self.refer_below

    def name_of(self, each: RatedSlice) -> str:
        return each.case

    def image(self, each: RatedSlice) -> NDArray[np.uint8] | None:
        try:
            if self.coloured:
                return np.ascontiguousarray(read_colour(each.path).array.transpose(2, 1, 0))
            return read_xray(each.path).array.T.astype(np.uint8)
        except (PipelinesError, OSError) as error:  # the numbers are right without the picture
            logger.warning("%s: no picture (%s)", each.case, error)
            return None

    def draw(self, probabilities: NDArray, labels: NDArray) -> None:
        said, path = self.calibration.predict(probabilities, self.names), self.output_dir / "curves.png"
        if not self._binary:
            path.unlink(missing_ok=True)
            return
        write_file(
            path,
            lambda file: draw_curves(probabilities[:, 1], labels == 1, said == 1, self.names[1], file),
        )

    def groups(self, slices: Sequence[RatedSlice]) -> str:
        names = sorted({each.group for each in slices} - {""})
        path = self.output_dir / "groups.json"
        if not names:
            path.unlink(missing_ok=True)
            return ""
        found = {name: self._of_group([each for each in slices if each.group == name]) for name in names}
        entries = {
            name: {f"{self.prefix}_{score}": as_entry(each, 0) for score, each in scores.items()}
            for name, scores in found.items()
        }
        write_file(path, text(json.dumps(entries, indent=2, allow_nan=False) + "\n"))
        lines = [
            "",
            "## By group",
            "",
            "| group | pictures | score | value | 95 % interval |",
            "|---|---:|---|---:|---:|",
        ]
        for name, scores in found.items():
            number = sum(each.group == name for each in slices)
            lines += [
                f"| {markdown_cell(name)} | {number} | {score} | {shown(each.estimate)} "
                f"| {shown(each.low)} to {shown(each.high)} |"
                for score, each in scores.items()
            ]
        return "\n".join(lines) + "\n"

    def _of_group(self, slices: Sequence[RatedSlice]) -> dict[str, Interval]:
        """What can be said of a group: of one that is all of one class, only how many of it were found."""
        probabilities, labels = arrays(slices)
        predicted = self.predicted(slices)

        def score(drawn: NDArray[np.intp]) -> dict[str, float]:
            return self.scores(probabilities[drawn], labels[drawn], predicted[drawn])

        wanted = ("sensitivity", "specificity", "auc")
        kept = [name for name in wanted if np.isfinite(score(np.arange(len(slices))).get(name, np.nan))]
        intervals = bootstrap_scores(score, [each.patient for each in slices], n_resamples=self.n_resamples)
        return {name: intervals[name] for name in kept}

    @property
    def refer_rule(self) -> str:
        point = None if self.calibration.calibration is None else self.calibration.calibration.operating_point
        rule = f"A picture whose class is said at less than {self.refer_below:g} is referred to a person."
        if point is None:
            return rule
        return (
            f"{point.positive.capitalize()} is said from a probability of {point.threshold:.4f} ({point.rule}; wanted "
            f"{point.wanted_sensitivity:g}; on validation sensitivity {point.sensitivity:.3f}, specificity "
            f"{point.specificity:.3f}). {rule}"
        )


def draw_curves(
    scores: NDArray, positive: NDArray[np.bool_], said: NDArray[np.bool_], name: str, file: IO[bytes]
) -> None:
    """Write a PNG: the ROC and the precision-recall curve, each with its area and where the pictures were cut.

    Args:
        scores: (N,) probabilities of the positive class. positive: (N,) whether it is. said: (N,) whether it was said.
    """
    roc, recalls = curve_points(scores, positive)
    number, others = max(int(positive.sum()), 1), max(int((~positive).sum()), 1)
    figure = Figure(figsize=(9, 4.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(*roc, color=BLUE, label=f"area {area_under_curve(scores, positive):.4f}")
    left.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1)
    at = int((said & positive).sum()), int((said & ~positive).sum())
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
