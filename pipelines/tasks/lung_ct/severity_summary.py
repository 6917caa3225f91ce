"""All cases of a folder: a table of their severity, and how it compares with the truth where that is known."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

from pipelines.evaluation.case_tables import finite, shown
from pipelines.evaluation.class_pictures import BLUE, draw_confusion
from pipelines.evaluation.classification import confusion, label_scores
from pipelines.evaluation.intervals import Interval, bootstrap_scores
from pipelines.files import make_folder, table, text, write_file
from pipelines.tasks.lung_ct.severity import SeverityScale

logger = logging.getLogger(__name__)

_COLUMNS = ("case", "class", "extent", "extent_low", "extent_high", "borderline", "reason", "true_class", "true_extent")
Pairs = list[tuple[str, dict[str, Any]]]  # patient, and one rated slice or case with extent, class and their truth


def read_severities(folder: Path, scale: SeverityScale) -> dict[str, dict[str, Any]]:
    """The ``severity`` of each ``*_report.json`` in a folder, by case.

    Reports by another scale or other thresholds are left out; so are unreadable ones, which is warned of.
    """
    found = {}
    for path in sorted(folder.rglob("*_report.json")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):  # being written, or left by a kill
            continue
        try:
            severity = json.loads(path.read_text(encoding="utf-8")).get("severity")
        except (OSError, ValueError, AttributeError) as error:
            logger.warning("%s is not in severity.csv: it cannot be read (%s)", path, error)
            continue
        if severity and severity["scale"] == {"names": list(scale.names), "thresholds": list(scale.thresholds)}:
            found[str(relative).removesuffix("_report.json")] = severity
    return found


def write_severity_summary(
    folder: Path, scale: SeverityScale, found: Mapping[str, Mapping[str, Any]], n_resamples: int = 2000
) -> None:
    """Write ``severity.csv`` of all cases, and ``severity_summary.*`` with plots of those with a truth.

    Args:
        folder: made if missing.
        scale: classes.
        found: severity by case, see ``read_severities``.
        n_resamples: bootstrap samples.
    """
    make_folder(folder)
    rows = []
    for case, severity in found.items():
        truth = severity.get("true", {})
        rows.append([case, *(severity[key] for key in _COLUMNS[1:7]), truth.get("class"), truth.get("extent")])
    write_file(folder / "severity.csv", text(table(_COLUMNS, rows)))
    pairs = {
        "slice": [
            (severity["true"]["patient"], each)
            for severity in found.values()
            if "true" in severity
            for each in severity["slices"]
            if each["true_class"] is not None
        ],
        "case": [
            (s["true"]["patient"], {**s, "true_extent": s["true"]["extent"], "true_class": s["true"]["class"]})
            for s in found.values()
            if "true" in s and s["true"]["class"] is not None
        ],
    }
    pairs = {unit: values for unit, values in pairs.items() if values}
    if pairs:
        _write_truth(folder, pairs, scale, n_resamples)
        return
    units = [f"{kind}_{unit}.png" for kind in ("confusion", "extent") for unit in ("slice", "case")]
    for name in ("severity_summary.md", "severity_summary.json", *units):  # of an earlier run with a truth
        (folder / name).unlink(missing_ok=True)


def extent_agreement(predicted: NDArray, true: NDArray, low: NDArray, high: NDArray) -> dict[str, float]:
    """How well extents (0..1) are met: mean absolute error, bias (predicted less true), Pearson's and Spearman's
    correlation (NaN below three pairs or without spread), and the share of true values within their interval."""
    error = predicted - true
    spread = len(true) > 2 and np.ptp(predicted) > 0 and np.ptp(true) > 0
    bounded = np.isfinite(low)
    return {
        "extent_mae": float(np.abs(error).mean()),
        "extent_bias": float(error.mean()),
        "extent_pearson": float(pearsonr(predicted, true).statistic) if spread else float("nan"),
        "extent_spearman": float(spearmanr(predicted, true).statistic) if spread else float("nan"),
        "interval_coverage": float(((low <= true) & (true <= high))[bounded].mean()) if bounded.any() else float("nan"),
    }


def _scores(pairs: Pairs, scale: SeverityScale, n_resamples: int) -> dict[str, Interval]:
    """Scores of all units with a true class; one that was not rated counts as wrong, and has no extent."""
    patients = [patient for patient, _ in pairs]
    labels, predicted = _classes(pairs, scale)
    columns = ("extent", "true_extent", "extent_low", "extent_high")
    values = np.array([[_number(each[key]) for key in columns] for _, each in pairs])

    def score(drawn: NDArray[np.intp]) -> dict[str, float]:
        kept = label_scores(labels[drawn], predicted[drawn], scale.names)
        rated = drawn[~np.isnan(values[drawn, 0])]
        agreement = extent_agreement(*values[rated].T) if len(rated) else extent_agreement(*np.full((4, 1), np.nan))
        return kept | agreement

    return bootstrap_scores(score, patients, n_resamples=n_resamples)


def _classes(pairs: Pairs, scale: SeverityScale) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True and predicted classes; the number after the last class stands for not rated."""
    index = {name: k for k, name in enumerate(scale.names)} | {None: len(scale.names)}
    return (
        np.array([index[each["true_class"]] for _, each in pairs], dtype=np.int64),
        np.array([index[each["class"]] for _, each in pairs], dtype=np.int64),
    )


def _write_truth(folder: Path, pairs: Mapping[str, Pairs], scale: SeverityScale, n_resamples: int) -> None:
    lines = ["# Severity by the predicted mask, against the truth", "", f"{scale}", ""]
    entries: dict[str, dict[str, float | int | None]] = {}
    for unit, values in pairs.items():
        labels, predicted = _classes(values, scale)
        counts = confusion(labels, predicted, len(scale.names) + 1)
        names = [*scale.names, "not rated"]
        size = len(names) if counts[:, -1].any() else len(scale.names)
        counts, names = counts[:size, :size], names[:size]
        scores = _scores(values, scale, n_resamples)
        entries |= {
            f"{unit}_{name}": {"estimate": finite(i.estimate), "low": finite(i.low), "high": finite(i.high), "n": i.n}
            for name, i in scores.items()
        }
        write_file(folder / f"confusion_{unit}.png", partial(draw_confusion, counts, names))
        write_file(folder / f"extent_{unit}.png", partial(draw_extents, values, unit, scale))
        patients = len({patient for patient, _ in values})
        lines += [f"## By {unit}", "", f"{len(values)} {unit}s of {patients} patients.", ""]
        lines += ["| score | value | 95 % interval |", "|---|---:|---:|"]
        for name, i in scores.items():
            bounds = f"{shown(i.low)} to {shown(i.high)}" if np.isfinite(i.low) else "–"
            lines.append(f"| {name} | {shown(i.estimate)} | {bounds} |")
        lines += ["", f"| true | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
        lines += [
            f"| {name} | {' | '.join(map(str, row))} |"
            for name, row in zip(names, counts, strict=True)
            if name != "not rated"
        ]
        lines += ["", f"![confusion](confusion_{unit}.png) ![extents](extent_{unit}.png)", ""]
    lines += [
        "Intervals of the scores: bootstrap over patients. `interval_coverage`: share of the true extents that lie "
        "within the interval stated for them. Units with too little lung in the true mask are left out; those that "
        "only the prediction leaves unrated count as wrong."
    ]
    write_file(folder / "severity_summary.json", text(json.dumps(entries, indent=2, allow_nan=False) + "\n"))
    write_file(folder / "severity_summary.md", text("\n".join(lines) + "\n"))


def draw_extents(pairs: Pairs, unit: str, scale: SeverityScale, file: IO[bytes]) -> None:
    """Write a PNG: the extent by the predicted mask against that by the true mask, with its interval."""
    rated = [each for _, each in pairs if each["extent"] is not None]
    figure = Figure(figsize=(5.2, 5.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    columns = ("true_extent", "extent", "extent_low", "extent_high")
    true, extent, low, high = (
        100 * np.array([[_number(each[key]) for key in columns] for each in rated]).reshape(-1, 4).T
    )
    top = max(float(np.nanmax(np.concatenate([true, extent, high, [30.0]]))) * 1.05, 1.0)
    axes.plot([0, top], [0, top], color="0.5", linewidth=1, linestyle="--")
    for bound in scale.thresholds[1:] if len(scale.thresholds) > 1 else scale.thresholds:
        axes.axvline(100 * bound, color="0.8", linewidth=0.8)
        axes.axhline(100 * bound, color="0.8", linewidth=0.8)
    bounded = np.isfinite(low)
    if bounded.any():
        errors = np.maximum(np.stack([extent - low, high - extent])[:, bounded], 0)
        axes.errorbar(true[bounded], extent[bounded], yerr=errors, fmt="none", ecolor=BLUE, alpha=0.35, elinewidth=1)
    axes.scatter(true, extent, s=16, color=BLUE, zorder=3)
    agreement = extent_agreement(extent / 100, true / 100, low / 100, high / 100)
    axes.set_title(
        f"{len(rated)} {unit}s: mean absolute error {100 * agreement['extent_mae']:.1f} points, "
        f"r = {agreement['extent_pearson']:.2f}",
        fontsize=10,
    )
    axes.set_xlabel("extent by the true mask, %")
    axes.set_ylabel("extent by the predicted mask, %")
    axes.set_xlim(-0.02 * top, top)
    axes.set_ylim(-0.02 * top, top)
    axes.set_aspect("equal")
    figure.savefig(file, format="png")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
