"""A file or folder in, masks and a manifest out: one bad case stops no other, and what was interrupted goes on."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from pipelines.errors import OutputError, PipelinesError, SeriesError, UnreadableFileError
from pipelines.predicted import MANIFEST, Outcome, read_outcomes
from pipelines.prediction.index_page import IndexPage
from pipelines.prediction.manifest import INTERRUPTED, Manifest, input_digest, recipe_of
from pipelines.prediction.model import Model
from pipelines.prediction.opening import fault_behind
from pipelines.preparation.cases import look_for_cases

logger = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Report = Callable[[Outcome | None, int, int], None]


def predict(
    bundle: str | Path,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    base: str | Path | None = None,
    network: str | None = None,
    overlays: Sequence[str] = (),
    report: Report | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    series: str | None = None,
    resume: bool = False,
    keep_identifiers: bool = False,
    **overrides: Any,
) -> list[tuple[Outcome, int]]:
    """Runs ``configs/inference.yaml`` of a bundle on each case at ``source``; writes ``out/manifest.jsonl`` and
    ``out/index.html`` as it goes.

    Args:
        bundle: the bundle's folder.
        source: a picture, a volume, a DICOM series folder, an archive, or a folder of many; or several of these.
        out: where masks, overlays, reports, the manifest and the page go.
        base: the folder that the names of cases begin in; several sources lie in it. None for the source's own.
        network: an overlay of ``configs/networks``; None for the bundle's default.
        overlays: further configs of the bundle by name (``severity``), laid over ``inference.yaml`` in this order.
        report: called with the outcome of each case, how many are done, and how many there are, before the next case is
            begun; and before the first one, without an outcome.
        progress: called within a case: its name, how many of its slices are done, and how many there are.
        series: only the DICOM series with this SeriesInstanceUID or SeriesNumber.
        resume: leave out what the manifest has as done with equal input, weights and options. Lines of other inputs,
            whose answers are there, stay.
        keep_identifiers: names of cases may hold what DICOM headers say of a patient, where the input's path does.
        overrides: top-level ids of the config (``checkpoint``, ``device``, ``flips``, …).

    Returns:
        (outcome, exit code) of each case, in order.

    Raises:
        UsageError: there is no such bundle, network or overlay.
        ConfigError: the bundle's config cannot be used.
        WeightsError, UnreadableFileError: the weights or the source cannot be used.
        OutputError: ``out`` cannot be written.
        KeyboardInterrupt, SystemExit: as they came; the manifest and the page say which cases were not done.
    """
    bundle, out = Path(bundle), Path(out)
    sources = [source] if isinstance(source, (str, Path)) else source
    begun = None if base is None else Path(base)
    looked = [_cases(Path(each), out, series, begun, keep_identifiers) for each in sources]
    items, unusable = ([each for part in parts for each in part] for parts in zip(*looked, strict=True))
    asked = {"network": network, "overlays": list(overlays), **overrides}
    model = Model(bundle, network, overlays, output_dir=str(out.absolute()), **overrides)
    recipe = recipe_of(bundle, model.workflow.handlers, asked)
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
    manifest, page = Manifest(out, [*others, *kept]), IndexPage(out, bundle.name)
    outcomes = [(each, 0) for each in kept]
    total, skip = len(unusable) + len(items), {each.input for each in kept}
    rest = [(item, each) for item, each in zip(items, due, strict=True) if each.input not in skip]
    try:
        page.add(*others, *kept)
        if report is not None:
            report(None, len(kept), total)
        made = (_predict_case(model, item, each, progress) for item, each in rest)
        model.cases = max(1, len(rest))
        for outcome, code in chain(unusable, made):
            manifest.add(outcome)
            outcomes.append((outcome, code))
            page.add(outcome)
            if report is not None:
                report(outcome, len(outcomes), total)
    except BaseException:
        done = {outcome.input for outcome, _ in outcomes}
        left = [*(each for each, _ in unusable), *(each for _, each in rest)]
        for each in left:
            if each.input not in done:
                text = "interrupted before it was done; the same call with --resume goes on"
                missing = replace(each, status=INTERRUPTED, error=text)
                with contextlib.suppress(OutputError):  # why it ends is what is to be said
                    manifest.add(missing)
                page.add(missing)
        raise
    finally:
        manifest.close()
        page.close()
    return outcomes


def _cases(
    source: Path, out: Path, series: str | None, base: Path | None, keep: bool
) -> tuple[list[dict[str, Any]], list[tuple[Outcome, int]]]:
    """Items to look at, and the outcomes of what cannot be."""
    try:
        items, passed = look_for_cases(source, series, base, keep_identifiers=keep)
    except PipelinesError as error:
        if not source.is_file() or isinstance(error, SeriesError):
            raise
        return [], [(Outcome(str(source), "refused", str(error)), error.exit_code)]
    here, root = out.resolve(), source.resolve()
    if here == root and source.is_dir():
        what = "results would lie among the inputs, and be inputs of the next call"
        raise OutputError(what, where=out, how="choose a folder of its own for --out, in this one if you like")
    if here != root and here.is_relative_to(root):  # what an earlier call has written there is no input
        items = [item for item in items if not Path(item["image"]).resolve().is_relative_to(here)]
        passed = [each for each in passed if not each.file.resolve().is_relative_to(here)]
    unusable = [
        (Outcome(str(each.path), each.status, str(each.fault)), each.fault.exit_code)
        for each in passed
        if each.fault is not None
    ]
    if not items and not unusable:
        raise UnreadableFileError(
            "the folder holds nothing but results of an earlier call", where=source, how="give the folder of images"
        )
    return items, unusable


def _predict_case(
    model: Model, item: dict[str, Any], due: Outcome, progress: Callable[[str, int, int], object] | None
) -> tuple[Outcome, int]:
    inside = None if progress is None else lambda done, of: progress(item["case"], done, of)
    try:
        finding = model.find(item, inside)
        files = model.writer.write(finding)
        model.writer.summarise()
    except Exception as error:
        fault = fault_behind(error)
        if fault is None:
            logger.debug("the case failed", exc_info=error)
            return replace(due, status="failed", error=f"{type(error).__name__}: {error}"), 1
        if isinstance(fault, OutputError) and getattr(fault.__cause__, "errno", None) in _NO_ROOM:
            raise fault from fault.__cause__  # the next case would meet it too
        status = "failed" if isinstance(fault, OutputError) else "refused"
        return replace(due, status=status, error=str(fault)), fault.exit_code
    paths = {kind: str(path) for kind, path in files.items()}
    return replace(due, status="done", mask=paths.pop("mask", None), report=paths.pop("report"), files=paths), 0
