"""What a person and a program read of an audit: lines, audit.json, audit.md, and a picture of the suspicious pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.files import held, save_png, text, write_file
from pipelines.preparation.audit.audit import Audit, Both, Finding, audit_lists
from pipelines.preparation.audit.items import Item, read_list
from pipelines.preparation.audit.looks import TILE
from pipelines.preparation.audit.neighbours import ALIKE, DOUBTFUL, turned
from pipelines.preparation.report import plain

MOST_LISTED = 1000  # pairs of a finding that audit.json names
_SHOWN = 20  # that audit.md names
_ON_SHEET, _COLUMNS, _CAPTION, _GAP = 48, 4, 28, 12
JSON, PAGE, SHEET = "audit.json", "audit.md", "audit.png"
NOT_FOUND = (
    "Not found: a patient's slices that lie further apart than about ten millimetres, or in another crop and without a "
    "mask to tell; pictures turned by 5 degrees, moved by 3 % or cropped by 5 % and more without a mask; two visits of "
    "one patient. Nothing found is no proof that nothing is there."
)


def summary_lines(audit: Audit) -> list[str]:
    """What stands on the screen: a line a finding."""
    lines = []
    for audited in audit.lists:
        counts = ", ".join(f"{len(items)} {section}" for section, items in audited.sections.items())
        patients = "" if audited.patients_known else "; patients are not known"
        lines.append(f"{audited.path}: {counts}{patients}")
    lines += [f"{'LEAK  ' if finding.leak else 'look  '} {finding.text}" for finding in audit.findings]
    return lines if audit.findings else [*lines, "nothing found"]


def report_lines(datalist: Path, near: Sequence[tuple[str, str, float]]) -> list[str]:
    """Audit a datalist; its findings as Markdown, for a report: those that splitting has warned of apart.

    Args:
        near: pairs of cases that the report names already.

    Raises:
        PipelinesError: see `audit_lists`.
    """
    audit = audit_lists([read_list(datalist, 0)])
    left_out = {frozenset((first, second)) for first, second, _ in near}
    lines = []
    for finding in audit.findings:
        pairs = [p for p in finding.pairs if frozenset((p[0].case, p[1].case)) not in left_out]
        if finding.kind != "split" and (pairs or not finding.pairs):
            lines += [f"- {'**Leak.** ' if finding.leak else ''}{plain(finding.text)}", *_named(audit, finding, pairs)]
    return ["## Audit", "", *lines, "", NOT_FOUND, ""] if lines else []


def write_audit(audit: Audit, folder: Path) -> list[Path]:
    """Write audit.json, audit.md and, where there are pairs to look at, audit.png.

    Raises:
        OutputError: they cannot be written, or another call writes here.
    """
    with held(folder, ".auditing.lock"):
        return _write(audit, folder)


def _write(audit: Audit, folder: Path) -> list[Path]:
    written = [folder / JSON, folder / PAGE]
    write_file(folder / JSON, text(json.dumps(_content(audit), indent=2, allow_nan=False) + "\n"))
    shown = [(finding, pair) for finding in audit.findings for pair in finding.pairs[:_ON_SHEET]][:_ON_SHEET]
    lines = ["# Audit", ""]
    for audited in audit.lists:
        counts = ", ".join(f"{len(items)} {section}" for section, items in audited.sections.items())
        lines.append(f"- {plain(audited.name)}: {plain(str(audited.path))}; {counts}")
    lines += ["", "No leak was found." if not audit.leaks else f"**{len(audit.leaks)} leaks.**", ""]
    for title, leak in (("Leaks", True), ("To look at", False)):
        chosen = [finding for finding in audit.findings if finding.leak == leak]
        lines += [f"## {title}", ""] if chosen else []
        for finding in chosen:
            lines += [f"- {plain(finding.text)}", *_named(audit, finding, finding.pairs)]
        lines += [""] if chosen else []
    lines += [NOT_FOUND, ""]
    if shown:
        sheet = _sheet(audit, shown)
        write_file(folder / SHEET, lambda file: save_png(sheet, file))
        lines += [f"![pairs, the second turned as the first]({SHEET})", ""]
        written.append(folder / SHEET)
    else:
        (folder / SHEET).unlink(missing_ok=True)
    write_file(folder / PAGE, text("\n".join(lines)))
    return written


def _named(audit: Audit, finding: Finding, pairs: Sequence[Both]) -> list[str]:
    lines = []
    for one, other, likeness, _ in pairs[:_SHOWN]:
        how = "" if likeness is None or finding.kind == "label" else f" ({likeness:.2f})"
        places = f"{plain(one.case)} ({audit.place(one)}) and {plain(other.case)} ({audit.place(other)})"
        lines.append(f"  - {places}{how}")
    if len(pairs) > _SHOWN:
        lines.append(f"  - and {len(pairs) - _SHOWN} more pairs")
    return lines


def _content(audit: Audit) -> dict[str, Any]:
    return {
        "leaks": len(audit.leaks),
        "thresholds": {"alike": ALIKE, "doubtful": DOUBTFUL},
        "lists": [
            {
                "path": str(audited.path),
                "name": audited.name,
                "patients_known": audited.patients_known,
                "cases": {section: len(items) for section, items in audited.sections.items()},
            }
            for audited in audit.lists
        ],
        "findings": [
            {
                "kind": finding.kind,
                "leak": finding.leak,
                "text": finding.text,
                "cases": [_entry(audit, item) for item in finding.items[:MOST_LISTED]] if not finding.pairs else [],
                "pairs": [
                    {
                        "first": _entry(audit, one),
                        "second": _entry(audit, other),
                        "likeness": None if likeness is None else round(likeness, 4),
                        "frame": None if pair is None else pair.frame,
                    }
                    for one, other, likeness, pair in finding.pairs[:MOST_LISTED]
                ],
            }
            for finding in audit.findings
        ],
    }


def _entry(audit: Audit, item: Item) -> dict[str, str]:
    return {"list": audit.lists[item.source].name, "section": item.section, "case": item.case}


def _sheet(audit: Audit, shown: Sequence[tuple[Finding, Both]]) -> Image.Image:
    """A cell a pair: both images side by side, the second turned as the first, with what they are held to be."""
    rows = -(-len(shown) // _COLUMNS)
    width, height = 2 * TILE + _GAP, TILE + _CAPTION
    sheet = Image.new("RGB", (_COLUMNS * width, rows * height), (20, 20, 20))
    draw = ImageDraw.Draw(sheet)
    for k, (finding, (one, other, likeness, pair)) in enumerate(shown):
        left, top = k % _COLUMNS * width, k // _COLUMNS * height
        planes = pair.planes if pair is not None else [len(audit.looks[item].tiles) // 2 for item in (one, other)]
        first, second = (audit.looks[item].tiles[plane] for item, plane in zip((one, other), planes, strict=True))
        second = second if pair is None else turned(second[None], pair.turn)[0]
        for side, tile in enumerate((first, second)):
            sheet.paste(_picture(tile), (left + side * TILE, top))
        word = "LEAK" if finding.leak else "look"
        draw.text((left + 2, top + TILE), f"{one.case[-16:]}   {other.case[-16:]}", fill=(255, 255, 255))
        how = "" if likeness is None else f" {likeness:.2f}"
        draw.text((left + 2, top + TILE + 12), f"{word}: {finding.kind}{how}", fill=(200, 200, 200))
    return sheet


def _picture(tile: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(tile.T)).convert("RGB")
