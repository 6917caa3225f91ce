"""The files of one evaluation: values a case, means with intervals, and the same to read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from pipelines.errors import DatalistError
from pipelines.evaluation import metric_names
from pipelines.evaluation.case_tables import finite, shown
from pipelines.evaluation.intervals import Interval, bootstrap_interval
from pipelines.evaluation.pictures import CasePicture, draw_cases
from pipelines.files import make_folder, markdown_cell, table, text, write_file

_RULES = (
    "A class that neither label nor prediction has in a case gives no Dice, IoU or NSD there, one that only one "
    "of them has gives 0; HD95 needs both. Undefined values are left out of the means and counted in the last column. "
    "Background is in no value but the one named so."
)


class EvaluationRow(TypedDict):
    """One case: its name, its patient, its metrics (``case_metrics``; NaN where undefined), and the group it belongs to
    (a diagnosis) where results are wanted by group."""

    case: str
    patient: str
    metrics: Mapping[str, float]
    group: NotRequired[str]


def write_evaluation(
    rows: Sequence[EvaluationRow],
    out_dir: str | os.PathLike[str],
    prefix: str = "test",
    *,
    pictures: Sequence[CasePicture] = (),
    notes: Sequence[str] = (),
    key_class: str = "",
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Write ``cases.csv``, ``summary.json``, ``summary.md``; ``groups.json`` where rows have groups, and
    ``worst_cases.png`` where there are pictures.

    Each file is replaced in one step; what an earlier evaluation left under these names goes.

    - ``cases.csv``: case, patient, and a column a metric, without prefix; an empty cell is an undefined value. Names
      that a spreadsheet would take for a formula start with an apostrophe.
    - ``groups.json``: the same as ``summary.json`` for each group, where rows have one.
    - ``summary.json``: ``{PREFIX_METRIC: {estimate, low, high, n, n_undefined}}``: mean over cases, its 95 % bootstrap
      interval over patients, cases in it, cases left out. null where undefined.

    Args:
        rows: one a case; names are unique.
        out_dir: made if it is not there.
        prefix: what metric names start with in the summary (``test_tumour_dice``).
        pictures: cases to draw, in this order.
        notes: sentences for the summary, such as the NSD tolerance.
        key_class: whose Dice the pictures are chosen by.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        Interval of each prefixed metric.

    Raises:
        DatalistError: there are no rows, or a case is there twice.
        OutputError: a file cannot be written.
    """
    if not rows:
        raise DatalistError("no case was evaluated", how="give a datalist whose split has cases")
    seen: set[str] = set()
    for row in rows:
        if row["case"] in seen:
            raise DatalistError("this case was evaluated twice", where=row["case"], how="give each case its own name")
        seen.add(row["case"])

    folder = Path(out_dir)
    summary, undefined = summarise(rows, prefix, n_resamples=n_resamples, seed=seed)
    as_json = {name: as_entry(interval, undefined[name]) for name, interval in summary.items()}
    make_folder(folder)
    names = _metric_names(rows)
    cells = [[r["case"], r["patient"], *(float(r["metrics"].get(n, math.nan)) for n in names)] for r in rows]
    head = ["case", "patient"]
    grouped = {
        group: [r for r in rows if r.get("group") == group] for group in sorted({r.get("group", "") for r in rows})
    }
    by_group: dict[str, dict[str, Interval]] = {}
    if set(grouped) != {""}:
        head.append("group")
        cells = [[*each[:2], row.get("group", ""), *each[2:]] for each, row in zip(cells, rows, strict=True)]
        parts = {g: summarise(part, prefix, n_resamples=n_resamples, seed=seed) for g, part in grouped.items()}
        by_group = {group: found for group, (found, _) in parts.items()}
        entries = {g: {n: as_entry(i, left[n]) for n, i in found.items()} for g, (found, left) in parts.items()}
        write_file(folder / "groups.json", text(json.dumps(entries, indent=2, allow_nan=False) + "\n"))
    else:
        (folder / "groups.json").unlink(missing_ok=True)
    write_file(folder / "cases.csv", text(table([*head, *names], cells)))
    write_file(folder / "summary.json", text(json.dumps(as_json, indent=2, allow_nan=False) + "\n"))
    write_file(
        folder / "summary.md", text(_summary_markdown(rows, summary, undefined, pictures, notes, by_group, key_class))
    )
    picture_path = folder / "worst_cases.png"
    if pictures:
        write_file(picture_path, lambda file: draw_cases(pictures, file, key_class))
    else:
        picture_path.unlink(missing_ok=True)
    return summary


def summarise(
    rows: Sequence[EvaluationRow], prefix: str = "test", *, n_resamples: int = 2000, seed: int = 0
) -> tuple[dict[str, Interval], dict[str, int]]:
    """Mean and interval of each metric, and in how many of the cases that have it it was undefined; names prefixed."""
    summary: dict[str, Interval] = {}
    undefined: dict[str, int] = {}
    for metric in _metric_names(rows):
        having = [row for row in rows if metric in row["metrics"]]
        values = [float(row["metrics"][metric]) for row in having]
        name = f"{prefix}_{metric}"
        patients = [row["patient"] for row in having]
        limits = metric_names.bounds(metric)
        summary[name] = bootstrap_interval(values, patients, n_resamples=n_resamples, seed=seed, bounds=limits)
        undefined[name] = sum(map(math.isnan, values))
    return summary, undefined


def as_entry(interval: Interval, undefined: int) -> dict[str, float | int | None]:
    """One metric's entry in ``summary.json``."""
    return {
        "estimate": finite(interval.estimate),
        "low": finite(interval.low),
        "high": finite(interval.high),
        "n": interval.n,
        "n_undefined": undefined,
    }


def flatten(summary: Mapping[str, Interval]) -> dict[str, float]:
    """The summary as a tracker takes it: ``NAME``, ``NAME_ci_low``, ``NAME_ci_high``, and ``NAME_n``, how many cases
    the mean is over."""
    flat: dict[str, float] = {}
    for name, interval in summary.items():
        flat |= {name: interval.estimate, f"{name}_ci_low": interval.low, f"{name}_ci_high": interval.high}
        flat[f"{name}_n"] = float(interval.n)
    return flat


def _metric_names(rows: Sequence[EvaluationRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row["metrics"]))


def _summary_markdown(
    rows: Sequence[EvaluationRow],
    summary: Mapping[str, Interval],
    undefined: Mapping[str, int],
    pictures: Sequence[CasePicture],
    notes: Sequence[str],
    by_group: Mapping[str, Mapping[str, Interval]],
    key_class: str,
) -> str:
    patients = len({row["patient"] for row in rows})
    lines = [
        "# Evaluation",
        "",
        f"Cases: {len(rows)}; patients: {patients}. Each value is the mean over cases on their original grid, with its "
        "95 % bootstrap interval over patients.",
        "",
        "| metric | mean | 95 % interval | cases | undefined |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, interval in summary.items():
        bounds = with_bounds(interval)
        lines.append(f"| {name} | {shown(interval.estimate)} | {bounds} | {interval.n} | {undefined[name]} |")
    lines += ["", _RULES, *(line for note in notes for line in ("", note))]
    if by_group:
        lines += ["", "## By group", ""]
        lines += [
            f"| metric | {' | '.join(markdown_cell(group) for group in by_group)} |",
            "|---|" + "---:|" * len(by_group),
        ]
        for name in summary:
            cells = [_in_a_cell(found[name]) if name in found else "–" for found in by_group.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        counts = ", ".join(f"{markdown_cell(g)} {sum(r.get('group') == g for r in rows)}" for g in by_group)
        lines += ["", f"Cases: {counts}."]
    if pictures:
        dice = f"Dice of {markdown_cell(key_class)}" if key_class else "Dice"
        lines += ["", "## Worst cases", "", "![Worst cases](worst_cases.png)", "", f"| case | {dice} |", "|---|---:|"]
        lines += [f"| {markdown_cell(picture.case)} | {shown(picture.dice)} |" for picture in pictures]
    return "\n".join(lines) + "\n"


def with_bounds(interval: Interval) -> str:
    """The bounds of an interval to read, a dash where there are none."""
    return f"{shown(interval.low)} to {shown(interval.high)}" if math.isfinite(interval.low) else "–"


def _in_a_cell(interval: Interval) -> str:
    bounds = f" ({with_bounds(interval)})" if math.isfinite(interval.low) else ""
    return f"{shown(interval.estimate)}{bounds}"
