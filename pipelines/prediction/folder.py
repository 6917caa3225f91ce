"""A file or folder in, masks and a manifest out: one bad case stops no other, and what was interrupted goes on."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from monai.bundle import ConfigParser

from pipelines.errors import OutputError, PipelinesError, SeriesError, UnreadableFileError
from pipelines.handlers import CaseWriter, Finding
from pipelines.predicted import MANIFEST, Outcome, read_outcomes
from pipelines.prediction.index_page import IndexPage
from pipelines.prediction.manifest import INTERRUPTED, Manifest, input_digest, recipe_of
from pipelines.prediction.model import Model, Prepared
from pipelines.prediction.opening import fault_behind
from pipelines.preparation.case_list import CaseList
from pipelines.preparation.cases import look_for_cases, look_for_listed
from pipelines.readers import Found

logger = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_T = TypeVar("_T")
Report = Callable[[Outcome | None, int, int], None]
Progress = Callable[[str, int, int], object]
Due = tuple[dict[str, Any], Outcome]  # a case as ``look_for_cases`` gives it, and its line, to be completed
Answer = tuple[Outcome, int]  # a case's line, and its exit code


@dataclass(frozen=True)
class Asked:
    """Of what answers are made; it can be sent to another process.

    Attributes:
        bundle, out: folders, absolute.
        network, overlays, overrides: as ``predict`` takes them.
    """

    bundle: Path
    out: Path
    network: str | None = None
    overlays: tuple[str, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)

    def open(self, **more: Any) -> Model:
        """The model; ``more`` goes over the overrides.

        Raises:
            PipelinesError: as ``Model``.
        """
        overrides = {**self.overrides, **more}
        return Model(self.bundle, self.network, self.overlays, output_dir=str(self.out), **overrides)

    def recipe(self, model: Model) -> str:
        """``recipe_of`` the answers that the model gives."""
        asked = {"network": self.network, "overlays": list(self.overlays), **self.overrides}
        return recipe_of(self.bundle, model.workflow.handlers, asked)


Elsewhere = Callable[[Asked, Sequence[Due]], Generator[Answer, None, None]]


def predict(
    bundle: str | Path,
    source: str | Path | Sequence[str | Path] | CaseList,
    out: str | Path,
    *,
    base: str | Path | None = None,
    network: str | None = None,
    overlays: Sequence[str] = (),
    report: Report | None = None,
    progress: Progress | None = None,
    series: str | None = None,
    resume: bool = False,
    elsewhere: Elsewhere | None = None,
    keep_identifiers: bool = False,
    **overrides: Any,
) -> list[Answer]:
    """Runs ``configs/inference.yaml`` of a bundle on each case at ``source``; writes ``out/manifest.jsonl`` and
    ``out/index.html`` as it goes.

    Args:
        bundle: the bundle's folder.
        source: a picture, a volume, a DICOM series folder, an archive, or a folder of many; or several of these; or a
            list that names some.
        out: where masks, overlays, reports, the manifest and the page go.
        base: the folder that the names of cases begin in; several sources lie in it. None for the source's own.
        network: an overlay of ``configs/networks``; None for the bundle's default.
        overlays: further configs of the bundle by name (``severity``), laid over ``inference.yaml`` in this order.
        report: called with the outcome of each case, how many are done, and how many there are, once it is written (a
            picture is written while the next one is computed); and before the first one, without an outcome.
        progress: called within a case: its name, how many of its slices are done, and how many there are.
        series: only the DICOM series with this SeriesInstanceUID or SeriesNumber.
        resume: leave out what the manifest has as done with equal input, weights and options. Lines of other inputs,
            whose answers are there, stay.
        elsewhere: makes the answers in other processes, in any order, and writes the files of each case; None for
            one case after the other in this one. ``progress`` is not called then.
        keep_identifiers: names of cases and the manifest's inputs may hold what DICOM headers say of a patient, where
            the input's path does.
        overrides: top-level ids of the config (``checkpoint``, ``device``, ``flips``, …).

    Returns:
        (outcome, exit code) of each case, in the order in which they were done.

    Raises:
        UsageError: there is no such bundle, network or overlay.
        ConfigError: the bundle's config cannot be used.
        WeightsError, UnreadableFileError: the weights or the source cannot be used.
        OutputError: ``out`` cannot be written.
        KeyboardInterrupt, SystemExit: as they came; the manifest and the page say which cases were not done.
    """
    bundle, out = Path(bundle), Path(out)
    items, unusable = _looked_at(source, out, series, None if base is None else Path(base), keep=keep_identifiers)
    asked = Asked(bundle.absolute(), out.absolute(), network, tuple(overlays), overrides)
    model = asked.open(**({} if elsewhere is None else _on_cpu(bundle)))
    recipe = asked.recipe(model)
    known: dict[Path, str] = {}
    due = [
        Outcome(
            item["image"], INTERRUPTED, None, None, None, item["case"],
            input_digest(Path(item["image"]), known, out.resolve()), recipe,
        )
        for item in items
    ]  # fmt: skip
    earlier = read_outcomes(out) if resume and os.path.lexists(out / MANIFEST) else {}
    kept = [replace(earlier[e.key], input=e.input) for e in due if e.key in earlier and earlier[e.key].holds(e)]
    asked_for = {each.key for each in due} | {outcome.key for outcome, _ in unusable}
    names = {each.case for each in due}
    others = [e for e in earlier.values() if e.key not in asked_for and e.case not in names and e.there]
    manifest, page = Manifest(out, [*others, *kept], hide=not keep_identifiers), IndexPage(out, bundle.name)
    outcomes = [(each, 0) for each in kept]
    total, skip = len(unusable) + len(items), {each.input for each in kept}
    rest = [(item, each) for item, each in zip(items, due, strict=True) if each.input not in skip]
    try:
        page.add(*map(manifest.shown, (*others, *kept)))
        if report is not None:
            report(None, len(kept), total)
        with contextlib.closing(_here(model, rest, progress) if elsewhere is None else elsewhere(asked, rest)) as made:
            for outcome, code in chain(unusable, made):
                shown = manifest.add(outcome)
                outcomes.append((outcome, code))
                page.add(shown)
                if report is not None:
                    report(shown, len(outcomes), total)
    except BaseException:
        done = {outcome.input for outcome, _ in outcomes}
        left = [*(each for each, _ in unusable), *(each for _, each in rest)]
        for each in left:
            if each.input not in done:
                text = "interrupted before it was done; the same call with --resume goes on"
                missing = replace(each, status=INTERRUPTED, error=text)
                with contextlib.suppress(OutputError):  # why it ends is what is to be said
                    manifest.add(missing)
                page.add(manifest.shown(missing))
        raise
    finally:
        if elsewhere is not None and any(code == 0 for _, code in outcomes):
            with contextlib.suppress(OutputError):
                model.writer.summarise()
        manifest.close()
        page.close()
    return outcomes


def _on_cpu(bundle: Path) -> dict[str, Any]:
    """What keeps a model that is not to answer away from the GPU."""
    config = bundle / "configs" / "inference.yaml"
    known = ConfigParser.load_config_file(str(config)) if config.is_file() else {}
    return {"device": torch.device("cpu")} if "device" in known else {}


def _here(model: Model, rest: Sequence[Due], progress: Progress | None) -> Generator[Answer, None, None]:
    """The outcome of each case, in order. A picture is written while the next one is computed, and not while it is
    read: readers take what libraries say meanwhile for their own."""
    model.cases = max(1, len(rest))
    with ThreadPoolExecutor(1) as aside:
        before: _Answer | None = None  # computed, and not written yet
        writing: Future[Answer] | None = None
        try:
            for item, due in rest:
                prepared = _without_fault(due, model.prepare, item)
                if before is not None:
                    writing, before = aside.submit(before.write), None
                inside = None if progress is None else functools.partial(progress, item["case"])
                flat = isinstance(prepared, Prepared) and prepared.flat
                found = (
                    prepared if isinstance(prepared, tuple) else _without_fault(due, model.compute, prepared, inside)
                )
                del prepared  # a long volume is large
                if writing is not None:
                    yield writing.result()
                    writing = None
                if isinstance(found, tuple):
                    yield found
                elif flat:
                    before = _Answer(model.writer, found, due)
                else:
                    yield _Answer(model.writer, found, due).write()
        except (KeyboardInterrupt, SystemExit, GeneratorExit) as ended:
            if writing is not None and not isinstance(ended, GeneratorExit):
                yield writing.result()
            elif before is not None and not isinstance(ended, GeneratorExit):
                yield before.write()
            raise
        if before is not None:
            yield before.write()


def _looked_at(
    source: str | Path | Sequence[str | Path] | CaseList,
    out: Path,
    series: str | None,
    base: Path | None,
    *,
    keep: bool,
) -> tuple[list[dict[str, Any]], list[Answer]]:
    if isinstance(source, CaseList):
        items, passed = look_for_listed(source, series, keep_identifiers=keep)
        here, listed = out.resolve(), {str(each.path) for each in source.entries}
        own = [
            each for each in items if each["image"] in listed or not Path(each["image"]).resolve().is_relative_to(here)
        ]
        return own, _unusable(passed)
    sources = [source] if isinstance(source, (str, Path)) else source
    looked = [_cases(Path(each), out, series, base, keep=keep) for each in sources]
    found, unusable = ([each for part in parts for each in part] for parts in zip(*looked, strict=True))
    return found, unusable


def _unusable(passed: Sequence[Found]) -> list[Answer]:
    return [
        (_refused(each.path, each.fault, each.status), each.fault.exit_code)
        for each in passed
        if each.fault is not None
    ]


def _refused(path: Path, fault: PipelinesError, status: str = "refused") -> Outcome:
    return Outcome(str(path), status, str(fault), kind=type(fault).__name__)


def _cases(
    source: Path, out: Path, series: str | None, base: Path | None, *, keep: bool
) -> tuple[list[dict[str, Any]], list[Answer]]:
    """Items to look at, and the outcomes of what cannot be."""
    try:
        items, passed = look_for_cases(source, series, base, keep_identifiers=keep)
    except PipelinesError as error:
        if not source.is_file() or isinstance(error, SeriesError):
            raise
        return [], [(_refused(source, error), error.exit_code)]
    here, root = out.resolve(), source.resolve()
    if here == root and source.is_dir():
        what = "results would lie among the inputs, and be inputs of the next call"
        raise OutputError(what, where=out, how="choose a folder of its own for --out, in this one if you like")
    if here != root and here.is_relative_to(root):  # what an earlier call has written there is no input
        items = [item for item in items if not Path(item["image"]).resolve().is_relative_to(here)]
        passed = [each for each in passed if not each.file.resolve().is_relative_to(here)]
    unusable = _unusable(passed)
    if not items and not unusable:
        raise UnreadableFileError(
            "the folder holds nothing but results of an earlier call", where=source, how="give the folder of images"
        )
    return items, unusable


def predict_case(
    model: Model, item: dict[str, Any], due: Outcome, progress: Progress | None = None, *, summarise: bool = True
) -> Answer:
    """What comes of a case, its files written: all or none.

    Args:
        summarise: also write what is to be said of all cases together, which one process must do alone.

    Raises:
        OutputError: the disk is full or must not be written, which the next case would meet too.
    """
    inside = None if progress is None else functools.partial(progress, item["case"])
    found = _without_fault(due, model.find, item, inside)
    return found if isinstance(found, tuple) else _Answer(model.writer, found, due, summarise).write()


@dataclass(frozen=True, eq=False)
class _Answer:
    """A finding that is not written yet."""

    writer: CaseWriter
    finding: Finding
    due: Outcome
    summarise: bool = True

    def write(self) -> Answer:
        written = _without_fault(self.due, self._files)
        if isinstance(written, tuple):
            return written
        paths = {kind: str(path) for kind, path in written.items()}
        mask, report = paths.pop("mask", None), paths.pop("report")
        return replace(self.due, status="done", mask=mask, report=report, files=paths), 0

    def _files(self) -> dict[str, Path]:
        files = self.writer.write(self.finding)
        if self.summarise:
            self.writer.summarise()
        return files


def _without_fault(due: Outcome, call: Callable[..., _T], *args: Any) -> _T | Answer:
    """What a call gives, or the outcome of the case with its fault; a fault that the next case would meet too is
    raised."""
    try:
        return call(*args)
    except Exception as error:
        fault = fault_behind(error)
        if fault is None:
            logger.debug("the case failed", exc_info=error)
            kind = type(error).__name__
            return replace(due, status="failed", error=f"{kind}: {error}", kind=kind), 1
        if isinstance(fault, OutputError) and getattr(fault.__cause__, "errno", None) in _NO_ROOM:
            raise fault from fault.__cause__
        status = "failed" if isinstance(fault, OutputError) else "refused"
        return replace(due, status=status, error=str(fault), kind=type(fault).__name__), fault.exit_code
