"""The comparison as files: Markdown, CSV and one HTML page that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pipelines.comparison.ranking import Row, Scope, shown_metrics
from pipelines.comparison.runs import Run
from pipelines.comparison.sections import Plot, Section
from pipelines.comparison.tables import Table, cost_table, matrix, origin_table, pair_table, quality_table
from pipelines.files import make_folder, markdown_cell, table, text, write_file

ROWS_SHOWN = 50  # of a ranking, in the page's tables
PAIRS_SHOWN = 66  # 12 rows, each against each
LEFT_OUT_SHOWN = 50
APART = (
    "Runs stand in one ranking only if what they were measured on is the same: task, data (by fingerprint), split, "
    "test cases and how these were labelled. A score belongs "
    "to a network and to the cases that it was measured on: 0.90 on one test set and 0.85 on another say nothing of "
    "which network is better."
)
DIFFERING = "Beside the network, this differs between the rows or is not known, and may be the reason:"
PHANTOM = (
    "These data are phantoms, drawings made by this project. Figures measured on them show that the commands work, and "
    "nothing of how good a network is."
)


@dataclass(frozen=True)
class Comparison:
    """All that the files say.

    Attributes:
        store: its URI, without passwords.
        n_runs: runs that were read.
        left_out: runs in no ranking, each with its reason.
        asked: metrics the user asked for.
        machine: where costs were measured, for the tables' captions.
    """

    store: str
    n_runs: int
    sections: Sequence[Section]
    left_out: Sequence[tuple[Run, str]]
    asked: Sequence[str]
    machine: str
    made: datetime


@dataclass(frozen=True)
class _Part:
    """A section as the templates want it."""

    number: int
    title: str
    phantom: bool
    facts: tuple[tuple[str, str], ...]
    verdict: Sequence[str]
    differing: Sequence[str]
    notes: Sequence[str]
    tables: Sequence[Table]
    contests: Sequence[tuple[Table, Table, Sequence[str]]]
    plots: Sequence[Plot]


def write_comparison(comparison: Comparison, out: Path) -> list[Path]:
    """Write ``comparison.md``, ``comparison.csv`` and ``comparison.html``, each in one step.

    Returns:
        Their paths.

    Raises:
        OutputError: a file cannot be written.
    """
    make_folder(out)
    environment = environment_of("pipelines.comparison")
    parts = [_part(number, each, comparison) for number, each in enumerate(comparison.sections, start=1)]
    html = environment.get_template("page.html.j2").render(
        comparison=comparison,
        parts=parts,
        scopes=_scopes(comparison.sections) if len(parts) > 1 else None,
        left_out=_left_out(comparison.left_out),
        apart=APART,
        phantom=PHANTOM,
        differing=DIFFERING,
        made=f"{comparison.made:%Y-%m-%d %H:%M}",
    )
    contents = {"md": _markdown(comparison, parts), "csv": _csv(comparison), "html": html}
    paths = []
    for ending, content in contents.items():
        paths.append(out / f"comparison.{ending}")
        write_file(paths[-1], text(content))
    return paths


def environment_of(package: str) -> Environment:
    """Jinja's environment of a page: the package's templates, then those that pages share (style, tables)."""
    loader = ChoiceLoader([PackageLoader(each, ".") for each in dict.fromkeys((package, "pipelines.comparison"))])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _part(number: int, section: Section, comparison: Comparison) -> _Part:
    ranking = section.ranking
    scope, rows = ranking.scope, ranking.rows[:ROWS_SHOWN]
    notes = list(section.notes)
    if len(ranking.rows) > len(rows):
        notes.append(f"The tables show {len(rows)} of {len(ranking.rows)} rows; comparison.csv has all.")
    contests = []
    for contest in section.contests:
        said = [*contest.notes, *(f"Not tested: {label}, since {reason}." for label, reason in contest.excluded)]
        pairs = pair_table(contest, ranking)
        if len(pairs.rows) > PAIRS_SHOWN:
            pairs = Table(f"{pairs.caption} The first {PAIRS_SHOWN}.", pairs.head, pairs.rows[:PAIRS_SHOWN])
        contests.append((matrix(contest, ranking), pairs, said))
    return _Part(
        number,
        f"{', '.join(ranking.experiments)}: {scope.task} on {scope.data}",
        scope.phantom,
        (
            ("Ranked by", f"{ranking.metric}, on test cases"),
            ("Data", f"{scope.data}, fingerprint {scope.fingerprint.rpartition(':')[2][:16]}"),
            ("Cases", "training {}, validation {}, test {}".format(*scope.counts)),
            ("Test cases measured", _cases(scope)),
            ("Split", _split(scope.split)),
            ("Label rule", scope.label_rule or "not recorded: that of the data"),
            ("Rows and runs", f"{len(ranking.rows)} and {sum(len(row.runs) for row in ranking.rows)}"),
        ),
        section.verdict,
        section.differing,
        notes,
        (
            quality_table(ranking, shown_metrics(ranking, comparison.asked), rows, section.upsets),
            cost_table(rows[: section.worked_out], section.costs[: section.worked_out], comparison.machine),
            origin_table(rows),
        ),
        contests,
        section.plots,
    )


def _cases(scope: Scope) -> str:
    if "/" in scope.cases:
        return f"not recorded; told apart by the folder they were read from, {scope.cases}"
    return f"set {scope.cases} (a mark of their names)"


def _split(recorded: str) -> str:
    """The split as the datalist describes it, as words."""
    try:
        entries = json.loads(recorded or "{}")
        return "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in entries.items()) or "not recorded"
    except (ValueError, AttributeError):
        return recorded


def _scopes(sections: Sequence[Section]) -> Table:
    """What each section is of, and in what it differs from the first."""
    first = sections[0].ranking.scope
    rows = []
    for number, section in enumerate(sections, start=1):
        scope = section.ranking.scope
        pairs = (
            ("task", scope.task, first.task),
            ("data", scope.fingerprint, first.fingerprint),
            ("split", scope.split, first.split),
            ("numbers of cases", scope.counts, first.counts),
            ("test cases", scope.cases, first.cases),
            ("label rule", scope.label_rule, first.label_rule),
            ("true classes or extents", scope.truth, first.truth),
        )
        other = [name for name, mine, theirs in pairs if mine != theirs]
        rows.append(
            (
                f"Section {number}",
                scope.task,
                f"{scope.data} {scope.fingerprint.rpartition(':')[2][:12]}",
                "/".join(scope.counts),
                scope.cases,
                str(len(section.ranking.rows)),
                ", ".join(other) or ("–" if number == 1 else "nothing but whether it says phantom"),
            )
        )
    head = ("section", "task", "data", "training/validation/test cases", "test cases measured", "rows")
    return Table("What each section is of.", (*head, "differs from section 1 in"), tuple(rows))


def _left_out(runs: Sequence[tuple[Run, str]]) -> Table | None:
    if not runs:
        return None
    rows = tuple((run.name, run.experiment, run.network, run.status, reason) for run, reason in runs[:LEFT_OUT_SHOWN])
    more = f" The latest {LEFT_OUT_SHOWN} of {len(runs)}; comparison.csv has all." if len(runs) > LEFT_OUT_SHOWN else ""
    return Table(f"Runs in no ranking.{more}", ("run", "experiment", "network", "status", "why: it"), rows)


def _markdown(comparison: Comparison, parts: Sequence[_Part]) -> str:
    lines = ["# Comparison of trained networks", ""]
    lines += [f"{comparison.n_runs} runs of {markdown_cell(comparison.store)}, {comparison.made:%Y-%m-%d %H:%M}.", ""]
    if not parts:
        lines += ["There is nothing to rank: no run has test metrics on data that it names.", ""]
    if len(parts) > 1:
        lines += [APART, "", *markdown_table(_scopes(comparison.sections))]
    for part in parts:
        lines += [f"## {part.number}. {markdown_cell(part.title)}", ""]
        lines += [f"**{PHANTOM}**", ""] if part.phantom else []
        lines += [f"- {name}: {markdown_cell(value)}" for name, value in part.facts] + [""]
        lines += [" ".join(markdown_cell(each) for each in part.verdict), ""]
        if part.differing:
            lines += [DIFFERING, "", *(f"- {markdown_cell(each)}" for each in part.differing), ""]
        for each in part.tables:
            lines += markdown_table(each)
        for grid, pairs, notes in part.contests:
            lines += [*markdown_table(grid), *markdown_table(pairs), *(f"- {markdown_cell(n)}" for n in notes), ""]
        lines += [*(f"- {markdown_cell(note)}" for note in part.notes), ""]
    left_out = _left_out(comparison.left_out)
    if left_out is not None:
        lines += ["## In no ranking", "", *markdown_table(left_out)]
    return "\n".join(lines).rstrip("\n") + "\n"


def markdown_table(each: Table) -> list[str]:
    """The lines of a table, its caption before it."""
    lines = [markdown_cell(each.caption), "", f"| {' | '.join(map(markdown_cell, each.head))} |"]
    lines.append("|---" * len(each.head) + "|")
    return [*lines, *(f"| {' | '.join(map(markdown_cell, row))} |" for row in each.rows), ""]


def _csv(comparison: Comparison) -> str:
    metrics = sorted({name for each in comparison.sections for name in each.ranking.metrics})
    head = ["section", "rank", "ranked_by", "network", "label", "experiment", "task", "data", "data_fingerprint"]
    head += ["test_cases", "phantom", "runs", "run_ids", "seeds", "status", "config", "weights", "training_seconds"]
    head += ["parameters", "macs", "activation_mb", "parameter_mb", "inference_time_ratio", "peak_memory_mb", "remark"]
    head += ["loses_to"]
    head += [f"{name}{end}" for name in metrics for end in ("", "_low", "_high", "_sd", "_n")]
    rows: list[list[object]] = []
    for number, section in enumerate(comparison.sections, start=1):
        for place, (row, cost) in enumerate(zip(section.ranking.rows, section.costs, strict=True), start=1):
            figures = [cost.parameters, cost.macs, cost.activation_mb, cost.parameter_mb, cost.time_ratio, cost.peak_mb]
            values = [
                value
                for name in metrics
                for value in (row.mean(name), *row.interval(name), row.spread(name), _least(row, name))
            ]
            losses = ", ".join(section.ranking.rows[other].label for other in section.upsets.get(place - 1, ()))
            rank: object = place if row.values(section.ranking.metric) else None
            origin = _origin(row, section)
            whole = [int(each) if math.isfinite(each) and each == int(each) else each for each in figures[:2]]
            rows.append(
                [
                    number,
                    rank,
                    section.ranking.metric,
                    *origin,
                    row.seconds,
                    *whole,
                    *figures[2:],
                    cost.why_not,
                    losses,
                    *values,
                ]
            )
    for run, reason in comparison.left_out:
        filled = {
            "network": run.network, "label": run.name, "experiment": run.experiment, "runs": 1, "run_ids": run.run_id,
            "seeds": run.params.get("seed", ""), "status": run.status, "remark": reason,
        }  # fmt: skip
        rows.append([filled.get(name) for name in head])
    return table(head, rows)


def _least(row: Row, metric: str) -> int | None:
    """The number of cases that the mean is over, of several seeds the smallest."""
    return next(iter(row.numbers_of_cases(metric)), None)


def _origin(row: Row, section: Section) -> list[object]:
    scope, first = section.ranking.scope, row.first
    return [
        row.network, row.label, first.experiment, scope.task, scope.data, scope.fingerprint, scope.cases,
        str(scope.phantom).lower(), len(row.runs), " ".join(run.run_id for run in row.runs), " ".join(row.seeds),
        " ".join(sorted({run.status for run in row.runs})), row.overlays, first.tags.get("best_checkpoint", ""),
    ]  # fmt: skip
