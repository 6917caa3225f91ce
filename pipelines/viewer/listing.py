"""What the page is told of cases, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.key_figures import classes, figures, warnings
from pipelines.viewer.cases import Case, Folder
from pipelines.viewer.corrections import version
from pipelines.viewer.images import Shown
from pipelines.viewer.pairs import Entry


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
        "corrected": first.corrected() is not None,
    }


def _without_path(case: Case) -> str:
    """What is wrong, without the path of the input before it: the list has its name."""
    return str(case.error).removeprefix(f"{case.image}: ")


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
    corrected = entry.first.corrected()
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
                "notes": [str(note) for note in case.report.get("notes") or ()],
                "network": case.report.get("network"),
                "use": case.report.get("use"),
            }
        )
    return {
        **line(entry, number),
        "sides": sides,
        "input": None if entry.first.image is None else str(entry.first.image),
        "labels": [{"value": value, "name": name} for value, name in sorted(labels.items()) if value],
        "layers": [
            {"key": key, "title": layer.title, "side": entry.cases.index(case)} for key, case, layer in entry.layers()
        ],
        "corrected": None if corrected is None else corrected.relative_to(entry.first.folder).as_posix(),
        "version": version(corrected),
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
