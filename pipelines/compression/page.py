"""What the steps gave, as a table for programs (CSV, JSON) and a page to read (Markdown)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pipelines.evaluation.case_tables import finite
from pipelines.files import table, text, write_file
from pipelines.handlers import NOT_FOR_CARE, publish

NAME = "compression"
_NOTES = {
    "fp16": "Half precision halves the file. It is computed in float32 all the same: on a CPU nothing is faster.",
    "int8": "int8 is rounding, fitted to the training cases: no training, and its loss is in the table. It needs "
    "onnxruntime or another program that reads ONNX, takes the one size that it was exported for, and is faster only "
    "where products outweigh the conversions between them.",
    "prune": "Pruned weights are zeros that are stored and multiplied: the file, the memory and the time are those of "
    "the whole network. Only what packs the file (`packed`) gains.",
    "channels": "Pruned channels are zeros as well: the masks stay in the shapes, so that the network is no smaller "
    "and no faster by itself.",
    "tune": "Training on uses the training part, which the weights as shipped may or may not have known: compare with "
    "the row `tune`, where there is one, and not with `fp32` alone.",
    "distil": "A student is as large as before; its training needs the teacher too, at each step.",
}


@dataclass(frozen=True)
class Row:
    """One form of the network.

    Attributes:
        step: of ``STEPS``, or "fp32". runtime: what ran it, "eager" or "onnxruntime".
        file: its name in the folder.
        parameters, non_zero: numbers that are weights; of int8, those in the graph, into which norms are folded.
        bytes: of the file. packed: of the file in gzip.
        peak_mib: MiB that opening and running it adds to a process; None where the system does not tell.
        time_to_eager, time_to_same: time of an image, as part of that of fp32 by PyTorch, and by the same runtime; the
            median over rounds in which all take turns.
        metric: the bundle's. estimate, low, high: of it, with the 95 % interval over patients. n: cases or items.
        compared: what the difference is of: the metric where it is one of cases, else accuracy.
        difference, difference_low, difference_high: this less fp32 by PyTorch, on the same cases, with its interval.
        p_value: of Wilcoxon's test; NaN where no case differs.
        seconds: that the step took, measurements left out.
    """

    step: str
    runtime: str
    file: str
    parameters: int
    non_zero: int
    bytes: int
    packed: int
    peak_mib: float | None
    time_to_eager: float
    time_to_same: float
    metric: str
    estimate: float
    low: float
    high: float
    n: int
    compared: str
    difference: float
    difference_low: float
    difference_high: float
    p_value: float
    seconds: float


def write_page(rows: Sequence[Row], about: Mapping[str, Any], out: Path) -> dict[str, Path]:
    """Write ``compression.csv``, ``.json`` and ``.md``, all or none.

    Args:
        rows: the reference first.
        about: bundle, network, settings, machine; it becomes the JSON's head.

    Returns:
        The paths by kind: csv, json, md.

    Raises:
        OutputError: they cannot be written.
    """
    names = [field.name for field in fields(Row)]
    as_json = [{k: finite(v) if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows]
    content = {
        "csv": table(names, ([getattr(row, name) for name in names] for row in rows)),
        "json": json.dumps({**about, "rows": as_json, "use": NOT_FOR_CARE}, indent=2, allow_nan=False) + "\n",
        "md": markdown(rows, about),
    }

    def fill(folder: Path) -> dict[str, Path]:
        for kind, words in content.items():
            write_file(folder / f"{NAME}.{kind}", text(words))
        return {kind: folder / f"{NAME}.{kind}" for kind in content}

    return publish(out, fill)


def markdown(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The page."""
    first = rows[0]
    lines = [
        f"# {about['bundle']}, {about['network']}, compressed",
        "",
        f"{first.metric}: of the {first.n} test cases, one pass each (no averaging over flips and scales), in float32 "
        f"on the CPU, with the 95 % bootstrap interval over patients. Difference: {first.compared}, this less the "
        "first row on the same cases, with its interval. Times: of one image, "
        "medians over rounds in which all take turns.",
        "",
        f"| step | by | weights | not 0 | bytes | packed | peak, MiB | time to fp32 eager | to fp32 by the same | "
        f"{first.metric} | difference |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        peak = "–" if row.peak_mib is None else f"{row.peak_mib:.1f}"
        apart = "" if row is first else _with_interval(row.difference, row.difference_low, row.difference_high, "+")
        lines.append(
            f"| {row.step} | {row.runtime} | {row.parameters:,} | {row.non_zero:,} | {row.bytes:,} | {row.packed:,} | "
            f"{peak} | {row.time_to_eager:.2f} | {row.time_to_same:.2f} | "
            f"{_with_interval(row.estimate, row.low, row.high)} | {apart} |"
        )
    steps = [row.step for row in rows]
    notes = [note for key, note in _NOTES.items() if any(key in step for step in steps)]
    settings = ", ".join(f"{key} {value}" for key, value in about["settings"].items())
    lines += ["", *(f"- {note}" for note in notes), "", f"Settings: {settings}.", "", NOT_FOR_CARE]
    return "\n".join(lines) + "\n"


def _with_interval(value: float, low: float, high: float, sign: str = "") -> str:
    if not math.isfinite(value):
        return "–"
    bounds = f" ({low:{sign}.4f} to {high:{sign}.4f})" if math.isfinite(low) else ""
    return f"{value:{sign}.4f}{bounds}"
