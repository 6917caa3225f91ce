"""``start_bundle``: the data prepared, the files of the bundle made, and its folder there in one piece."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.bundle import Project, find_project, is_installed, named_from_here
from pipelines.errors import UsageError
from pipelines.preparation.new_folder import new_folder
from pipelines.starting.architectures import Architecture, architectures
from pipelines.starting.files_of_bundle import TEMPLATES, Facts, write_files
from pipelines.starting.kinds import Kind, knobs_like, labels_like, like
from pipelines.starting.names import check_name, checked_names
from pipelines.starting.raw_data import PreparedData, data_folder, prepared_data


@dataclass(frozen=True)
class Started:
    """What was begun.

    Attributes:
        bundle: its folder.
        project: the folder in which ``data/`` and ``mlruns/`` are looked for.
        data: the prepared data; None where none were given.
        names: what values or classes stand for.
        networks: the default first.
        found_by_name: whether commands find it by its name, started where this one was.
    """

    bundle: Path
    project: Path
    data: PreparedData | None
    names: dict[int, str]
    networks: list[Architecture]
    found_by_name: bool

    @property
    def shown_name(self) -> str:
        """How commands of this working directory name the bundle."""
        return self.bundle.name if self.found_by_name else named_from_here(self.bundle)


def start_bundle(
    name: str,
    like_what: str,
    project: Project,
    *,
    names: Sequence[str] | None = None,
    names_kind: str | None = None,
    data: Path | None = None,
    out: Path | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Started:
    """Write a bundle for a person's own data, whole or not at all.

    Args:
        name: of the bundle; it says "segmentation" or "classification".
        like_what: a kind, or a bundle whose kind and networks are taken.
        project: whose bundles there are, and to which the new one is added.
        names: of the labels, without background, or of the classes; None to take those of ``data``.
        names_kind: "labels" or "classes", as which they were given; None for what the kind has.
        data: a raw folder, which is prepared to ``data/NAME`` of the project, or a prepared one.
        out: a folder to be the project instead: the bundle is ``out/bundles/NAME``.
        say: is told what is done.

    Raises:
        UsageError: a name, kind or layout that cannot be.
        OutputError: the folder cannot be written.
        PipelinesError: what ``data prepare`` raises.
    """
    kind, bundle = like(like_what, project.bundles)
    root, folder = _place(project, out)
    check_name(name, kind, folder)
    if names_kind not in (None, kind.names_kind):
        raise UsageError(f"{kind.name} has {kind.names_kind}, not {names_kind}", how=f"give --{kind.names_kind}")
    target = root / "data" / name
    if data is None and names is None:
        how = f"give --data DIR ({kind.about}), or --{kind.names_kind} and a name for each"
        raise UsageError(f"it is not known which {kind.names_kind} there are", how=how)
    chosen = None if names is None else checked_names(names, kind)
    if data is not None and target.exists() and data.resolve() != target.resolve():
        how = f"give --data {named_from_here(target)} to use what it holds, or remove it first"
        raise UsageError("there is a folder of data already", where=target, how=how)
    was_there = target.exists()
    try:
        usual = [] if bundle is None else labels_like(bundle)
        found = None if data is None else prepared_data(data, target, kind, names, usual, say)
        due = dict(found.names) if found is not None else dict(chosen or {})
        say("choosing networks")
        networks = architectures(kind, channels_out(kind, due), TEMPLATES / kind.name, bundle)
        facts = Facts(
            name=name,
            kind=kind,
            names=due,
            networks=networks,
            dataset_dir=data_folder(target if found is None else found.folder, root),
            like=like_what,
            images=[] if found is None else list(found.images),
            knobs={} if bundle is None else knobs_like(bundle, kind),
        )
        with new_folder(folder / name, lambda _: False) as partial:
            write_files(facts, partial)
    except BaseException:
        if data is not None and not was_there:
            shutil.rmtree(target, ignore_errors=True)  # or the same command would be refused
        raise
    by_name = find_project().bundles.resolve() == folder.resolve()
    return Started(folder / name, root, found, due, networks, by_name)


def channels_out(kind: Kind, names: Mapping[int, str]) -> int:
    """How many logits networks give: one for one label beside background, else one for each value or class."""
    return 1 if kind.names_kind == "labels" and len(names) == 2 else len(names)


def _place(project: Project, out: Path | None) -> tuple[Path, Path]:
    """The project's folder, and that of its bundles, where the new one goes."""
    if out is not None:
        return out.absolute(), out.absolute() / "bundles"
    if is_installed(project.bundles / "any"):
        return Path.cwd(), Path.cwd() / "bundles"  # nothing is written into an installed package
    return project.bundles.parent, project.bundles
