"""What a person looks at after preparing: report.md and a contact sheet."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import Split

Colour = tuple[int, int, int]
MAX_TILES = 60
MAX_NOTED = 20  # cases with the same note that are listed one by one
MAX_PAIRS = 50
TILE = 180  # pixels of a tile's longer side
_COLUMNS, _CELL, _CAPTION = 6, 184, 26


class Shown(Protocol):
    """A case on the contact sheet: `tile` uint8 (rows, columns), grey, or (rows, columns, 3); `tile_label` its label,
    (rows, columns); `caption` what stands below it beside its name and split."""

    @property
    def case(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def tile(self) -> NDArray[np.uint8]: ...
    @property
    def tile_label(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Findings:
    """What the report says beside the cases: all in plain words, escaped when it is written; `audit` is Markdown."""

    layout: str
    source: str
    phantom: bool
    patients_known: bool
    warnings: Sequence[str]
    left_out: Sequence[str]
    near: Sequence[tuple[str, str, float]]
    duplicates: Sequence[str] = ()
    audit: Sequence[str] = ()


def plain(text: str) -> str:
    """Text from outside (file names above all) made harmless in Markdown, HTML and spreadsheets, and printable."""
    text = os.fsencode(text).decode("utf-8", errors="backslashreplace")
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda m: f"\\u{ord(m.group()):04x}", text)
    text = re.sub(r"([\\`*_{}\[\]#|!~])", r"\\\1", html.escape(text, quote=False))
    return f"'{text}" if text[:1] in "=+-@" else text


def spread(shares: Sequence[float]) -> str:
    """Median and range of lesion shares (0..1), as a table's cell in percent."""
    if not shares:
        return "none"
    percent = [100 * share for share in shares]
    return f"{np.median(percent):.1f} % ({min(percent):.1f} to {max(percent):.1f})"


def noted(notes: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """The notes of all cases: of (name, its notes), one line a note that many have, and else one a case."""
    by_note: dict[str, list[str]] = {}
    for case, own in notes:
        for note in own:
            by_note.setdefault(note, []).append(case)
    lines = []
    for note, cases in by_note.items():
        if len(cases) > MAX_NOTED:
            lines.append(f"{len(cases)} cases ({', '.join(cases[:3])}, ...): {note}")
        else:
            lines += [f"{case}: {note}" for case in cases]
    return lines


def write_report(
    path: Path,
    head: Mapping[str, object],
    findings: Findings,
    tables: Sequence[str],
    notes: Sequence[str],
    case_table: Sequence[str],
) -> None:
    """Write report.md: where the data come from, `tables`, warnings, likenesses, what was left out, notes, the cases.

    Args:
        head: of the datalist: `name` and `fingerprint`.
        tables, case_table: lines of Markdown, foreign text in them already `plain`.
    """
    lines = [f"# {plain(str(head['name']))}", ""]
    if findings.phantom:
        lines += ["**These are phantoms, drawn by a program. No accuracy measured on them is a result.**", ""]
    lines += [
        f"- Source: {plain(findings.source)} ({plain(findings.layout)})",
        f"- Fingerprint: `{head['fingerprint']}`",
        f"- Patients known: {'yes' if findings.patients_known else 'no, each image counts as its own patient'}",
        "",
        *tables,
        "",
    ]
    lines += _section("Warnings", findings.warnings)
    pairs = [
        f"{a} and {b} look alike ({100 * part:.0f} % of their hashes differ) and are in different splits"
        for a, b, part in findings.near[:MAX_PAIRS]
    ]
    if len(findings.near) > MAX_PAIRS:
        pairs.append(f"and {len(findings.near) - MAX_PAIRS} more pairs")
    lines += _section("Near-duplicates across splits", pairs)
    lines += _section(
        f"Exact duplicates, of which one was kept ({len(findings.duplicates)} left out)", findings.duplicates
    )
    lines += findings.audit
    lines += _section("Left out", findings.left_out)
    lines += _section("Notes", notes)
    lines += ["## Cases", "", *case_table, "", "![contact sheet](contact_sheet.png)", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {plain(e)}" for e in entries), ""] if entries else []


def write_contact_sheet(
    path: Path, checked: Mapping[str, Shown], split: Split, outlines: Sequence[tuple[int, Colour]]
) -> None:
    """A tile a case (up to 60, evenly chosen), each value of `outlines` and what lies above it outlined in its
    colour."""
    named = [(section, name) for section in SECTIONS for name in split[section]]
    step = max(len(named) / MAX_TILES, 1.0)
    chosen = [named[int(i * step)] for i in range(min(len(named), MAX_TILES))]
    rows = -(-len(chosen) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CELL, rows * (_CELL + _CAPTION)), (20, 20, 20))
    draw = ImageDraw.Draw(sheet)
    for i, (section, name) in enumerate(chosen):
        c = checked[name]
        left, top = (i % _COLUMNS) * _CELL, (i // _COLUMNS) * (_CELL + _CAPTION)
        rgb = c.tile.copy() if c.tile.ndim == 3 else np.repeat(c.tile[:, :, None], 3, axis=2)
        for value, colour in outlines:
            area = c.tile_label >= value
            rgb[area & ~binary_erosion(area)] = colour
        tile = Image.fromarray(rgb)
        sheet.paste(tile, (left + (_CELL - tile.width) // 2, top + (_CELL - tile.height) // 2))
        draw.text((left + 4, top + _CELL), c.case[:28], fill=(255, 255, 255))
        draw.text((left + 4, top + _CELL + 12), f"{section}, {c.caption}", fill=(200, 200, 200))
    sheet.save(path)
