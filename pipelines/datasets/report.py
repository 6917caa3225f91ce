"""What a person looks at after preparing: report.md and a contact sheet."""

from __future__ import annotations

import html
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from pipelines.datasets.checked_case import SEVERITY, CheckedCase
from pipelines.datasets.splits import SECTIONS, Split

# Okabe and Ito's palette: told apart by colour-blind readers, and both stand out on grey.
LUNG_COLOUR, LESION_COLOUR = (86, 180, 233), (230, 159, 0)
MAX_TILES = 60
_COLUMNS, _CELL, _CAPTION = 6, 184, 26


@dataclass(frozen=True)
class Findings:
    """What the report says beside the cases: all in plain words, escaped when it is written."""

    layout: str
    source: str
    phantom: bool
    patients_known: bool
    warnings: Sequence[str]
    left_out: Sequence[str]
    near: Sequence[tuple[str, str, float]]


def plain(text: str) -> str:
    """Text from outside (file names above all) made harmless in Markdown, HTML and spreadsheets, and printable."""
    text = os.fsencode(text).decode("utf-8", errors="backslashreplace")
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda m: f"\\u{ord(m.group()):04x}", text)
    text = re.sub(r"([\\`*_{}\[\]#|!~])", r"\\\1", html.escape(text))
    return f"'{text}" if text[:1] in "=+-@" else text


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


def write_report(
    path: Path, checked: Mapping[str, CheckedCase], split: Split, findings: Findings, head: Mapping[str, object]
) -> None:
    """Write report.md: counts a split, lesion shares, warnings, likenesses, notes and what was left out."""
    lines = [f"# {plain(str(head['name']))}", ""]
    if findings.phantom:
        lines += ["**These are phantoms, drawn by a program. No accuracy measured on them is a result.**", ""]
    lines += [
        f"- Source: {plain(findings.source)} ({plain(findings.layout)})",
        f"- Fingerprint: `{head['fingerprint']}`",
        f"- Patients known: {'yes' if findings.patients_known else 'no, each image counts as its own patient'}",
        "",
        "| split | cases | patients | slices | cases with lesions | slices with lesions "
        "| lesion share, median (range) |",
        "|---|---|---|---|---|---|---|",
    ]
    for section, number in counts(checked, split).items():
        shares = [100 * checked[name].share for name in split[section]]
        spread = f"{np.median(shares):.1f} % ({min(shares):.1f} to {max(shares):.1f})" if shares else "none"
        lines.append(
            f"| {section} | {number['cases']} | {number['patients']} | {number['slices']} | {number['lesion_cases']} "
            f"| {number['lesion_slices']} | {spread} |"
        )
    lines += ["", "The lesion share is lesion over lung voxels, the lung with its lesions.", ""]
    lines += ["## Severity", "", f"Extent of the true mask: {SEVERITY}. Slices with too little lung are not rated.", ""]
    names = [*SEVERITY.names, "unrated"]
    lines += [f"| split | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for section, number in counts(checked, split).items():
        cells = [f"{number['severity_cases'][n]} cases, {number['severity_slices'][n]} slices" for n in names]
        lines.append(f"| {section} | {' | '.join(cells)} |")
    lines.append("")
    lines += _section("Warnings", findings.warnings)
    pairs = [
        f"{a} and {b} look alike ({100 * part:.0f} % of their hashes differ) and are in different splits"
        for a, b, part in findings.near[:50]
    ]
    if len(findings.near) > 50:
        pairs.append(f"and {len(findings.near) - 50} more pairs")
    lines += _section("Near-duplicates across splits", pairs)
    lines += _section("Left out", findings.left_out)
    lines += _section("Notes", [f"{c.case}: {note}" for c in checked.values() for note in c.notes])
    lines += [
        "## Cases",
        "",
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
    lines += ["", "![contact sheet](contact_sheet.png)", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {plain(e)}" for e in entries), ""] if entries else []


def write_contact_sheet(path: Path, checked: Mapping[str, CheckedCase], split: Split) -> None:
    """A tile a case (up to 60, evenly chosen): the slice with most lesion, lung outlined in blue, lesion in orange."""
    named = [(section, name) for section in SECTIONS for name in split[section]]
    step = max(len(named) / MAX_TILES, 1.0)
    chosen = [named[int(i * step)] for i in range(min(len(named), MAX_TILES))]
    rows = -(-len(chosen) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CELL, rows * (_CELL + _CAPTION)), (20, 20, 20))
    draw = ImageDraw.Draw(sheet)
    for i, (section, name) in enumerate(chosen):
        c = checked[name]
        left, top = (i % _COLUMNS) * _CELL, (i // _COLUMNS) * (_CELL + _CAPTION)
        rgb = np.repeat(c.tile[:, :, None], 3, axis=2)
        for value, colour in ((1, LUNG_COLOUR), (2, LESION_COLOUR)):
            area = c.tile_label >= value
            rgb[area & ~binary_erosion(area)] = colour
        tile = Image.fromarray(rgb)
        sheet.paste(tile, (left + (_CELL - tile.width) // 2, top + (_CELL - tile.height) // 2))
        draw.text((left + 4, top + _CELL), c.case[:28], fill=(255, 255, 255))
        draw.text((left + 4, top + _CELL + 12), f"{section}, lesion {100 * c.share:.1f} %", fill=(200, 200, 200))
    sheet.save(path)
