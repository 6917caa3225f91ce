"""Names that a person chooses: of the bundle, and of what its masks or classes stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import UsageError
from pipelines.starting.kinds import Kind

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_CLASS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]*")
_LONGEST = 60
_PYTHON = "letters, digits and underscores, a letter first"


def check_name(name: str, kind: Kind, folder: Path) -> None:
    """Hold the name of a bundle against what folders, MLflow and MONAI Label take.

    Args:
        name: the name.
        kind: whose task the name must say.
        folder: of bundles, in which there must be nothing of that name.

    Raises:
        UsageError: what is wrong with it.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        how = f"take {_PYTHON}, at most {_LONGEST}"
        raise UsageError(f"{name!r} is no name for a bundle", how=how)
    if kind.task not in name:
        what = f"the name {name!r} does not say {kind.task!r}, by which MONAI Label knows what a bundle is for"
        raise UsageError(what, how=f"call it {name}_{kind.task}")
    if (folder / name).exists() or (folder / name).is_symlink():
        raise UsageError("it is there already", where=folder / name, how="choose another NAME, or remove it first")


def checked_names(names: Sequence[str], kind: Kind) -> dict[int, str]:
    """What each value stands for: 0 is background where they are labels of masks.

    Raises:
        UsageError: a name that cannot be that of a metric, one that is there twice, or too few.
    """
    of_masks = kind.names_kind == "labels"
    for each in names:
        if not (_NAME if of_masks else _CLASS).fullmatch(each):
            how = f"take {_PYTHON}" if of_masks else "take letters, digits, spaces, points, hyphens and underscores"
            raise UsageError(f"{each!r} is no name of {_one(kind)}", how=how)
    if of_masks and names[:1] == ["background"]:
        names = names[1:]
    if len(set(names)) < len(names) or (of_masks and "background" in names):
        raise UsageError(f"a name is there twice: {', '.join(names)}", how="give each its own")
    least = 1 if of_masks else 2
    if len(names) < least:
        how = "give --labels LABEL …, without background" if of_masks else "give --classes CLASS CLASS …"
        raise UsageError(f"{kind.names_kind} are missing: there must be at least {least}", how=how)
    return dict(enumerate(["background", *names] if of_masks else list(names)))


def plain_name(name: str) -> str:
    """The name of a label with underscores where metrics can have no other letter: ``left lung`` is ``left_lung``."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
    return plain if plain[:1].isalpha() else f"label_{plain}"


def _one(kind: Kind) -> str:
    return "a label" if kind.names_kind == "labels" else "a class"
