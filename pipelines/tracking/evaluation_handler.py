"""Test metrics go into the run that trained the checkpoint, so that one row of the store tells the whole story."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine

from pipelines.evaluation.case_tables import CASES, ITEMS, cases_digest, truth_digest
from pipelines.fetched import local
from pipelines.files import held
from pipelines.tracking.monais_handlers import take_off_monais
from pipelines.tracking.run_contents import (
    command_line,
    commit,
    describe_data,
    log_data,
    numbers,
    parameter_count,
    versions,
)
from pipelines.tracking.run_file import RunRecord, read_run_file
from pipelines.tracking.run_handler import rank
from pipelines.tracking.run_writer import RunWriter, send_waiting, short_and_quiet
from pipelines.tracking.store import checked_uri, redact, sqlite_path, tracking_uri

logger = logging.getLogger(__name__)
_FOLDER = "evaluation"


def log_evaluation(
    checkpoint: str | os.PathLike[str],
    metrics: Mapping[str, Any],
    artifacts: Iterable[str | os.PathLike[str]] = (),
    *,
    experiment: str = "evaluation",
    description: str = "",
    uri: str | None = None,
    network: torch.nn.Module | None = None,
    network_name: str | None = None,
    datalist: str | os.PathLike[str] | None = None,
    label_rule: str = "",
    shown: Sequence[str] = (),
) -> str | None:
    """Write metrics and files into the run that trained ``checkpoint``; its status and times stay as they are.

    What an earlier evaluation left in the run goes, so that it holds one evaluation and never parts of two: its files
    and tags are taken away, and a metric that is not measured again becomes NaN, since MLflow forgets none. The tag
    ``evaluations`` counts them: a network that was chosen on its test cases has been measured on them often.

    Args:
        checkpoint: the weights, or the folder they lie in, beside the ``run.json`` of their training. Without it
            (shipped weights), or if its run is not in the store, a run of its own is made, tagged ``evaluation_only``.
        metrics: numbers; a name that does not begin with ``test_`` gets that before it. Not finite becomes NaN.
        artifacts: files, and folders with all that is in them; kept in the artefact folder ``evaluation``. Of a
            ``cases.csv`` among them the digest becomes the tag ``test_cases``, and that of the true classes and extents
            in its tables ``test_truth``: runs with the same ones can be compared.
        experiment: where a run of its own goes: the bundle's name.
        description: of that experiment, for MLflow's pages.
        uri: the store of a run of its own; default ``tracking_uri()``.
        network, network_name: what a run of its own says of the weights; a training run has said it.
        datalist: the prepared data that were measured, which need not be those of the training. Its name, fingerprint,
            split and numbers of cases become tags ``test_data_…``.
        label_rule: how the truth was made of the data, where it can be made in several ways (thresholds): the tag
            ``test_label_rule``.
        shown: metrics that ``compare`` shows, in their order, without prefix: the tag ``test_shown_metrics``.

    Returns:
        The id of the run; None if the store cannot be used, which is warned of once. What a training run lacks then is
        kept beside the checkpoint and written later (see ``RunWriter``).

    Raises:
        TrackingError: the tracking URI is a folder, which MLflow no longer takes.
    """
    checkpoint = local(checkpoint)
    store = checked_uri(uri) if uri else tracking_uri()
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    record = read_run_file(checkpoint)
    with short_and_quiet():
        for each in {store} if record is None else {store, record.tracking_uri}:
            send_waiting(folder, each)
    record = record or read_run_file(checkpoint)
    writer = None if record is None else _training_run(record, store, folder)
    alone = writer is None
    if writer is None:
        writer = RunWriter(store)
        name = f"evaluation-{checkpoint.stem}-{datetime.now():%Y%m%d-%H%M%S}"
        tags = {"evaluation_only": "true", "checkpoint": str(checkpoint.resolve()), "mlflow.source.name": sys.argv[0]}
        tags |= {} if network_name is None else {"network": network_name}
        writer.start(experiment, name, {**tags, **versions(), **commit()}, description)
        writer.params({} if network_name is None else {"network": network_name})
        writer.params({} if network is None else {"parameters": parameter_count(network)})
        if datalist is not None:
            log_data(writer, Path(datalist), "testing")
    measured = {k if k.startswith("test_") else f"test_{k}": v for k, v in numbers(metrics).items()}
    writer.replace_evaluation(measured, _FOLDER)
    tables, digest = [], ""
    for path, place in _files(artifacts):
        writer.file(path, place)
        if place == _FOLDER and path.name in (CASES, *ITEMS):
            tables.append(path)
            digest = cases_digest(path) if path.name == CASES else digest
    about = {"test_cases": digest, "test_truth": truth_digest(tables), "test_label_rule": label_rule}
    about["test_shown_metrics"] = ",".join(shown)
    writer.tags({**_measured_data(datalist), **{k: v for k, v in about.items() if v}})
    writer.text(command_line() + "\n", f"{_FOLDER}/command.txt")
    writer.end("FINISHED") if alone else writer.leave()
    return None if writer.lost else writer.run_id


class EvaluationTracker:
    """Calls ``log_evaluation`` when the evaluator it is attached to has run to its end, whatever the handlers' order.

    Args:
        checkpoint: the weights that are evaluated.
        experiment: the bundle's name, for weights that no run in the store has trained.
        description: of that experiment, for MLflow's pages.
        output_dir: the folder that evaluation writes to; its files that match ``patterns`` are kept with the run.
        patterns: which files, searched for in subfolders too. Of predictions there are those that the evaluation keeps
            in ``masks/``.
        tracking_uri: the store; default ``pipelines.tracking.tracking_uri()``.
        network, network_name, datalist, label_rule, shown: as ``log_evaluation``.

    Raises:
        OutputError: (by ``run``) another evaluation is writing to ``output_dir``, or nobody can.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        experiment: str = "evaluation",
        description: str = "",
        output_dir: str | os.PathLike[str] | None = None,
        patterns: Sequence[str] = ("*.csv", "*.json", "*.png", "*.md", "masks/*.nii.gz"),
        tracking_uri: str | None = None,
        network: torch.nn.Module | None = None,
        network_name: str | None = None,
        datalist: str | os.PathLike[str] | None = None,
        label_rule: str = "",
        shown: Sequence[str] = (),
    ) -> None:
        self.checkpoint = checkpoint
        self.experiment = experiment
        self.description = description
        self.output_dir = Path(output_dir) if output_dir else None
        self.patterns = tuple(patterns)
        self.uri = tracking_uri
        self.about: dict[str, Any] = {"network": network, "network_name": network_name, "datalist": datalist}
        self.about |= {"label_rule": label_rule, "shown": tuple(shown)}
        self.run_id: str | None = None

    def attach(self, engine: Engine) -> None:
        """Log each run of ``engine`` that ends well. Does nothing on any rank but 0."""
        if rank() > 0:
            return
        run: Callable[..., Any] = engine.run

        def tracked_run(*args: Any, **kwargs: Any) -> Any:
            take_off_monais(engine)
            with self._alone():
                result = run(*args, **kwargs)
                self.run_id = log_evaluation(
                    self.checkpoint,
                    engine.state.metrics,
                    self._found(),
                    experiment=self.experiment,
                    description=self.description,
                    uri=self.uri,
                    **self.about,
                )
            return result

        engine.run = tracked_run  # type: ignore[method-assign]

    def _alone(self) -> contextlib.AbstractContextManager[object]:
        """The folder that evaluation writes to, held for this one alone."""
        if self.output_dir is None:
            return contextlib.nullcontext()
        return held(self.output_dir, ".evaluation.lock", option="output_dir")

    def _found(self) -> list[_Found]:
        if self.output_dir is None:
            return []
        return [_Found(path, self.output_dir) for path in _matching(self.output_dir, self.patterns)]


class _Found(os.PathLike[str]):
    """A file together with the folder that its place among the artefacts is relative to."""

    def __init__(self, path: Path, base: Path) -> None:
        self.path, self.base = path, base

    def __fspath__(self) -> str:
        return str(self.path)


def _training_run(record: RunRecord, configured: str, folder: Path) -> RunWriter | None:
    """The run that ``record`` names, if it can be found; the store of the record counts, not the configured one."""
    # The record has no password: the configured URI, if it is the same store, has.
    uri = configured if redact(configured) == record.tracking_uri else record.tracking_uri
    path = sqlite_path(uri)
    if path is not None and not path.is_file():  # the project was moved, its store with it
        uri = configured
    writer = RunWriter(uri, record.run_id, folder)
    if writer.exists() or writer.lost:
        return writer
    logger.warning("run %s, which trained this checkpoint, is not in %s", record.run_id, redact(uri))
    return None


def _measured_data(datalist: str | os.PathLike[str] | None) -> dict[str, object]:
    """Tags that say which data were measured; none where the list is not given or cannot be read."""
    if datalist is None:
        return {}
    try:
        about, _ = describe_data(Path(datalist))
    except (OSError, ValueError) as error:
        logger.warning("%s: the data that were measured are not recorded (%s)", datalist, error)
        return {}
    return {f"test_{key}": value for key, value in about.items()}


def _matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()})


def _files(artifacts: Iterable[str | os.PathLike[str]]) -> Iterable[tuple[Path, str]]:
    """Each file with its artefact folder; what is in a folder keeps its place there."""
    for each in artifacts:
        path = Path(each)
        base = each.base if isinstance(each, _Found) else path if path.is_dir() else path.parent
        for file in _matching(path, ["*"]) if path.is_dir() else [path]:
            yield file, (Path(_FOLDER) / file.parent.relative_to(base)).as_posix()
