"""The evaluations of all folds as one: each case was measured once, by a network that never saw it."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DatalistError, UnreadableFileError
from pipelines.evaluation import EvaluationRow, Interval, bootstrap_scores, class_scores, write_evaluation
from pipelines.evaluation.case_tables import CASES, ITEMS, shown
from pipelines.evaluation.class_pictures import draw_confusion
from pipelines.evaluation.classification import binary_scores, confusion
from pipelines.evaluation.kept_masks import pool_masks
from pipelines.evaluation.report import as_entry
from pipelines.files import cell_content, make_folder, table, text, write_file

NOTE = "Cross-validated: each case was measured once, by a network that was trained without it."
_PLAIN = ("case", "patient", "group")
_PREFIX = "test_"
Row = dict[str, str]


@dataclass(frozen=True)
class Answers:
    """What was answered to N slices or pictures of a classification, and the truth.

    Attributes:
        names: of the K classes.
        probabilities: (N, K).
        labels, predicted: (N,), 0..K-1.
        referred: (N,), whether it was left to a person.
        patients: of each.
    """

    names: list[str]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.intp]
    predicted: NDArray[np.intp]
    referred: NDArray[np.bool_]
    patients: list[str]


def pool(evaluations: Mapping[int, Path], folder: Path) -> dict[str, Interval]:
    """Write the evaluation of all cases of the folds, with intervals over all patients; the interval of each metric.

    Of a segmentation these are the files of ``write_evaluation``, and the masks that all folds kept. Of a
    classification, whose scores are no means over cases, the tables of all folds, and the scores of all their slices
    or pictures together.

    Args:
        evaluations: the folders of the folds' evaluations, by number.
        folder: what lies there goes.

    Raises:
        UnreadableFileError: an evaluation is not whole. DatalistError: a case is in two folds, or in none.
        OutputError: a file cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    paths = list(evaluations.values())
    for name in ITEMS:
        if all((path / name).is_file() for path in paths):
            return _pooled_classes(paths, folder, name)
    rows: list[EvaluationRow] = []
    for path in paths:
        for row in _rows(path / CASES):
            metrics = {name: _number(value, path) for name, value in row.items() if name not in _PLAIN}
            pooled: EvaluationRow = {"case": row["case"], "patient": row["patient"], "metrics": metrics}
            if "group" in row:
                pooled["group"] = row["group"]
            rows.append(pooled)
    summary = write_evaluation(rows, folder, notes=[NOTE])
    pool_masks(paths, folder)
    return summary


def fold_estimates(evaluation: Path) -> dict[str, float]:
    """What a fold's own evaluation says of each metric, without intervals.

    Raises:
        UnreadableFileError: its summary is missing or damaged.
    """
    path = evaluation / "summary.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: math.nan if each["estimate"] is None else float(each["estimate"]) for name, each in found.items()}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(path) from error


def folds_table(summary: Mapping[str, Interval], folds: Mapping[int, Mapping[str, float]], of: int) -> str:
    """Markdown: each metric over all cases with its 95 % interval over patients, and in each fold alone.

    Args:
        of: how many folds there are.
    """
    numbers = sorted(folds)
    lines = [
        f"| metric | all cases | 95 % interval | number | {' | '.join(f'fold {k}' for k in numbers)} |",
        f"|---|---:|---:|---:|{'---:|' * len(numbers)}",
    ]
    for name, interval in summary.items():
        bounds = f"{shown(interval.low)} to {shown(interval.high)}" if math.isfinite(interval.low) else "–"
        own = " | ".join(shown(folds[k].get(name, math.nan)) for k in numbers)
        lines.append(f"| {name.removeprefix(_PREFIX)} | {shown(interval.estimate)} | {bounds} | {interval.n} | {own} |")
    if len(numbers) < of:
        lines += ["", f"Folds {', '.join(map(str, numbers))} of {of}: the other cases are not measured yet."]
    return "\n".join(lines) + "\n"


def _pooled_classes(paths: Sequence[Path], folder: Path, name: str) -> dict[str, Interval]:
    items = [row for path in paths for row in _rows(path / name)]
    cases = [row for path in paths for row in _rows(path / CASES)]
    listed = Counter(row["case"] for row in cases)
    if listed and listed.most_common(1)[0][1] > 1:
        raise DatalistError(
            "this case was evaluated twice", where=listed.most_common(1)[0][0], how="prepare the folds again"
        )
    found = _answers(items, paths[0] / name)
    names, probabilities, labels, predicted = found.names, found.probabilities, found.labels, found.predicted
    wanted = [key.removeprefix(_PREFIX) for key in fold_estimates(paths[0])]

    def score(drawn: NDArray[np.intp]) -> dict[str, float]:
        scores = class_scores(probabilities[drawn], labels[drawn], names, predicted[drawn])
        if len(names) == 2:
            scores |= binary_scores(probabilities[drawn, 1], labels[drawn], predicted[drawn])
        right = (predicted == labels)[drawn][~found.referred[drawn]]
        scores["refer_share"] = float(found.referred[drawn].mean())
        scores["accuracy_not_referred"] = float(right.mean()) if len(right) else math.nan
        return {key: scores[key] for key in wanted if key in scores}

    intervals = bootstrap_scores(score, found.patients)
    summary = {f"{_PREFIX}{key}": interval for key, interval in intervals.items()}
    make_folder(folder)
    for rows, file in ((cases, CASES), (items, name)):
        write_file(folder / file, text(table(list(rows[0]), [list(row.values()) for row in rows])))
    entries = {key: as_entry(each, 0 if each.n else len(items)) for key, each in summary.items()}
    write_file(folder / "summary.json", text(json.dumps(entries, indent=2, allow_nan=False) + "\n"))
    counts = confusion(labels, predicted, len(names))
    write_file(folder / "confusion.png", lambda file: draw_confusion(counts, names, file))
    patients, unit = len(set(found.patients)), Path(name).stem
    lines = ["# Evaluation", "", f"Cases: {len(cases)}; {unit}: {len(items)}; patients: {patients}. {NOTE}", ""]
    lines += ["| score | value | 95 % interval |", "|---|---:|---:|"]
    for key, each in summary.items():
        bounds = f"{shown(each.low)} to {shown(each.high)}" if math.isfinite(each.low) else "–"
        lines.append(f"| {key} | {shown(each.estimate)} | {bounds} |")
    lines += ["", f"Scores are of all {unit} together, intervals over patients.", "", "![Confusion](confusion.png)", ""]
    write_file(folder / "summary.md", text("\n".join(lines)))
    return summary


def answers(evaluation: Path) -> Answers | None:
    """What an evaluation's table of slices or pictures says; None where there is none.

    Raises:
        UnreadableFileError: it is damaged.
    """
    path = next((evaluation / name for name in ITEMS if (evaluation / name).is_file()), None)
    return None if path is None else _answers(_rows(path), path)


def _answers(items: Sequence[Row], path: Path) -> Answers:
    names = [column.removeprefix("p_") for column in items[0] if column.startswith("p_")] if items else []
    if len(names) < 2:
        raise _damaged(path)
    try:
        return Answers(
            names,
            np.array([[float(row[f"p_{each}"]) for each in names] for row in items]),
            np.array([names.index(row["label"]) for row in items]),
            np.array([names.index(row["predicted"]) for row in items]),
            np.array([row.get("refer") == "1" for row in items]),
            [row["patient"] for row in items],
        )
    except (KeyError, ValueError) as error:
        raise _damaged(path) from error


def _rows(path: Path) -> list[Row]:
    """The rows of a table, with names as they were before it was written."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            for key in ("case", "patient", "label", "predicted"):
                if key in row:
                    row[key] = cell_content(row[key])
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise _damaged(path) from error
    return rows


def _number(value: str, path: Path) -> float:
    try:
        return float(value) if value else math.nan
    except ValueError as error:
        raise _damaged(path / CASES) from error


def _damaged(path: Path) -> UnreadableFileError:
    return UnreadableFileError(
        "the evaluation of a fold is missing or damaged", where=path, how="delete the fold's folder, and call again"
    )
