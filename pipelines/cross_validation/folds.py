"""The folds of a prepared folder, checked together, and the folder that one of them is trained and measured in."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipelines.errors import DatalistError, OutputError
from pipelines.files import make_folder
from pipelines.preparation.datalist import DATALIST, load_datalist, write_datalist
from pipelines.preparation.likeness import near_pairs, perceptual_hash
from pipelines.preparation.sections import SECTIONS

Item = dict[str, Any]
Read = Callable[[Item], NDArray]
_FOLD = re.compile(r"datalist_fold(\d+)\.json")
_HOW = "python -m pipelines data prepare DATASET --raw RAW --out {} --folds 5 --force"


@dataclass(frozen=True)
class Fold:
    """One fold: its number, and its datalist (`load_datalist`), whose test part is left out."""

    number: int
    content: Mapping[str, Any] = field(repr=False)

    @property
    def left_out(self) -> list[Item]:
        return list(self.content["test"])

    @property
    def others(self) -> list[Item]:
        return [*self.content["training"], *self.content["validation"]]


@dataclass(frozen=True)
class Extra:
    """A prepared folder whose training part joins every training, and whose validation part is watched: phantoms, or
    other pictures. Nothing of it is ever measured."""

    folder: Path
    content: Mapping[str, Any] = field(repr=False)


def read_folds(prepared: Path) -> list[Fold]:
    """The folds that ``datalist_fold0.json`` ... of a prepared folder say, in their order.

    Raises:
        DatalistError: there are none, or one alone; they are of different data (fingerprints); a case is left out by
            two of them or by none; and whatever `load_datalist` finds, such as a patient on both sides.
    """
    how = _HOW.format(prepared)
    numbers = {int(m[1]): m[0] for m in map(_FOLD.fullmatch, _names(prepared)) if m}
    if len(numbers) < 2:
        what = "there are no folds here" if not numbers else f"there is one fold alone here, {min(numbers.values())}"
        raise DatalistError(what, where=prepared, how=f"prepare the data with them: {how}")
    folds = [Fold(k, load_datalist(prepared, numbers[k])) for k in sorted(numbers)]
    marks = {_prepared(fold.content) for fold in folds}
    if len(marks) > 1:
        raise DatalistError("the folds are of different data: their fingerprints differ", where=prepared, how=how)
    everyone = {item["case"] for fold in folds for item in (*fold.others, *fold.left_out)}
    tested: dict[str, int] = {}
    for fold in folds:
        for item in fold.left_out:
            former = tested.setdefault(item["case"], fold.number)
            if former != fold.number:
                what = f"case {item['case']} is left out by fold {former} and by fold {fold.number}"
                raise DatalistError(what, where=prepared, how=how)
    missing = sorted(everyone - tested.keys())
    if missing:
        raise DatalistError(f"case {missing[0]} is left out by no fold", where=prepared, how=how)
    return folds


def _prepared(content: Mapping[str, Any]) -> Any:
    """What a list's data are told by. Lists that each leave a source out may lack cases of patients of two sources, and
    so differ in their fingerprints: they say that of all."""
    split = content.get("split")
    return (split.get("prepared") if isinstance(split, Mapping) else None) or content.get("fingerprint")


def read_extras(folders: Sequence[Path], folds: Sequence[Fold], prepared: Path) -> list[Extra]:
    """Folders whose training parts may join the training; their cases and patients are called ``extra0_NAME``, ...

    Raises:
        DatalistError: the labels or classes of one are others, or one that is not of phantoms has a patient of the
            folds; and whatever `load_datalist` finds.
    """
    due = folds[0].content
    measured = {item["patient"] for fold in folds for item in fold.left_out}
    extras = []
    for number, folder in enumerate(folders):
        content = load_datalist(folder)
        for kind in ("labels", "classes"):
            if content.get(kind) != due.get(kind):
                what = f"the {kind} are {content.get(kind)}, and those of {prepared} are {due.get(kind)}"
                raise DatalistError(what, where=folder / DATALIST, how="give a folder prepared for this bundle")
        both = {item["patient"] for section in SECTIONS for item in content[section]} & measured
        if both and not content.get("phantom"):  # all phantoms are called alike, and no two are one patient
            what = f"patient {min(both)} is also in {prepared}, and would stand on both sides of a fold"
            raise DatalistError(what, where=folder / DATALIST, how="take the patient out of one of the two folders")
        for section in SECTIONS:
            content[section] = [
                {**item, **{key: f"extra{number}_{item[key]}" for key in ("case", "patient")}}
                for item in content[section]
            ]
        extras.append(Extra(folder, content))
    return extras


def near_duplicates(folds: Sequence[Fold], extras: Sequence[Extra], read: Read) -> dict[int, set[str]]:
    """For each fold, by number, the cases that nearly equal one that it leaves out (`near_pairs`): training without
    them, most likely of a patient whom nobody named, is what leaving out means.

    Args:
        read: gives an entry's image, X x Y x Z, 0..1.
    """
    found: dict[int, set[str]] = {fold.number: set() for fold in folds}
    sections = {str(fold.number): [item["case"] for item in fold.left_out] for fold in folds}
    sections["extra"] = [item["case"] for extra in extras for item in extra.content["training"]]
    items = [item for fold in folds for item in fold.left_out]
    items += [item for extra in extras for item in extra.content["training"]]
    fold_of = {item["case"]: fold.number for fold in folds for item in fold.left_out}
    hashes = {item["case"]: perceptual_hash(read(item)) for item in items}
    for first, second, _ in near_pairs(hashes, sections):
        for one, other in ((first, second), (second, first)):
            if other in fold_of:
                found[fold_of[other]].add(one)
    return found


def write_fold(
    folder: Path,
    prepared: Path,
    content: Mapping[str, Any],
    sections: Mapping[str, Sequence[Item]],
    extras: Sequence[Extra] = (),
    leave: Collection[str] = (),
) -> Path:
    """Write a prepared folder to train in, of links to the files of others; what lay there goes.

    With extra data, their training parts join the training, and their validation parts are watched in the place of the
    validation part given, which is trained on. Where no test part is given, it is that of the first extra folder.

    Args:
        content: the datalist that the new one takes its head from.
        sections: entries with absolute paths in ``prepared``: training, validation, test.
        leave: cases that are not to be trained on.

    Raises:
        DatalistError: nothing is left to train on.
        OutputError: the folder cannot be written.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        parts = {name: _linked(sections.get(name, ()), prepared, folder, "") for name in SECTIONS}
        if extras:
            parts["training"] += parts["validation"]
            parts["validation"] = []
        for number, extra in enumerate(extras):
            taken = ("training", "validation") if parts["test"] else SECTIONS
            for name in taken:
                parts[name] += _linked(extra.content[name], extra.folder, folder, f"extra{number}/")
    except OSError as error:
        raise OutputError(f"the data of a fold cannot be written ({error.strerror})", where=folder) from error
    parts["training"] = [item for item in parts["training"] if item["case"] not in leave]
    if not parts["training"]:
        raise DatalistError(
            "nothing is left to train on: all other cases nearly equal one that is left out",
            where=prepared, how="look at report.md of the prepared folder, or ask for fewer folds",
        )  # fmt: skip
    head = {key: value for key, value in content.items() if key not in (*SECTIONS, "counts")}
    if extras:
        head["extra_training"] = [extra.content.get("fingerprint", "") for extra in extras]
    write_datalist(folder / DATALIST, {**head, **parts})
    return folder


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        how = "give the folder that `data prepare` wrote"
        raise DatalistError(f"there is no prepared folder here ({error.strerror})", where=folder, how=how) from None


def _linked(items: Iterable[Item], source: Path, folder: Path, prefix: str) -> list[Item]:
    """The entries with paths relative to the new folder, where links to their files now lie."""
    root, made = source.resolve(), []
    for item in items:
        own = dict(item)
        for key in ("image", "label"):
            if isinstance(item[key], str):
                own[key] = prefix + Path(item[key]).relative_to(root).as_posix()
                target = folder / own[key]
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    _link(Path(item[key]), target)
        made.append(own)
    return made


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
