"""All folds of a prepared folder, one after the other or some at a time, in one run of the tracking store."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlflow.exceptions import MlflowException

from pipelines.bundle import description
from pipelines.cross_validation.folds import Extra, Fold, near_duplicates, read_extras, read_folds, write_fold
from pipelines.cross_validation.plan import CrossValidation, Say, image_reader, same_settings
from pipelines.cross_validation.pooling import fold_estimates, folds_table, pool
from pipelines.cross_validation.processes import Processes, Stopped
from pipelines.cross_validation.steps import note_done, train_and_measure
from pipelines.errors import PipelinesError, UsageError
from pipelines.evaluation import Interval
from pipelines.evaluation.report import flatten
from pipelines.files import held, text, write_file
from pipelines.sigterm import SigtermUnwinds, Terminated
from pipelines.tracking import log_evaluation
from pipelines.tracking.run_contents import commit, log_data, versions
from pipelines.tracking.run_file import RunRecord, read_run_file, write_run_file
from pipelines.tracking.run_writer import RunWriter
from pipelines.tracking.store import open_store, redact

logger = logging.getLogger(__name__)
KEPT = "kept.json"  # in the folder of all: which folds are in the run
MEASURED = "measured.json"  # in a fold's folder, once it is
_OF_FOLD = ("data_", "dataset_dir", "datalist", "ckpt_dir", "resume", "pretrained", "epoch_length")


@dataclass(frozen=True)
class Result:
    """What was measured: the interval of each metric over all cases, a table of it and of each fold's own values, the
    folder of the evaluation, and the id of the run (None where the store cannot be used)."""

    summary: Mapping[str, Interval]
    table: str
    evaluation: Path
    run_id: str | None


def cross_validate(plan: CrossValidation, chosen: Sequence[int] = (), say: Say = logger.info) -> Result:
    """Train without each fold and measure on it, and put all that is measured into one evaluation and one run.

    Nothing is chosen on what is left out: the number of epochs is fixed, and the weights of the last are measured.
    Cases that nearly equal one left out are not trained on. What an earlier call of the same settings has done is kept:
    a fold that was measured stays, one that was begun goes on from its last checkpoint.

    Args:
        chosen: the folds to do; none: all.
        say: told what happens, in lines.

    Raises:
        UsageError: see ``CrossValidation.check``; there is no such fold; ``out`` holds folds of other settings; a
            training or an evaluation failed.
        DatalistError: see ``read_folds`` and ``read_extras``.
        OutputError: a file cannot be written, or another call writes to ``out``.
    """
    plan.check()
    folds = read_folds(plan.prepared)
    extras = read_extras(plan.extra, folds, plan.prepared)
    numbers = [fold.number for fold in folds]
    strange = sorted(set(chosen) - set(numbers))
    if strange:
        known = ", ".join(map(str, numbers))
        raise UsageError(f"there is no fold {strange[0]}", where=plan.prepared, how=f"choose from {known}")
    if plan.start is not None:
        _check_start(plan.start, chosen or numbers)
    with held(plan.out, ".cross_validation.lock"):
        return _validate(plan, folds, extras, chosen, say)


def _validate(
    plan: CrossValidation, folds: Sequence[Fold], extras: Sequence[Extra], chosen: Sequence[int], say: Say
) -> Result:
    same_settings(plan.out, plan.settings(folds, extras))
    due = [f for f in folds if (not chosen or f.number in chosen) and not (_folder(plan, f) / MEASURED).is_file()]
    for fold in folds:
        if (not chosen or fold.number in chosen) and fold not in due:
            say(f"fold {fold.number}: measured by an earlier call, kept")
    earlier = None if due else _kept_before(plan, folds)
    if earlier is not None:
        return earlier
    parent = _parent_run(plan)
    try:
        with SigtermUnwinds():
            if due:
                say("looking for cases that nearly equal one another")
                leave = near_duplicates(folds, extras, image_reader(plan))
                _run_folds(plan, due, extras, leave, parent.run_id, say)
            return _keep(plan, parent, folds)
    except BaseException as error:
        parent.end("KILLED" if isinstance(error, (KeyboardInterrupt, Terminated)) else "FAILED")
        raise


def _run_folds(
    plan: CrossValidation,
    due: Sequence[Fold],
    extras: Sequence[Extra],
    leave: Mapping[int, set[str]],
    parent: str | None,
    say: Say,
) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = {"OMP_NUM_THREADS": str(max(1, cores // min(plan.jobs, len(due))))}
    with ThreadPoolExecutor(plan.jobs) as pool_of_threads, Processes(threads) as processes:
        steps = [
            pool_of_threads.submit(_run_fold, plan, fold, extras, leave[fold.number], processes, parent, say)
            for fold in due
        ]
        try:
            wait(steps, return_when=FIRST_EXCEPTION)
        finally:
            for step in steps:
                step.cancel()
        failed = [step.exception() for step in steps if step.done() and not step.cancelled() and step.exception()]
        if failed:
            processes.stop()
            raise next((error for error in failed if not isinstance(error, Stopped)), failed[0])  # type: ignore[misc]


def _run_fold(
    plan: CrossValidation,
    fold: Fold,
    extras: Sequence[Extra],
    leave: set[str],
    processes: Processes,
    parent: str | None,
    say: Say,
) -> None:
    folder, name = _folder(plan, fold), f"fold {fold.number}"
    sections = {key: fold.content[key] for key in ("training", "validation", "test")}
    data = write_fold(folder / "data", plan.prepared, fold.content, sections, extras, leave)
    content = json.loads((data / "datalist.json").read_text(encoding="utf-8"))
    dropped = len(leave & {item["case"] for item in sections["training"] + (sections["validation"] if extras else [])})
    goes_on = " (going on from its checkpoint)" if (folder / "last.pt").is_file() else ""
    without = f", {dropped} dropped that nearly equal one left out" if dropped else ""
    among = f", {len(sections['validation'])} of them the fold's validation part" if extras else ""
    training = f"training on {len(content['training'])} cases{among}{without}{goes_on}"
    measuring = f"measuring {len(content['test'])} cases"
    try:
        train_and_measure(
            plan, data, folder, f"{plan.name}-fold{fold.number}", processes, parent,
            say=lambda line: say(f"{name}: {line}"), training=training, measuring=measuring,
        )  # fmt: skip
        estimates = fold_estimates(folder / "evaluation")
    except UsageError as error:
        raise UsageError(f"{name}: {error.what}", where=error.where, how=error.how) from error
    note_done(folder / MEASURED, cases=len(content["test"]))
    metric = plan.key_metric if plan.key_metric in estimates else next(iter(estimates), "")
    say(f"{name}: done, {metric.removeprefix('test_')} {estimates.get(metric, math.nan):.4f}")


def _folder(plan: CrossValidation, fold: Fold) -> Path:
    return plan.out / f"fold{fold.number}"


def _check_start(start: Path, numbers: Sequence[int]) -> None:
    for number in numbers:
        path = start / f"fold{number}" / "last.pt"
        if not path.is_file():
            what = f"the earlier call has no weights of fold {number}"
            raise UsageError(what, where=path, how="give the --out of a call that was done")


def _parent_run(plan: CrossValidation) -> RunWriter:
    """The run that the folds' runs are nested in; a cross-validation that goes on gets its run back."""
    earlier = read_run_file(plan.out)
    if earlier is not None and earlier.tracking_uri == redact(plan.uri):
        writer = RunWriter(plan.uri, earlier.run_id, plan.out)
        if writer.exists():
            return writer
    writer = RunWriter(plan.uri, folder=plan.out)
    tags = {"cross_validation": "folds", **versions(), **commit()}
    name = f"{'-'.join([plan.name, *plan.overlays])}-cross-validation"
    started = writer.start(plan.bundle.name, name, tags, description(plan.bundle), plan.name)
    writer.params({"network": plan.name})
    log_data(writer, plan.prepared / "datalist.json", "cross-validation")
    if started is not None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        write_run_file(plan.out, RunRecord(started, plan.bundle.name, redact(plan.uri), plan.name, now))
    return writer


def _pooled(plan: CrossValidation, folds: Sequence[Fold], run_id: str | None) -> tuple[Result, list[Fold]]:
    """The evaluation of all cases that are measured, and the folds that these are of."""
    done = [fold for fold in folds if (_folder(plan, fold) / MEASURED).is_file()]
    evaluations = {fold.number: _folder(plan, fold) / "evaluation" for fold in done}
    summary = pool(evaluations, plan.out / "evaluation")
    shown = folds_table(summary, {k: fold_estimates(path) for k, path in evaluations.items()}, len(folds))
    return Result(summary, shown, plan.out / "evaluation", run_id), done


def _kept_before(plan: CrossValidation, folds: Sequence[Fold]) -> Result | None:
    """The result where its run has it already: to write it again would count as another look at the test cases."""
    record = read_run_file(plan.out)
    if record is None or not (plan.out / KEPT).is_file() or not RunWriter(plan.uri, record.run_id).exists():
        return None
    kept = json.loads((plan.out / KEPT).read_text(encoding="utf-8"))
    done = [fold.number for fold in folds if (_folder(plan, fold) / MEASURED).is_file()]
    if kept != {"run": record.run_id, "folds": done}:
        return None
    return _pooled(plan, folds, record.run_id)[0]


def _keep(plan: CrossValidation, parent: RunWriter, folds: Sequence[Fold]) -> Result:
    """Write what is measured to the run that the folds' runs are nested in."""
    result, done = _pooled(plan, folds, parent.run_id)
    write_file(plan.out / "folds.md", text(result.table))
    params, rule = _of_training(plan, done[0])
    parent.params(params)
    parent.tags({"folds": f"{len(done)} of {len(folds)}", "network": plan.name})
    parent.text(result.table, "folds.md")
    parent.end("FINISHED")
    log_evaluation(
        plan.out,
        flatten(result.summary),
        [result.evaluation],
        experiment=plan.bundle.name,
        uri=plan.uri,
        network_name=plan.name,
        datalist=plan.prepared / "datalist.json",
        label_rule=rule,
    )
    if parent.run_id is not None and not parent.lost:
        numbers = [fold.number for fold in done]
        write_file(plan.out / KEPT, text(json.dumps({"run": parent.run_id, "folds": numbers}) + "\n"))
    return result


def _of_training(plan: CrossValidation, fold: Fold) -> tuple[dict[str, str], str]:
    """What the run of a fold says of the training and of the truth, which is the same in all; of a run that has been
    told before, nothing."""
    record = read_run_file(_folder(plan, fold))
    if record is None:
        return {}, ""
    try:
        client = open_store(plan.uri)
        run = client.get_run(record.run_id)
        mine = read_run_file(plan.out)
        known = client.get_run(mine.run_id).data.params if mine is not None else {}
    except (MlflowException, PipelinesError) as error:
        logger.warning("the parameters of the folds are not in their parent run (%s)", error)
        return {}, ""
    own = {key: value for key, value in run.data.params.items() if not key.startswith(_OF_FOLD) and key not in known}
    return own, run.data.tags.get("test_label_rule", "")
