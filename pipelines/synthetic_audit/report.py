"""An audit as files: JSON, CSV, Markdown and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.comparison.contests import BOOTSTRAP, LEVEL, Contest
from pipelines.comparison.page import PHANTOM, environment_of, markdown_table
from pipelines.comparison.sections import data_uri
from pipelines.comparison.tables import NOTHING, Table, duration, number
from pipelines.evaluation import Interval
from pipelines.evaluation.case_tables import finite
from pipelines.files import make_folder, markdown_cell, table, text, write_file
from pipelines.synthetic_audit.answer import answer, fault_sentence, further, interval, verdicts
from pipelines.synthetic_audit.closeness import Closeness
from pipelines.synthetic_audit.differences_plot import ALT, draw_differences
from pipelines.synthetic_audit.results import METRICS, Effect, Results

_PLOT = "differences.png"
FAULT = (
    "These rows are measured wrongly, on purpose. A network that was trained on a generator's pictures knows that "
    "generator: its pictures among the test cases are no evidence about patients. The rows show what a study that "
    "makes this mistake reports. No other figure here, and nothing else in this project, is measured on generated "
    "pictures."
)


@dataclass(frozen=True)
class Report:
    """All that the files say.

    Attributes:
        answer: the first sentence. further: those that follow.
        warnings: what weakens the figures. rules: how they came about.
        space: where generated and real pictures were compared, or why they were not.
    """

    bundle: str
    phantom: bool
    answer: str
    further: Sequence[str]
    warnings: Sequence[str]
    rules: Sequence[str]
    arms: Table
    effects: Sequence[Table]
    faults: Table
    space: str
    closeness: Table | None
    memorised: Table | None


def make_report(
    results: Results,
    found: Closeness | None,
    *,
    bundle: str,
    phantom: bool,
    warnings: Sequence[str],
    rules: Sequence[str],
    no_closeness: str = "",
) -> Report:
    """The tables and sentences of an audit.

    Args:
        found: None where generated and real pictures were not compared, for the reason ``no_closeness``.
    """
    return Report(
        bundle,
        phantom,
        answer(results),
        further(results),
        warnings,
        [*rules, *dict.fromkeys(note for contest in results.contests for note in contest.notes)],
        _arms(results),
        [_effects(results, contest) for contest in results.contests],
        _faults(results),
        no_closeness if found is None else f"Measured in this space: {found.space}.",
        None if found is None else _closeness(found),
        None if found is None else _memorised(found),
    )


def write_report(
    report: Report, results: Results, found: Closeness | None, facts: Mapping[str, Any], made: datetime, out: Path
) -> list[Path]:
    """Write ``summary.json``, ``audit.csv``, ``audit.md``, ``audit.html`` and ``differences.png``, each in one step.

    Args:
        facts: of the JSON, beside the results.

    Raises:
        OutputError: a file cannot be written.
    """
    make_folder(out)
    plot = draw_differences(results)
    shown = [] if found is None else [(c.name, _png(c.samples), _png(c.neighbours)) for c in found.classes]
    html = (
        environment_of("pipelines.synthetic_audit")
        .get_template("page.html.j2")
        .render(
            report=report,
            fault=FAULT,
            phantom=PHANTOM,
            plot=data_uri(plot, True),
            alt=ALT,
            pictures=shown,
            made=f"{made:%Y-%m-%d %H:%M}",
        )
    )
    content = json.dumps({**facts, **_json(report, results, found)}, indent=2, allow_nan=False) + "\n"
    write_file(out / _PLOT, lambda file: plot.savefig(file, format="png"))
    contents = {"summary.json": content, "audit.csv": _csv(results), "audit.md": _markdown(report), "audit.html": html}
    for name, each in contents.items():
        write_file(out / name, text(each))
    return [*(out / name for name in contents), out / _PLOT]


def _arms(results: Results) -> Table:
    rows = []
    for row in results.rows:
        each = row.training
        cells = []
        for metric in METRICS:
            seeds = row.by_seed[metric]
            cells.append(f"{interval(row.estimates[metric])}; {min(seeds):.3f} to {max(seeds):.3f}")
        facts = (str(each.pictures), str(each.epochs), str(each.steps), duration(row.seconds))
        rows.append((each.network, each.arm.name, *facts, *cells))
    head = ("network", "arm", "pictures", "epochs", "steps", "time", *(name.replace("_", " ") for name in METRICS))
    first = results.rows[0].estimates[METRICS[0]]
    caption = f"On {first.n} real test pictures of {first.n_patients} patients: mean over "
    caption += f"{len(results.rows[0].by_seed[METRICS[0]])} seeds with its 95 % interval over patients; lowest and "
    caption += (
        "highest seed. Pictures are those of the training set, generated ones included; steps are the optimiser's."
    )
    return Table(caption, head, tuple(rows))


def _effects(results: Results, contest: Contest) -> Table:
    metric = contest.metric
    rows = []
    for each in results.effects:
        pair, seeds = each.pairs[metric], each.by_seed[metric]
        rows.append(
            (
                each.network,
                f"{each.arm.name} – {each.against.name}",
                f"{pair.difference:+.4f}",
                NOTHING if pair.too_few else f"{pair.low:+.4f} to {pair.high:+.4f}",
                f"{min(seeds):+.4f} to {max(seeds):+.4f}",
                number(pair.bootstrap_p, 4),
                *(() if contest.test == BOOTSTRAP else (number(pair.p_value, 4),)),
                number(pair.corrected, 4),
                {"open": "no difference shown", "untested": "too few patients"}.get(
                    each.outcome(metric), each.outcome(metric)
                ),
            )
        )
    tests = (BOOTSTRAP,) if contest.test == BOOTSTRAP else (BOOTSTRAP, contest.test)
    head = ("network", "pair", "difference", "95 % interval", "by seed", *(f"p, {name}" for name in tests))
    shown = metric.replace("_", " ")
    caption = f"Paired differences in {shown}: means over seeds on the same real test cases, with intervals over "
    caption += (
        f"patients. Holm's correction is over all {len(contest.pairs)} pairs. Better or worse is said only where "
    )
    caption += f"the corrected p is below {LEVEL:g}, the interval leaves out 0, and every seed has the same sign."
    return Table(caption, (*head, "p, Holm", "it is"), tuple(rows))


def _faults(results: Results) -> Table:
    rows = tuple(
        (
            f"FAULT: {each.network}",
            each.arm.name,
            str(each.generated),
            interval(each.real),
            interval(each.alone),
            interval(each.mixed),
            interval(each.inflation, signed=True),
            interval(each.gain, signed=True),
            interval(each.honest, signed=True),
        )
        for each in results.faults
    )
    head: tuple[str, ...] = (
        "network",
        "trained with",
        "generated pictures added",
        "accuracy, real",
        "accuracy, generated alone",
    )
    head += ("accuracy, both together (wrong)", "inflated by", "gain over none as the fault reports it", "honest gain")
    return Table("FAULT. Accuracy with generated pictures among the test cases, mean over seeds.", head, rows)


def _closeness(found: Closeness) -> Table:
    rows = tuple(
        (c.name, str(c.number), number(c.fid, 2), number(c.fid_floor, 2), number(c.mmd, 3), number(c.mmd_floor, 3))
        for c in found.classes
    )
    head = ("class", "pictures a side", "FID", "FID, real against real", "MMD", "MMD, real against real")
    caption = (
        "Generated against real pictures of patients in validation and test; less is closer. The floor is as many "
    )
    caption += "real pictures of other such patients against the same ones. FID of few pictures is biased upwards, so "
    caption += (
        "that only its distance from the floor says anything, and no value compares with other papers'. MMD has a "
    )
    caption += "linear kernel (the squared distance of mean features, unbiased: it can be below 0)."
    return Table(caption, head, rows)


def _memorised(found: Closeness) -> Table:
    rows = tuple(
        (
            c.name,
            str(c.memorised["samples"]),
            str(c.memorised["copies"]),
            f"{c.memorised['sample_nearest']:.3f}",
            f"{c.memorised['held_out_nearest']:.3f}",
            f"{c.memorised['sample_least']:.3f}",
            f"{c.memorised['held_out_least']:.3f}",
            f"{c.memorised['nearer_than_held_out']:.3f}",
        )
        for c in found.classes
    )
    head: tuple[str, ...] = ("class", "generated", "copies of a training picture", "nearest training picture, median")
    head += ("the same of real held-out pictures", "nearest of all", "the same of held-out ones")
    caption = (
        "Memorised training pictures: root mean square difference of grey 0 to 1. A copy is nearer to one training "
    )
    caption += "picture than a third of its distance to the second nearest."
    return Table(caption, (*head, "nearer than 99 % of held-out ones"), rows)


def _json(report: Report, results: Results, found: Closeness | None) -> dict[str, Any]:
    closeness = {} if found is None else {
        "space": found.space,
        "classes": {
            c.name: {
                "pictures": c.number, "fid": finite(c.fid), "fid_real_against_real": finite(c.fid_floor),
                "mmd": finite(c.mmd), "mmd_real_against_real": finite(c.mmd_floor), "memorised": c.memorised,
            }
            for c in found.classes
        },
    }  # fmt: skip
    return {
        "answer": report.answer,
        "further": list(report.further),
        "metric": results.metric,
        "verdicts": verdicts(results),
        "warnings": list(report.warnings),
        "rules": list(report.rules),
        "arms": [
            {
                "network": row.training.network, "arm": row.training.arm.name, "pictures": row.training.pictures,
                "epochs": row.training.epochs, "steps": row.training.steps, "seconds": finite(row.seconds),
                **{m: {**_entry(row.estimates[m]), "by_seed": list(row.by_seed[m])} for m in METRICS},
            }
            for row in results.rows
        ],
        "differences": [
            {
                "network": e.network, "arm": e.arm.name, "against": e.against.name,
                **{m: {**_pair(e, m), "by_seed": list(e.by_seed[m]), "outcome": e.outcome(m)} for m in METRICS},
            }
            for e in results.effects
        ],
        "faults": [
            {
                "fault": True, "why": FAULT, "said": fault_sentence(f), "network": f.network, "arm": f.arm.name,
                "generated_in_test": f.generated,
                **{n: _entry(getattr(f, n)) for n in ("real", "alone", "mixed", "inflation", "gain", "honest")},
            }
            for f in results.faults
        ],
        "closeness": closeness,
    }  # fmt: skip


def _entry(found: Interval) -> dict[str, Any]:
    return {name: finite(value) if isinstance(value, float) else value for name, value in asdict(found).items()}


def _pair(effect: Effect, metric: str) -> dict[str, Any]:
    pair = effect.pairs[metric]
    return {
        "difference": pair.difference, "low": finite(pair.low), "high": finite(pair.high),
        "p_bootstrap": finite(pair.bootstrap_p), "p_test": finite(pair.p_value), "p_holm": finite(pair.corrected),
    }  # fmt: skip


def _csv(results: Results) -> str:
    """A row a figure; those of the fault are of the kind FAULT."""
    rows: list[list[object]] = []
    for row in results.rows:
        for metric in METRICS:
            e = row.estimates[metric]
            seeds = " ".join(f"{each:.6f}" for each in row.by_seed[metric])
            rows.append(
                ["arm", row.training.network, row.training.arm.name, "", metric, e.estimate, e.low, e.high, None, seeds]
            )
    for effect in results.effects:
        for metric, p in effect.pairs.items():
            seeds = " ".join(f"{each:.6f}" for each in effect.by_seed[metric])
            own = ["difference", effect.network, effect.arm.name, effect.against.name, metric]
            rows.append([*own, p.difference, p.low, p.high, p.corrected, seeds])
    for fault in results.faults:
        for name in ("mixed", "inflation", "gain"):
            e = getattr(fault, name)
            own = ["FAULT", fault.network, fault.arm.name, "none" if name == "gain" else "", f"accuracy_{name}"]
            rows.append([*own, e.estimate, e.low, e.high, None, ""])
    return table(["kind", "network", "arm", "against", "metric", "value", "low", "high", "p_holm", "by_seed"], rows)


def _markdown(report: Report) -> str:
    lines = ["# Do generated pictures help?", ""]
    lines += [f"**{PHANTOM}**", ""] if report.phantom else []
    lines += [f"**{markdown_cell(report.answer)}**", "", *(f"- {markdown_cell(each)}" for each in report.further), ""]
    if report.warnings:
        lines += ["## What weakens these figures", "", *(f"- {markdown_cell(each)}" for each in report.warnings), ""]
    lines += ["## How it was measured", "", *(f"- {markdown_cell(each)}" for each in report.rules), ""]
    lines += ["## Arms", "", *markdown_table(report.arms), f"![{ALT}]({_PLOT})", "", "## Differences", ""]
    for each in report.effects:
        lines += markdown_table(each)
    lines += [
        "## Fault: generated pictures among the test cases",
        "",
        f"**{FAULT}**",
        "",
        *markdown_table(report.faults),
    ]
    lines += ["## How close generated pictures come to real ones", "", markdown_cell(report.space), ""]
    for found in (report.closeness, report.memorised):
        lines += markdown_table(found) if found is not None else []
    return "\n".join(lines).rstrip("\n") + "\n"


def _png(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
