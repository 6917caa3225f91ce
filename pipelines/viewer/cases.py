"""The cases of a folder, as plain data: what ``predict`` wrote, a prepared dataset, or a run's evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UsageError
from pipelines.predicted import (
    MANIFEST,
    PredictedCase,
    corrected_mask,
    found_again,
    found_inside,
    lies_in,
    read_manifest,
)

DATALIST = "datalist.json"
EVALUATED, NAMED = "cases.json", "labels.json"
_EVALUATION_HOMES = (".", "masks", "evaluation/masks")
SECTIONS = ("training", "validation", "test")
_MOST_BYTES = 64 * 2**20  # of a list or report
_NOT_PREDICTED = "only masks in a folder that predict wrote can be corrected, for data prepare to take"
_NO_MASK = "this case has no mask that could be corrected"
_AGAIN = "give the folder that predict, data prepare or evaluate wrote"


@dataclass(frozen=True)
class Layer:
    """A mask that may be laid over a case's image: ``key`` is unique in the case, ``title`` is for people; ``outside``
    says that it need not lie in the folder (the truth of an evaluation)."""

    key: str
    title: str
    path: Path
    outside: bool = False


@dataclass(frozen=True)
class Case:
    """One case of a folder.

    Attributes:
        name: unique in the folder; may hold slashes.
        folder: the folder that was given.
        status: done, refused, skipped, failed, or what the manifest says; "data" in a dataset.
        image: what ``readers`` take; None where none is known.
        error: why there is nothing to show, and what to do.
        layers: its masks, of which the first may be corrected where the folder is one that predict wrote.
        labels: names of the values of its masks.
        overlay: a PNG that goes with it.
        report: what the writer of predictions said of it, {} where there is none.
        facts: further words for the list (the split, the patient).
        predicted: whether predict wrote the folder.
        shown: the image's path as the page may say it; None for the path.
    """

    name: str
    folder: Path
    status: str
    image: Path | None = None
    error: str | None = None
    layers: tuple[Layer, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    overlay: Path | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    predicted: bool = False
    shown: str | None = None

    @property
    def kind(self) -> str | None:
        """ "volume" or "picture", where the report says which."""
        kind = self.report.get("kind")
        return kind if kind in ("volume", "picture") else None

    @property
    def not_correctable(self) -> str | None:
        """Why the first mask cannot be corrected; None where it can."""
        if not self.layers:
            return _NO_MASK
        return None if self.predicted else _NOT_PREDICTED

    def corrected(self) -> Path | None:
        """The corrected mask as it is now; None where there is none."""
        return corrected_mask(self.folder, self.name, self.layers[0].path if self.layers else None)


@dataclass(frozen=True)
class Folder:
    """A folder with its cases; ``kind`` is "predictions", "dataset" or "evaluation"."""

    path: Path
    kind: str
    cases: tuple[Case, ...]

    @property
    def title(self) -> str:
        return self.path.resolve().name


def read_folder(path: Path) -> Folder:
    """Read which cases a folder holds; no image is opened.

    Raises:
        UsageError: there is no such folder, or it is none of these.
        UnreadableFileError, DatalistError: its list cannot be read, or names no case.
    """
    if not path.is_dir():
        what = "there is no such folder" if not path.exists() else "is a file, and a folder is due"
        raise UsageError(what, where=path, how=_AGAIN)
    if (path / MANIFEST).is_file():
        found = Folder(path, "predictions", tuple(_predicted(path, case) for case in read_manifest(path)))
    elif (path / DATALIST).is_file():
        found = Folder(path, "dataset", tuple(_prepared(path)))
    else:
        home = next((path / each for each in _EVALUATION_HOMES if (path / each / EVALUATED).is_file()), None)
        if home is None:
            raise UsageError(
                f"the folder holds neither {MANIFEST} nor {DATALIST} nor masks of an evaluation", where=path, how=_AGAIN
            )
        found = Folder(path, "evaluation", tuple(_evaluated(home, path)))
    if not found.cases:
        raise UnreadableFileError("the folder names no case", where=path, how=_AGAIN)
    return found


def _predicted(folder: Path, found: PredictedCase) -> Case:
    report = _report(found.files.get("report"))
    mask = found.files.get("mask")
    return Case(
        found.name,
        folder,
        found.status,
        found.input,
        found.error,
        () if mask is None else (Layer("mask", "prediction", mask),),
        _labels(report.get("labels")),
        found.files.get("overlay"),
        report,
        predicted=True,
        shown=found.shown if found.shown != str(found.input) else None,
    )


def _prepared(folder: Path) -> list[Case]:
    content = _json(folder / DATALIST)
    if not isinstance(content, dict):
        raise DatalistError("the datalist is no JSON object", where=folder / DATALIST, how="prepare the data again")
    labels = _labels(content.get("labels"))
    classes = _labels(content.get("classes"))
    cases = []
    for section in SECTIONS:
        for item in content.get(section) or ():
            if not isinstance(item, dict) or not isinstance(item.get("image"), str):
                continue
            image, label = folder / item["image"], item.get("label")
            facts = {"split": section}
            shown = {key: word for key, word in item.items() if key not in ("image", "label", "case")}
            facts |= {str(key): word for key, word in shown.items() if isinstance(word, str) and word}
            if isinstance(label, int):
                facts["class"] = classes.get(label, str(label))
            masks = isinstance(label, str) and lies_in(folder / label, folder)
            inside = lies_in(image, folder)
            cases.append(
                Case(
                    str(item.get("case") or Path(item["image"]).stem),
                    folder,
                    "data" if inside else "failed",
                    image if inside else None,
                    None if inside else f"{item['image']}: the image is missing, or lies outside the folder",
                    (Layer("mask", "label", folder / str(label)),) if masks else (),
                    labels,
                    facts=facts,
                )
            )
    return cases


def _evaluated(home: Path, folder: Path) -> list[Case]:
    """Cases of an evaluation: a list of case, image, label (the truth) and mask (what was predicted), and beside it the
    names of the labels. Paths are absolute or relative to the file; masks lie beside it."""
    listed = _json(home / EVALUATED)
    labels = _labels(_json(home / NAMED)) if (home / NAMED).is_file() else {}
    cases = []
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("case"), str):
            continue
        layers = []
        for key, title in (("mask", "prediction"), ("label", "truth")):
            if isinstance(item.get(key), str):
                truth = key == "label"
                stated = str(home / item[key])
                place = found_again(stated, home) if truth else found_inside(stated, folder)
                if place is not None and _is_file(place):
                    layers.append(Layer(key, title, place, outside=truth))
        image = found_again(str(home / item["image"]), home, folder) if isinstance(item.get("image"), str) else None
        cases.append(Case(item["case"], folder, "done", image, None, tuple(layers), labels))
    return cases


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no file can have this name
        return False


def _report(path: Path | None) -> dict[str, Any]:
    try:
        content = None if path is None else _json(path)
    except PipelinesError:
        return {}
    return content if isinstance(content, dict) else {}


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UnreadableFileError("the file is too large to be a list of cases", where=path, how=_AGAIN)
        return json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFileError(f"the file cannot be read ({error})", where=path, how=_AGAIN) from None


def _labels(found: Any) -> dict[int, str]:
    if not isinstance(found, dict):
        return {}
    values = {value: int(value) for value in found if len(value) <= 3 and value.isdecimal()}
    return {number: str(found[value]) for value, number in values.items() if number < 256}
