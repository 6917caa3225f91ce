"""The data that a new bundle is for: prepared already, or raw and prepared now."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import DatalistError, UsageError
from pipelines.preparation.datalist import DATALIST, load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.starting.kinds import Kind
from pipelines.starting.names import checked_names, plain_name
from pipelines.tasks.registry import DATASETS

_UNNAMED = re.compile(r"label \d+")  # what `data prepare` calls a label that has no name
_VOLUMES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class PreparedData:
    """A prepared folder.

    Attributes:
        folder: where it is.
        names: what its values, or its classes, stand for.
        sizes: how many cases there are of each section.
        images: of the training cases.
    """

    folder: Path
    names: Mapping[int, str]
    sizes: Mapping[str, int]
    images: Sequence[Path]


def prepared_data(
    data: Path,
    target: Path,
    kind: Kind,
    names: Sequence[str] | None,
    usual: Sequence[str],
    say: Callable[[str], object],
) -> PreparedData:
    """The prepared folder of a new bundle: ``data`` itself if it is one, else ``target``, to which it is prepared.

    Args:
        data: a folder with a datalist, or a raw one in the layout of the kind.
        target: where what is prepared goes; there must be nothing.
        kind: of the bundle.
        names: of its labels or classes; None to take those of the data.
        usual: names of labels, background first, for data that name none and have as many.
        say: is told what is done.

    Raises:
        UsageError: the data are not of the kind, or have other names.
        DatalistError: the prepared folder cannot be used.
        PipelinesError: what ``data prepare`` raises.
    """
    if not data.is_dir():
        raise UsageError("there is no such folder", where=data, how=f"give --data {kind.about}")
    if (data / DATALIST).is_file():
        return _read(data, kind, names)
    dataset = DATASETS[kind.layout]
    prepare = functools.partial(dataset.preparer(), *dataset.fixed, data, target)
    say(f"preparing {data}")
    prepare(**({} if names is None else {kind.names_kind: list(checked_names(names, kind).values())}))
    if names is None and kind.names_kind == "labels":
        found = list(_names_of(load_datalist(target), kind, target))
        unnamed = all(_UNNAMED.fullmatch(each) for each in found[1:]) and len(found) == len(usual)
        plain = list(usual) if unnamed else ["background", *(plain_name(each) for each in found[1:])]
        if found != plain:
            say(f"preparing it again, its labels called {', '.join(plain)} (--labels gives them other names)")
            prepare(labels=plain, force=True)
    return _read(target, kind, names)


def _names_of(content: Mapping[str, Any], kind: Kind, folder: Path) -> list[str]:
    found = content.get(kind.names_kind)
    if found is None:
        has = "classes" if kind.names_kind == "labels" else "masks"
        raise UsageError(f"the cases have {has}", where=folder, how="choose another kind with --like")
    return [found[key] for key in sorted(found, key=int)]


def _read(folder: Path, kind: Kind, names: Sequence[str] | None) -> PreparedData:
    content = load_datalist(folder)
    found = _names_of(content, kind, folder)
    if kind.names_kind == "labels" and found[0] != "background":
        how = f"prepare them again with --labels background {' '.join(found[1:])}"
        raise UsageError(
            f"the value 0 of its masks is called {found[0]!r}, and background is due", where=folder, how=how
        )
    due = checked_names(found, kind)
    if names is not None and checked_names(names, kind) != due:
        said, given = ", ".join(due.values()), ", ".join(checked_names(names, kind).values())
        what = f"its {kind.names_kind} are {said}, and you gave {given}"
        raise UsageError(what, where=folder, how=f"leave out --{kind.names_kind}")
    images = [Path(item["image"]) for item in content["training"]]
    volumes = {str(path).endswith(_VOLUMES) for path in images}
    if volumes == {True, False}:
        raise DatalistError("some cases are pictures and some are volumes", where=folder, how="prepare them apart")
    if volumes != {kind.spatial_dims == 3}:
        other = "volume_segmentation" if volumes == {True} else "picture_segmentation"
        what = f"the cases are {'volumes' if volumes == {True} else 'pictures'}"
        raise UsageError(what, where=folder, how=f"begin the bundle with --like {other}")
    return PreparedData(folder, due, {section: len(content[section]) for section in SECTIONS}, images)


def data_folder(folder: Path, project: Path) -> str:
    """A prepared folder as ``dataset_dir`` of a config, which holds no absolute path: seen from the project."""
    seen = Path(os.path.relpath(folder.absolute(), project.absolute())).as_posix()
    return f"$bundle.project_root(@root) + '/{seen}'"
