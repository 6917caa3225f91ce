"""What the page is told of cases, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.key_figures import classes, figures, warnings
from pipelines.viewer.cases import Case, Folder, Layer
from pipelines.viewer.corrections import version
from pipelines.viewer.images import Shown
from pipelines.viewer.pairs import CORRECTED_LAYER, Entry


def everything(folders: Sequence[Folder], entries: Sequence[Entry]) -> dict[str, Any]:
    """The folders and a line for each entry."""
    return {
        "folders": [{"title": folder.title, "kind": folder.kind} for folder in folders],
        "cases": [line(entry, number) for number, entry in enumerate(entries)],
    }


def line(entry: Entry, number: int) -> dict[str, Any]:
    """An entry as the list shows it: of two folders, the figures of both."""
    first = entry.first
    statuses = [case.status for case in entry.cases if case is not None]
    return {
        "number": number,
        "name": first.name,
        "status": next((each for each in statuses if each not in ("done", "data")), statuses[0]),
        "error": next((_without_path(case) for case in entry.cases if case is not None and case.error), None),
        "sides": [None if case is None else _side(case) for case in entry.cases],
        "corrected": bool(entry.corrections()),
    }


def _without_path(case: Case) -> str:
    """What is wrong, without the path of the input before it: the list has its name."""
    return str(case.error).removeprefix(f"{case.shown or case.image}: ")


def _side(case: Case) -> dict[str, Any]:
    return {
        "status": case.status,
        "error": case.error,
        "figures": figures(case.report, case.facts),
        "warnings": warnings(case.report),
    }


def details(entry: Entry, number: int) -> dict[str, Any]:
    """An entry as the page opens it: its masks, what the reports say, and what may be corrected."""
    labels: dict[int, str] = {}
    for case in entry.cases:
        if case is not None:
            labels = {**case.labels, **labels}
    corrections = entry.corrections()
    files = {side: path for _, side, _, path in corrections}
    chosen = next(iter(entry.correctable()), 0)  # what the key "corrected" means where one side only can be corrected
    sides = []
    for case in entry.cases:
        sides.append(
            None
            if case is None
            else {
                **_side(case),
                "kind": case.kind,
                "classes": classes(case.report),
                "overlay": case.overlay is not None,
                "notes": _notes(case.report.get("notes")),
                "network": case.report.get("network"),
                "use": case.report.get("use"),
            }
        )
    return {
        **line(entry, number),
        "sides": sides,
        "input": None if entry.first.image is None else entry.first.shown or str(entry.first.image),
        "labels": [{"value": value, "name": name} for value, name in sorted(labels.items()) if value],
        "layers": [_layer(entry, key, case, layer, files) for key, case, layer in entry.layers()],
        "corrections": [
            {
                "key": key,
                "title": CORRECTED_LAYER,
                "side": side,
                "path": path.relative_to(case.folder).as_posix(),
                "correctable": case.not_correctable is None,
                "reason": case.not_correctable,
                "save": key,
                "version": version(path),
            }
            for key, side, case, path in corrections
        ],
        "corrected": next((path.relative_to(case.folder).as_posix() for _, _, case, path in corrections), None),
        "version": version(files.get(chosen)),
    }


def _notes(found: Any) -> list[str]:
    if isinstance(found, (list, tuple)):
        return [str(note) for note in found]
    return [str(found)] if found else []


def _layer(entry: Entry, key: str, case: Case, layer: Layer, corrected: Mapping[int, Path]) -> dict[str, Any]:
    """A mask; where it can be corrected, the key to save it under and the version of what is saved there now."""
    side = next(n for n, each in enumerate(entry.cases) if each is case)
    reason = case.not_correctable
    return {
        "key": key,
        "title": layer.title,
        "side": side,
        "correctable": reason is None,
        "reason": reason,
        "save": None if reason else f"{side}-{CORRECTED_LAYER}",
        "version": None if reason else version(corrected.get(side)),
    }


def image_facts(shown: Shown) -> dict[str, Any]:
    """Geometry of an image in the page's order."""
    return {
        "kind": shown.kind,
        "shape": list(shown.shape),
        "spacing": None if shown.spacing is None else [round(each, 6) for each in shown.spacing],
        "intensity": shown.intensity,
        "slices": list(shown.slice_numbers),
        "notes": list(shown.notes),
    }
