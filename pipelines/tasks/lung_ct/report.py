"""What the report says of prepared CT: numbers a split, severity, and a line a case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.preparation.report import plain, spread
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import Split
from pipelines.tasks.lung_ct.checks import SEVERITY, CheckedCase


def counts(checked: Mapping[str, CheckedCase], split: Split) -> dict[str, dict[str, Any]]:
    """Per section: cases, patients, slices, how many of cases and slices have lesions, and of which severity they are
    (``unrated``: too little lung)."""
    found: dict[str, dict[str, Any]] = {}
    for section in SECTIONS:
        cases = [checked[name] for name in split[section]]
        found[section] = {
            "cases": len(cases),
            "patients": len({c.raw.patient for c in cases}),
            "slices": sum(c.shape[2] for c in cases),
            "lesion_cases": sum(c.lesion_voxels > 0 for c in cases),
            "lesion_slices": sum(c.lesion_slices for c in cases),
            "severity_cases": _by_class(c.severity.volume for c in cases),
            "severity_slices": _by_class(each for c in cases for each in c.severity.slices),
        }
    return found


def _by_class(found: Iterable[str | None]) -> dict[str, int]:
    number = Counter(found)
    return {**{name: number[name] for name in SEVERITY.names}, "unrated": number[None]}


def section_tables(checked: Mapping[str, CheckedCase], split: Split) -> list[str]:
    """Markdown lines: cases, slices and lesion shares of each section, then severity."""
    lines = [
        "| split | cases | patients | slices | cases with lesions | slices with lesions "
        "| lesion share, median (range) |",
        "|---|---|---|---|---|---|---|",
    ]
    numbers = counts(checked, split)
    for section, number in numbers.items():
        shares = spread([checked[name].share for name in split[section]])
        lines.append(
            f"| {section} | {number['cases']} | {number['patients']} | {number['slices']} | {number['lesion_cases']} "
            f"| {number['lesion_slices']} | {shares} |"
        )
    lines += ["", "The lesion share is lesion over lung voxels, the lung with its lesions.", ""]
    lines += ["## Severity", "", f"Extent of the true mask: {SEVERITY}. Slices with too little lung are not rated.", ""]
    names = [*SEVERITY.names, "unrated"]
    lines += [f"| split | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for section, number in numbers.items():
        cells = [f"{number['severity_cases'][n]} cases, {number['severity_slices'][n]} slices" for n in names]
        lines.append(f"| {section} | {' | '.join(cells)} |")
    return lines


def case_table(checked: Mapping[str, CheckedCase], split: Split) -> list[str]:
    """Markdown lines: each case with its size, spacing, lesion share and severity."""
    lines = [
        "| case | patient | split | size | spacing in mm | values | lung | lesion share | severity |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for section in SECTIONS:
        for name in split[section]:
            c = checked[name]
            spacing = " x ".join(f"{s:.2f}" for s in c.spacing) if c.spacing else "unknown"
            lines.append(
                f"| {plain(c.case)} | {plain(c.raw.patient)} | {section} | {' x '.join(map(str, c.shape))} | {spacing} "
                f"| {c.intensity} | {c.lung} | {100 * c.share:.2f} % | {c.severity.volume or 'unrated'} |"
            )
    return lines
