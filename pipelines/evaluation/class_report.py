"""The report of a classification as a handler of MONAI's evaluator."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray

from pipelines.errors import ConfigError, DatalistError, PipelinesError
from pipelines.evaluation.calibration import calibration_error, tempered
from pipelines.evaluation.case_tables import shown
from pipelines.evaluation.class_pictures import SlicePicture, draw_confusion, draw_reliability, draw_slices
from pipelines.evaluation.classification import class_scores, confusion
from pipelines.evaluation.intervals import Interval, bootstrap_scores
from pipelines.evaluation.report import as_entry, flatten
from pipelines.files import make_folder, markdown_cell, table, text, write_file
from pipelines.readers import read_case
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.lungs import aerated_share
from pipelines.tasks.lung_ct.severity import LUNG_FLOOR_SHARE, UNRATED
from pipelines.transforms.temperature import TemperatureScaled

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RatedSlice:
    """One slice of an evaluation; `slice` counts from the feet, `path` is the image it is of, `aerated` the part of the
    slice that is aerated lung, `group` the subgroup it is of ("": none). A picture that is rated as a whole is one
    slice of its case."""

    case: str
    patient: str
    slice: int
    label: int
    probabilities: tuple[float, ...]
    path: str
    aerated: float = 1.0
    group: str = ""

    @property
    def confidence(self) -> float:
        return max(self.probabilities)


class ClassificationReport:
    """Collects the slices of each case and writes the report when the epoch is over.

    Attach to a ``SupervisedEvaluator`` that decollates (its default) and whose postprocessing ends in probabilities.
    Each item of ``engine.state.output``, with that of ``engine.state.batch``, has ``pred``, (classes, Z) or (classes,)
    probabilities; ``label``, (Z,) classes, ``UNRATED`` for none; ``case``, ``patient``, and ``image`` with its file's
    name in its meta.

    It writes ``cases.csv`` (a row a case), ``slices.csv`` (a row a slice), ``summary.json`` and ``summary.md`` (scores
    with 95 % intervals over patients), ``confusion.png``, ``reliability.png`` and ``worst_cases.png``. After the epoch
    ``engine.state.metrics`` has ``PREFIX_SCORE``, ``PREFIX_SCORE_ci_low`` and ``PREFIX_SCORE_ci_high``.

    Args:
        output_dir: folder for the files.
        names: of the classes.
        refer_below: a slice whose highest probability is below this is left to a person ("refer"), and so is one with
            too little aerated lung, as ``SliceClassWriter`` does.
        checkpoint: the weights, whose calibration postprocessing has applied; None where it has not.
        prefix: of the names of the scores.
        rule: how the classes are defined, for the summary.
        n_worst: how many slices are drawn; 0 for none.
        n_resamples: bootstrap samples of the intervals.

    Raises:
        ConfigError: while running, where an item lacks a key or shapes do not go together.
        DatalistError: while running, where no slice was rated.
    """

    unit = "slice"
    rules = (
        "A class without a true slice has no sensitivity, one that fills the set no specificity, either no AUC; the "
        "means over classes (balanced accuracy, F1, AUC) leave them out. The unit is the slice, intervals are over "
        "patients. Slices with too little lung have no class and are not counted."
    )

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        names: Sequence[str],
        refer_below: float = 0.6,
        checkpoint: str | None = None,
        prefix: str = "test",
        rule: str = "",
        n_worst: int = 6,
        n_resamples: int = 2000,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.names = [str(name) for name in names]
        self.refer_below = refer_below
        self.calibration = TemperatureScaled("pred", checkpoint)
        self.prefix = prefix
        self.rule = rule
        self.n_worst = n_worst
        self.n_resamples = n_resamples
        self._slices: list[RatedSlice] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self._slices = []

    def _collect(self, engine: Engine) -> None:
        batch, outputs = engine.state.batch, engine.state.output
        if not isinstance(outputs, list) or not isinstance(batch, list):
            raise ConfigError(
                "the evaluator's output is not a list of cases", where="ClassificationReport", how="leave decollate on"
            )
        for given, output in zip(batch, outputs, strict=True):
            self._slices += self.rated({**given, **output})

    def _finish(self, engine: Engine) -> None:
        slices = _gathered(self._slices)
        if not slices:
            raise DatalistError(f"there is no {self.unit} to be rated", how="give a datalist whose split has some")
        self.finish(engine, slices)
        self._slices = []

    def finish(self, engine: Engine, slices: Sequence[RatedSlice]) -> None:
        """What is made of the slices of all processes: here the report's files and scores."""
        summary = self._summary(slices)
        if idist.get_rank() == 0:
            self._write(slices, summary)
            logger.info("evaluated %d %ss, report in %s", len(slices), self.unit, self.output_dir)
        engine.state.metrics.update(flatten(summary))

    def _summary(self, slices: Sequence[RatedSlice]) -> dict[str, Interval]:
        probabilities, labels = arrays(slices)
        before = tempered(probabilities, 1 / self.calibration.temperature)
        sure = np.array([not self.refers(each) for each in slices])
        predicted = self.predicted(slices)
        right = predicted == labels

        def score(drawn: NDArray[np.intp]) -> dict[str, float]:
            kept = drawn[sure[drawn]]
            return self.scores(probabilities[drawn], labels[drawn], predicted[drawn]) | {
                "ece_before": calibration_error(before[drawn], labels[drawn]),
                "refer_share": float(1 - len(kept) / len(drawn)),
                "accuracy_not_referred": float(right[kept].mean()) if len(kept) else float("nan"),
            }

        intervals = bootstrap_scores(score, [each.patient for each in slices], n_resamples=self.n_resamples)
        return {f"{self.prefix}_{name}": interval for name, interval in intervals.items()}

    def rated(self, item: Mapping[str, Any]) -> list[RatedSlice]:
        """What is rated of one decollated item."""
        return rated_slices(item, len(self.names))

    def predicted(self, slices: Sequence[RatedSlice]) -> NDArray:
        """The class that is said of each."""
        return self.calibration.predict(arrays(slices)[0], self.names)

    def scores(self, probabilities: NDArray, labels: NDArray, predicted: NDArray) -> dict[str, float]:
        """The scores of some of them."""
        return class_scores(probabilities, labels, self.names, predicted)

    def refers(self, each: RatedSlice) -> bool:
        """Whether one is left to a person."""
        return each.confidence < self.refer_below or each.aerated < LUNG_FLOOR_SHARE

    def _write(self, slices: Sequence[RatedSlice], summary: Mapping[str, Interval]) -> None:
        folder = self.output_dir
        make_folder(folder)
        probabilities, labels = arrays(slices)
        temperature = self.calibration.temperature
        counts = confusion(labels, self.predicted(slices), len(self.names))
        entries = {name: as_entry(each, 0 if each.n else len(slices)) for name, each in summary.items()}
        write_file(folder / f"{self.unit}s.csv", text(self._slice_table(slices)))
        write_file(folder / "cases.csv", text(self._case_table(slices)))
        write_file(folder / "summary.json", text(json.dumps(entries, indent=2, allow_nan=False) + "\n"))
        write_file(folder / "confusion.png", lambda file: draw_confusion(counts, self.names, file))
        before = tempered(probabilities, 1 / temperature)
        write_file(
            folder / "reliability.png", lambda file: draw_reliability(before, probabilities, labels, temperature, file)
        )
        worst = _worst(slices, self.predicted(slices))[: self.n_worst]
        pictures = [SlicePicture(self._title(each, said), self.image(each)) for each, said in worst]
        self.draw(probabilities, labels)
        if pictures:
            write_file(folder / "worst_cases.png", lambda file: draw_slices(pictures, file))
        else:
            (folder / "worst_cases.png").unlink(missing_ok=True)
        markdown = self._markdown(slices, summary, counts, [each for each, _ in worst]) + self.groups(slices)
        write_file(folder / "summary.md", text(markdown))

    def _slice_table(self, slices: Sequence[RatedSlice]) -> str:
        head = ["case", "patient", "slice", "label", "predicted", "refer", *(f"p_{name}" for name in self.names)]
        return table(
            head,
            (
                (
                    *(each.case, each.patient, each.slice, self.names[each.label], self.names[said]),
                    int(self.refers(each)),
                    *each.probabilities,
                )
                for each, said in zip(slices, self.predicted(slices), strict=True)
            ),
        )

    def _case_table(self, slices: Sequence[RatedSlice]) -> str:
        by_case: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for each, said in zip(slices, self.predicted(slices), strict=True):
            by_case.setdefault((each.case, each.patient), []).append((each.label, int(said)))
        head = ["case", "patient", "slices", "accuracy"]
        head += [f"{kind}_{name}" for kind in ("true", "predicted") for name in self.names]
        rows = []
        for (case, patient), own in by_case.items():
            labels, predicted = ([pair[k] for pair in own] for k in (0, 1))
            accuracy = float(np.mean([a == b for a, b in zip(labels, predicted, strict=True)]))
            numbers = [found.count(k) for found in (labels, predicted) for k in range(len(self.names))]
            rows.append((case, patient, len(own), accuracy, *numbers))
        return table(head, rows)

    def _title(self, each: RatedSlice, said: int) -> str:
        return f"{self.name_of(each)}\n{self.names[each.label]}, said {self.names[said]} {each.probabilities[said]:.2f}"

    def name_of(self, each: RatedSlice) -> str:
        """How one is called."""
        return f"{each.case}, slice {each.slice}"

    def draw(self, probabilities: NDArray, labels: NDArray) -> None:
        """Further plots, of a subclass."""

    def groups(self, slices: Sequence[RatedSlice]) -> str:
        """Writes what a subclass has to say of subgroups, and gives it for the end of the summary."""
        return ""

    def image(self, each: RatedSlice) -> NDArray[np.uint8] | None:
        """What is drawn of one, rows and columns; None where it cannot be had."""
        try:
            case = read_case(each.path)
            plane = scale_ct(case.axial(case.array)[:, :, each.slice], case.intensity)
            return (plane * 255).astype(np.uint8).T
        except (PipelinesError, OSError, IndexError) as error:  # the numbers are right without the picture
            logger.warning("%s: no picture of slice %d (%s)", each.case, each.slice, error)
            return None

    def _markdown(
        self,
        slices: Sequence[RatedSlice],
        summary: Mapping[str, Interval],
        counts: NDArray,
        worst: Sequence[RatedSlice],
    ) -> str:
        patients, cases = len({each.patient for each in slices}), len({each.case for each in slices})
        lines = [
            "# Evaluation",
            "",
            f"{self.unit.capitalize()}s: {len(slices)}; cases: {cases}; patients: {patients}. {self.rule}",
            "",
            *("| score | value | 95 % interval |", "|---|---:|---:|"),
        ]
        for name, interval in summary.items():
            bounds = f"{shown(interval.low)} to {shown(interval.high)}" if np.isfinite(interval.low) else "–"
            lines.append(f"| {name} | {shown(interval.estimate)} | {bounds} |")
        lines += ["", self.rules, "", "## Confusion", "", f"| true | {' | '.join(self.names)} |"]
        lines.append(f"|---|{'---:|' * len(self.names)}")
        lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in zip(self.names, counts, strict=True)]
        lines += ["", "![Confusion](confusion.png)", "", "## Calibration", ""]
        lines += [
            f"Temperature {self.calibration.temperature:.3f} (fitted on validation; 1: none). {self.refer_rule}",
            *("", "![Reliability](reliability.png)", ""),
        ]
        if worst:
            lines += ["## Most wrong, then least sure", "", "![Slices](worst_cases.png)", ""]
            lines += [f"- {markdown_cell(self.name_of(each))}" for each in worst]
        return "\n".join(lines) + "\n"

    @property
    def refer_rule(self) -> str:
        """When one is left to a person, for the summary."""
        return (
            f"A slice with less than {self.refer_below:g} for its class, or too little aerated lung, is referred to a "
            "person."
        )


def rated_slices(item: Mapping[str, Any], classes: int) -> list[RatedSlice]:
    """The rated slices of one decollated item, see ``ClassificationReport``.

    Raises:
        ConfigError: a key is missing, or shapes do not go together.
    """
    missing = [key for key in ("pred", "label", "case", "patient", "image") if key not in item]
    if missing:
        raise ConfigError(f"the evaluator's items have no {missing[0]!r}", where="ClassificationReport")
    probabilities = torch.as_tensor(item["pred"]).detach().cpu().double().numpy().reshape(classes, -1).T
    labels = torch.as_tensor(item["label"]).cpu().numpy().reshape(-1)
    if len(labels) != len(probabilities):
        raise ConfigError(
            f"{len(probabilities)} slices are predicted and {len(labels)} have a class", where=str(item["case"])
        )
    path = str(item["image"].meta["filename_or_obj"])
    case = read_case(path)  # as it is served: the whole slice, not the frame that the network sees
    aerated = aerated_share(scale_ct(case.axial(case.array), case.intensity))
    names = str(item["case"]), str(item["patient"])
    return [
        RatedSlice(*names, z, int(labels[z]), tuple(map(float, row)), path, float(aerated[z]))
        for z, row in enumerate(probabilities)
        if labels[z] != UNRATED
    ]


def arrays(slices: Sequence[RatedSlice]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return np.array([each.probabilities for each in slices]), np.array([each.label for each in slices], dtype=np.int64)


def _worst(slices: Sequence[RatedSlice], predicted: NDArray) -> list[tuple[RatedSlice, int]]:
    """Wrong ones, the surest first, then right ones, the least sure first; each with what was said of it."""
    pairs = [(each, int(said)) for each, said in zip(slices, predicted, strict=True)]
    wrong = sorted((pair for pair in pairs if pair[1] != pair[0].label), key=lambda pair: -pair[0].confidence)
    return wrong + sorted((pair for pair in pairs if pair[1] == pair[0].label), key=lambda pair: pair[0].confidence)


def _gathered(slices: list[RatedSlice]) -> list[RatedSlice]:
    """Slices of all processes, each once; in one process, these."""
    parts = cast(list, idist.all_gather(slices))
    if len(parts) == 1:
        return slices
    found = {(each.case, each.slice): each for part in parts for each in part}
    return [found[key] for key in sorted(found)]
