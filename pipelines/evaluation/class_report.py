"""The report of a classification as a handler of MONAI's evaluator."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine
from numpy.typing import NDArray

from pipelines.errors import ConfigError, DatalistError, PipelinesError
from pipelines.evaluation.calibration import calibration_error, tempered
from pipelines.evaluation.case_tables import UNITS, shown
from pipelines.evaluation.class_pictures import SlicePicture, draw_confusion, draw_curves, draw_reliability, draw_slices
from pipelines.evaluation.classification import binary_scores, class_scores, confusion
from pipelines.evaluation.collecting import Report
from pipelines.evaluation.intervals import Interval, bootstrap_scores
from pipelines.evaluation.rated_items import IGNORE_INDEX, Doubt, RatedItem, arrays, rated_items
from pipelines.evaluation.report import as_entry, flatten, with_bounds
from pipelines.evaluation.stored_images import stored_slice
from pipelines.files import make_folder, markdown_cell, table, text, write_file
from pipelines.transforms.temperature import TemperatureScaled

logger = logging.getLogger(__name__)
_OF_GROUPS: tuple[str, ...] = ("sensitivity", "specificity", "auc")  # of two classes


class ClassificationReport(Report[RatedItem]):
    """Collects what each item was rated, and writes the report when the epoch is over.

    Attach to a ``SupervisedEvaluator`` that decollates (its default) and whose postprocessing ends in probabilities.
    Its items are described at ``rated_items``.

    It writes ``cases.csv`` (a row a case), a table with a row an item (``pictures.csv``, ``slices.csv``),
    ``summary.json`` and ``summary.md`` (scores with 95 % intervals over patients), ``confusion.png``,
    ``reliability.png`` and ``worst_cases.png``; of two classes ``curves.png`` (ROC and precision-recall); with groups
    ``groups.json``. After the epoch ``engine.state.metrics`` has ``PREFIX_SCORE``, ``PREFIX_SCORE_ci_low`` and
    ``PREFIX_SCORE_ci_high``.

    The scores are those of ``class_scores``, of two classes also those of ``binary_scores`` for the second, called
    positive. The predicted class follows the checkpoint's operating point, or is the likeliest without one.

    Args:
        output_dir: folder for the files.
        names: of the classes.
        unit: what an item is: "picture", "slice" or "volume".
        refer_below: an item whose predicted class has a lower probability is left to a person ("refer").
        doubt: what else leaves one to a person.
        checkpoint: the weights, whose calibration postprocessing has applied; None where it has not.
        prefix: of the names of the scores.
        rule: how the classes are defined, for the summary.
        group_key: of the cases' subgroup, where scores are wanted by group too; None for none. Cases of the group
            "unknown" are in none.
        ignore_index: the label of what has no class.
        window: the least and the greatest value that is drawn of an image that is no picture; None for its darkest and
            brightest percent.
        n_worst: how many items are drawn; 0 for none.
        n_resamples: bootstrap samples of the intervals.

    Raises:
        ConfigError: there is no such unit; while running, where an item lacks a key or shapes do not go together.
        DatalistError: while running, where nothing was rated.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        names: Sequence[str],
        unit: str = "picture",
        refer_below: float = 0.6,
        doubt: Doubt | None = None,
        checkpoint: str | None = None,
        prefix: str = "test",
        rule: str = "",
        group_key: str | None = None,
        ignore_index: int = IGNORE_INDEX,
        window: tuple[float, float] | None = None,
        n_worst: int = 6,
        n_resamples: int = 2000,
    ) -> None:
        super().__init__(output_dir, prefix, n_resamples)
        if unit not in UNITS:
            raise ConfigError(f"there is no unit {unit!r}", where=self.name, how=f"choose one of {', '.join(UNITS)}")
        self.names = [str(name) for name in names]
        self.unit = unit
        self.refer_below = refer_below
        self.doubt = doubt
        self.calibration = TemperatureScaled("pred", checkpoint)
        self.rule = rule
        self.group_key = group_key
        self.ignore_index = ignore_index
        self.window = window
        self.n_worst = n_worst

    def collect(self, item: Mapping[str, Any]) -> list[RatedItem]:
        self.required(item, "pred", "label", "case", "patient", "image")
        return rated_items(item, self.names, ignore_index=self.ignore_index, doubt=self.doubt, group_key=self.group_key)

    def finish(self, engine: Engine, collected: Sequence[RatedItem]) -> None:
        if not collected:
            raise DatalistError(f"there is no {self.unit} to be rated", how="give a datalist whose split has some")
        summary = self._summary(collected)
        if idist.get_rank() == 0:
            self._write(collected, summary)
            logger.info("evaluated %d %ss, report in %s", len(collected), self.unit, self.output_dir)
        engine.state.metrics.update(flatten(summary))

    def predicted(self, items: Sequence[RatedItem]) -> NDArray[np.int64]:
        """The predicted class of each."""
        return self.calibration.predict(arrays(items)[0], self.names)

    def scores(self, probabilities: NDArray, labels: NDArray, predicted: NDArray) -> dict[str, float]:
        """The scores of some items."""
        scores = class_scores(probabilities, labels, self.names, predicted)
        return scores if len(self.names) != 2 else scores | binary_scores(probabilities[:, 1], labels, predicted)

    def referred(self, items: Sequence[RatedItem]) -> NDArray[np.bool_]:
        """Whether each is left to a person."""
        certain = arrays(items)[0][np.arange(len(items)), self.predicted(items)] >= self.refer_below
        return ~certain | np.array([each.doubtful for each in items])

    def _summary(self, items: Sequence[RatedItem]) -> dict[str, Interval]:
        probabilities, labels = arrays(items)
        before = tempered(probabilities, 1 / self.calibration.temperature)
        sure, predicted = ~self.referred(items), self.predicted(items)
        right = predicted == labels

        def score(drawn: NDArray[np.intp]) -> dict[str, float]:
            kept = drawn[sure[drawn]]
            return self.scores(probabilities[drawn], labels[drawn], predicted[drawn]) | {
                "ece_before": calibration_error(before[drawn], labels[drawn]),
                "refer_share": float(1 - len(kept) / len(drawn)),
                "accuracy_not_referred": float(right[kept].mean()) if len(kept) else float("nan"),
            }

        intervals = bootstrap_scores(score, [each.patient for each in items], n_resamples=self.n_resamples)
        return {f"{self.prefix}_{name}": interval for name, interval in intervals.items()}

    def _write(self, items: Sequence[RatedItem], summary: Mapping[str, Interval]) -> None:
        folder = self.output_dir
        make_folder(folder)
        probabilities, labels = arrays(items)
        predicted, temperature = self.predicted(items), self.calibration.temperature
        counts = confusion(labels, predicted, len(self.names))
        entries = {name: as_entry(each, 0 if each.n else len(items)) for name, each in summary.items()}
        write_file(folder / f"{self.unit}s.csv", text(self.item_table(items)))
        write_file(folder / "cases.csv", text(self.case_table(items)))
        write_file(folder / "summary.json", text(json.dumps(entries, indent=2, allow_nan=False) + "\n"))
        write_file(folder / "confusion.png", lambda file: draw_confusion(counts, self.names, file))
        before = tempered(probabilities, 1 / temperature)
        write_file(
            folder / "reliability.png", lambda file: draw_reliability(before, probabilities, labels, temperature, file)
        )
        if len(self.names) == 2:
            write_file(
                folder / "curves.png",
                lambda file: draw_curves(probabilities[:, 1], labels == 1, predicted == 1, self.names[1], file),
            )
        worst = _worst(items, predicted)[: self.n_worst]
        pictures = [SlicePicture(self._title(each, found), self._image(each)) for each, found in worst]
        if pictures:
            write_file(folder / "worst_cases.png", lambda file: draw_slices(pictures, file))
        else:
            (folder / "worst_cases.png").unlink(missing_ok=True)
        markdown = self._markdown(items, summary, counts, [each for each, _ in worst]) + self.groups(items)
        write_file(folder / "summary.md", text(markdown))

    def item_table(self, items: Sequence[RatedItem]) -> str:
        """A row an item, as CSV."""
        numbered = self.unit == "slice"
        head = ["case", "patient", *(["slice"] if numbered else []), "label", "predicted", "refer"]
        found = zip(items, self.predicted(items), self.referred(items), strict=True)
        return table(
            [*head, *(f"p_{name}" for name in self.names)],
            (
                (
                    *(each.case, each.patient, *([each.number or 0] if numbered else [])),
                    *(self.names[each.label], self.names[predicted], int(refer), *each.probabilities),
                )
                for each, predicted, refer in found
            ),
        )

    def case_table(self, items: Sequence[RatedItem]) -> str:
        """A row a case, as CSV."""
        by_case: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for each, predicted in zip(items, self.predicted(items), strict=True):
            by_case.setdefault((each.case, each.patient), []).append((each.label, int(predicted)))
        head = ["case", "patient", f"{self.unit}s", "accuracy"]
        head += [f"{kind}_{name}" for kind in ("true", "predicted") for name in self.names]
        rows = []
        for (case, patient), own in by_case.items():
            accuracy = float(np.mean([label == predicted for label, predicted in own]))
            numbers = [found.count(k) for found in zip(*own, strict=True) for k in range(len(self.names))]
            rows.append((case, patient, len(own), accuracy, *numbers))
        return table(head, rows)

    def _name(self, each: RatedItem) -> str:
        return f"{each.case}, slice {each.number or 0}" if self.unit == "slice" else each.case

    def _title(self, each: RatedItem, predicted: int) -> str:
        found = f"{self.names[predicted]} {each.probabilities[predicted]:.2f}"
        return f"{self._name(each)}\n{self.names[each.label]}, predicted {found}"

    def _image(self, each: RatedItem) -> NDArray[np.uint8] | None:
        try:
            return stored_slice(each.path, each.number or 0, self.window)
        except (PipelinesError, OSError, IndexError) as error:  # the numbers are right without the picture
            logger.warning("%s: no picture (%s)", self._name(each), error)
            return None

    def groups(self, items: Sequence[RatedItem]) -> str:
        """Writes ``groups.json``, the scores of each subgroup, and gives a table of them for the end of the summary."""
        names = sorted({each.group for each in items} - {""})
        path = self.output_dir / "groups.json"
        if not names:
            path.unlink(missing_ok=True)
            return ""
        members = {name: [each for each in items if each.group == name] for name in names}
        found = {name: self._of_group(own) for name, own in members.items()}
        entries = {
            name: {f"{self.prefix}_{score}": as_entry(each, 0) for score, each in scores.items()}
            for name, scores in found.items()
        }
        write_file(path, text(json.dumps(entries, indent=2, allow_nan=False) + "\n"))
        lines = ["", "## By group", ""]
        lines += [f"| group | {self.unit}s | score | value | 95 % interval |", "|---|---:|---|---:|---:|"]
        lines += [
            f"| {markdown_cell(name)} | {len(members[name])} | {score} | {shown(each.estimate)} "
            f"| {shown(each.low)} to {shown(each.high)} |"
            for name, scores in found.items()
            for score, each in scores.items()
        ]
        return "\n".join(lines) + "\n"

    def _of_group(self, items: Sequence[RatedItem]) -> dict[str, Interval]:
        """What can be said of a group: of one that is all of one class, only how many of it were found."""
        probabilities, labels = arrays(items)
        predicted = self.predicted(items)

        def score(drawn: NDArray[np.intp]) -> dict[str, float]:
            return self.scores(probabilities[drawn], labels[drawn], predicted[drawn])

        wanted = _OF_GROUPS
        if len(self.names) > 2:
            wanted = ("accuracy", *(f"{name}_sensitivity" for name in self.names), "auc")
        kept = [name for name in wanted if np.isfinite(score(np.arange(len(items))).get(name, np.nan))]
        intervals = bootstrap_scores(score, [each.patient for each in items], n_resamples=self.n_resamples)
        return {name: intervals[name] for name in kept}

    def _markdown(
        self, items: Sequence[RatedItem], summary: Mapping[str, Interval], counts: NDArray, worst: Sequence[RatedItem]
    ) -> str:
        patients, cases = len({each.patient for each in items}), len({each.case for each in items})
        lines = ["# Evaluation", ""]
        lines += [f"{self.unit.capitalize()}s: {len(items)}; cases: {cases}; patients: {patients}. {self.rule}", ""]
        lines += ["| score | value | 95 % interval |", "|---|---:|---:|"]
        lines += [f"| {name} | {shown(each.estimate)} | {with_bounds(each)} |" for name, each in summary.items()]
        lines += ["", self._rules, "", "## Confusion", "", f"| true | {' | '.join(self.names)} |"]
        lines.append(f"|---|{'---:|' * len(self.names)}")
        lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in zip(self.names, counts, strict=True)]
        lines += ["", "![Confusion](confusion.png)", "", "## Calibration", ""]
        lines += [f"Temperature {self.calibration.temperature:.3f} (fitted on validation; 1: none). {self._refer_rule}"]
        lines += ["", "![Reliability](reliability.png)", ""]
        if worst:
            lines += ["## Most wrong, then least sure", "", f"![{self.unit.capitalize()}s](worst_cases.png)", ""]
            lines += [f"- {markdown_cell(self._name(each))}" for each in worst]
        return "\n".join(lines) + "\n"

    @property
    def _rules(self) -> str:
        return (
            f"The unit is the {self.unit}, intervals are over patients. A class without a true {self.unit} has no "
            "sensitivity, one that fills the set no specificity, either no AUC; the means over classes (balanced "
            f"accuracy, F1, AUC) leave them out. {self.unit.capitalize()}s without a class are not counted."
        )

    @property
    def _refer_rule(self) -> str:
        point = None if self.calibration.calibration is None else self.calibration.calibration.operating_point
        doubt = "" if self.doubt is None else f", or {self.doubt.reason},"
        rule = (
            f"A {self.unit} with less than {self.refer_below:g} for its predicted class{doubt} is referred to a person."
        )
        if point is None:
            return rule
        return (
            f"{point.positive.capitalize()} is predicted from a probability of {point.threshold:.4f} ({point.rule}; "
            f"wanted {point.wanted_sensitivity:g}; on validation sensitivity {point.sensitivity:.3f}, specificity "
            f"{point.specificity:.3f}). {rule}"
        )


def _worst(items: Sequence[RatedItem], predicted: NDArray) -> list[tuple[RatedItem, int]]:
    """Wrong ones, the surest first, then right ones, the least sure first; each with its predicted class."""
    pairs = [(each, int(found)) for each, found in zip(items, predicted, strict=True)]
    wrong = sorted((pair for pair in pairs if pair[1] != pair[0].label), key=lambda pair: -pair[0].confidence)
    return wrong + sorted((pair for pair in pairs if pair[1] == pair[0].label), key=lambda pair: pair[0].confidence)
