"""``RunTracker``: the handler that makes one MLflow run of one training."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys
from PIL import Image

from pipelines.errors import ConfigError
from pipelines.files import held
from pipelines.sigterm import SigtermUnwinds
from pipelines.tracking.event_folders import INSTALL, events_root, forget_events
from pipelines.tracking.learning_curve import learning_curve
from pipelines.tracking.monais_handlers import take_off_monais
from pipelines.tracking.run_contents import (
    command_line,
    commit,
    config_files_of,
    flatten,
    log_data,
    numbers,
    parameter_count,
    versions,
)
from pipelines.tracking.run_file import RunRecord, read_run_file, write_run_file
from pipelines.tracking.run_writer import RunWriter
from pipelines.tracking.store import checked_uri, redact, tracking_uri

if TYPE_CHECKING:
    from pipelines.tracking.tensorboard_events import TensorBoardEvents

logger = logging.getLogger(__name__)
PARENT_RUN = "PIPELINES_PARENT_RUN"  # environment: the id of the run that a run is nested in (of a study, of folds)


class RunTracker:
    """Records each ``trainer.run()`` as a run of its own, which ends FINISHED, FAILED or KILLED, never RUNNING.

    - Metrics an epoch: ``train_loss`` (mean over the iterations), ``learning_rate`` (at the epoch's start; further
      parameter groups ``learning_rate_1``…), ``epoch_seconds`` (training without validation), all that is in the
      trainer's and the evaluator's ``state.metrics``. At the end ``best_NAME`` and ``best_epoch`` of the key metric.
    - Artefacts: the config files and the command (``config/``), ``learning_curve.png``, the checkpoint if asked for.
    - FAILED carries the error's class as tag ``error``; KeyboardInterrupt and SIGTERM give KILLED; so does SIGKILL,
      through a small process that outlives this one by seconds (``watcher_process``), and a machine that went down,
      through the next run in the same store.
    - A store that fails is warned of once, and training goes on; what the store lacks is kept in ``ckpt_dir`` and
      written when it is back (see ``RunWriter``). Until all of a run is written, it has the tag ``incomplete``.
    - MONAI's own MLflow handler (``monai.bundle run --tracking mlflow``) would record the training a second time: it is
      taken off, and that is said.
    - Passwords in URIs are not recorded. Only rank 0 records.
    - Asked to, it writes events for TensorBoard too (``TensorBoardEvents``); where they are is the tag ``tensorboard``.

    It wraps ``engine.run`` of the engine it is attached to: ignite calls the handlers of an exception only up to the
    first that raises it again (MONAI's own do), and none of them could record what comes after it.

    Args:
        experiment: the bundle's name.
        description: of the experiment, for MLflow's pages.
        network: the network that is trained; its parameter count is recorded.
        network_name: what the network is called in tables; default its class.
        run_name: default ``NETWORK_NAME-YYYYMMDD-HHMMSS-xxxx``.
        params: every knob; nested mappings become dotted names.
        datalist: the prepared ``datalist.json``; its fingerprint and counts are recorded, and it is the run's dataset.
        ckpt_dir: folder of the checkpoints; ``run.json`` is written there, for ``log_evaluation``.
        best_checkpoint: the file that the key metric's best is saved to (relative to ``ckpt_dir``, or absolute).
        log_checkpoint: keep that file as an artefact too.
        pictures: files that handlers draw (relative to ``ckpt_dir``, or absolute), kept as artefacts at the end.
        config_files: the configs that are executed; default those that ``--config_file`` on the command line names.
        resumed_from: the checkpoint that training goes on from, None or empty if it starts anew.
        evaluator: the engine that validates.
        tags: more tags.
        tracking_uri: the store; default ``pipelines.tracking.tracking_uri()``.
        system_metrics: record the load of processor, memory, GPU, disk and network every ten seconds (MLflow's system
            metrics).
        tensorboard: events for TensorBoard: True writes them into ``tensorboard`` beside the checkpoints, a folder into
            that one; each training into a folder of its own, called after the run, a resumed one into the one it began.
        label_names: of the labels' values, or of the classes, for TensorBoard's pictures and curves.
        sample: what TensorBoard's graph of the network is traced with; default the first batch's first image.

    Raises:
        TrackingError: the tracking URI is a folder, which MLflow no longer takes.
        OutputError: (by ``run``) another training is writing to ``ckpt_dir``, or nobody can.
        ConfigError: events for TensorBoard are asked for, and it is not installed, or there is no folder for them.
    """

    def __init__(
        self,
        experiment: str,
        *,
        description: str = "",
        network: torch.nn.Module | None = None,
        network_name: str | None = None,
        run_name: str | None = None,
        params: Mapping[str, Any] | None = None,
        datalist: str | os.PathLike[str] | None = None,
        ckpt_dir: str | os.PathLike[str] | None = None,
        best_checkpoint: str | os.PathLike[str] | None = None,
        log_checkpoint: bool = False,
        pictures: Sequence[str] = (),
        config_files: str | Sequence[str] | None = None,
        resumed_from: str | os.PathLike[str] | None = None,
        evaluator: Engine | None = None,
        tags: Mapping[str, str] | None = None,
        tracking_uri: str | None = None,
        system_metrics: bool = True,
        tensorboard: bool | str | os.PathLike[str] | None = False,
        label_names: Mapping[int, str] | None = None,
        sample: torch.Tensor | None = None,
    ) -> None:
        self.system_metrics = system_metrics
        self.experiment = experiment
        self.description = description
        self.network = network
        self.network_name = network_name or (type(network).__name__ if network is not None else "run")
        self.run_name = run_name
        self.params = dict(params or {})
        self.datalist = Path(datalist) if datalist else None
        self.ckpt_dir = Path(ckpt_dir) if ckpt_dir else None
        self.best_checkpoint = (self.ckpt_dir or Path()) / best_checkpoint if best_checkpoint else None
        self.log_checkpoint = log_checkpoint
        self.pictures = [(self.ckpt_dir or Path()) / each for each in pictures]
        self.config_files = (
            config_files_of(sys.argv[1:])
            if config_files is None
            else [Path(each) for each in ([config_files] if isinstance(config_files, str) else config_files)]
        )
        self.resumed_from = Path(resumed_from) if resumed_from else None
        self.evaluator = evaluator
        self.more_tags = dict(tags or {})
        self.uri = checked_uri(tracking_uri) if tracking_uri else _default_uri()
        self._writer: RunWriter | None = None
        self._events = _events_for(
            tensorboard, self.ckpt_dir, network=network, evaluator=evaluator, label_names=label_names, sample=sample
        )
        self._forget()

    @property
    def run_id(self) -> str | None:
        """The id of the run that is being written, or was last; None if there is none."""
        return None if self._writer is None else self._writer.run_id

    def tag(self, name: str, value: str) -> None:
        """Say something of the run that is being written; nothing where there is none."""
        if self._writer is not None:
            self._writer.tags({name: value})

    def keep_picture(self, path: Path, folder: str, epoch: int) -> None:
        """Keep a grey picture in an artefact folder of the run that is being written, and show it in TensorBoard."""
        if self._writer is not None:
            self._writer.file(path, folder)
        if self._events is not None:
            with Image.open(path) as picture:
                self._events.picture(folder, np.asarray(picture), epoch)

    def attach(self, engine: Engine) -> None:
        """Record ``engine.run()`` from now on. Does nothing on any rank but 0."""
        if rank() > 0:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._validated, engine)
        if self._events is not None:
            self._events.attach(engine)
        run: Callable[..., Any] = engine.run

        def tracked_run(*args: Any, **kwargs: Any) -> Any:
            with SigtermUnwinds() as sigterm, self._alone():
                try:
                    take_off_monais(engine, self.evaluator)
                    self._begin(engine)
                    result = run(*args, **kwargs)
                except BaseException as error:
                    killed = sigterm.received or isinstance(error, KeyboardInterrupt)
                    self._end_badly(error, killed=killed, reason="SIGTERM" if sigterm.received else "KeyboardInterrupt")
                    raise
                finally:
                    if self._events is not None:
                        self._events.close(finished=sys.exc_info()[0] is None)
                self._end_well(engine)
                return result

        engine.run = tracked_run  # type: ignore[method-assign]

    def _alone(self) -> contextlib.AbstractContextManager[object]:
        """The folder of checkpoints, held for this training alone."""
        if self.ckpt_dir is None:
            return contextlib.nullcontext()
        return held(self.ckpt_dir, ".training.lock", option="ckpt_dir")

    def _forget(self) -> None:
        self._history: dict[str, list[tuple[int, float]]] = {}
        self._loss_sum: torch.Tensor | float = 0.0
        self._loss_count = 0
        self._rates: dict[str, float] = {}
        self._epoch_start = self._last_iteration = 0.0
        self._started = time.time()
        self._unwritten: RunRecord | None = None
        self._nameless: RunRecord | None = None

    def _begin(self, engine: Engine) -> None:
        self._forget()
        started = datetime.now().astimezone()
        name = self.run_name or f"{self.network_name}-{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        tags = {"network": self.network_name, "mlflow.source.name": sys.argv[0], **versions(), **commit()}
        tags["config_files"] = " ".join(path.name for path in self.config_files)
        if self.resumed_from is not None:
            earlier = read_run_file(self.resumed_from)  # before our own run.json takes its place
            tags["resumed_from"] = str(self.resumed_from)
            tags |= {} if earlier is None else {"resumed_run": earlier.run_id}
        if os.environ.get(PARENT_RUN):
            tags["mlflow.parentRunId"] = os.environ[PARENT_RUN]
        self._writer = writer = RunWriter(self.uri, folder=self.ckpt_dir)
        run_id = writer.start(self.experiment, name, {**tags, **self.more_tags}, self.description, self.network_name)
        self._unwritten = RunRecord(
            run_id or "", self.experiment, redact(self.uri), self.network_name, started.isoformat(timespec="seconds")
        )
        if run_id is not None:
            logger.info("run %s (%s) in %s", name, run_id, redact(self.uri))
        if self.system_metrics:
            writer.measure_system()
        if self.datalist is not None:
            log_data(writer, self.datalist, "training")
        params = self._own_params(engine)
        writer.params(params)
        for path in self.config_files:
            try:
                writer.text(path.read_text(encoding="utf-8", errors="replace"), f"config/{path.name}")
            except OSError as error:
                logger.warning("%s is not kept with the run (%s)", path, error)
        writer.text(command_line() + "\n", "config/command.txt")
        if self._events is not None:
            said = {name: redact(str(each)) if isinstance(each, str) else each for name, each in params.items()}
            texts = {"command": redact(command_line())}
            folder = self._events.begin(name, said, texts, resumed=self.resumed_from is not None)
            writer.tags({"tensorboard": str(folder.resolve())})

    def _own_params(self, engine: Engine) -> dict[str, Any]:
        params = {"network": self.network_name, **flatten(self.params)}
        params |= {"max_epochs": engine.state.max_epochs, "epoch_length": engine.state.epoch_length}
        if self.network is not None:
            params["parameters"] = parameter_count(self.network)
        return params

    def _write_run_file(self) -> None:
        """``run.json``, once the first epoch starts: a resume that is refused leaves the earlier run's in its place."""
        record, self._unwritten = self._unwritten, None
        if record is None or self.ckpt_dir is None:
            return
        self._nameless = None if record.run_id else record
        try:
            write_run_file(self.ckpt_dir, record if record.run_id else None)
            if self._events is None and self.resumed_from is None:
                forget_events(self.ckpt_dir)
        except OSError as error:  # checkpoints will not be written there either, and that raises
            logger.warning("%s: run.json cannot be written (%s)", self.ckpt_dir, error)

    def _name_run_file(self) -> None:
        """``run.json`` of a run that could be begun only later, when the store was back."""
        if self._nameless is not None and self.run_id is not None:
            self._unwritten = replace(self._nameless, run_id=self.run_id)
            self._write_run_file()

    def _epoch_started(self, engine: Engine) -> None:
        self._write_run_file()
        self._loss_sum, self._loss_count = 0.0, 0
        self._epoch_start = self._last_iteration = time.monotonic()
        groups = getattr(getattr(engine, "optimizer", None), "param_groups", [])
        names = ["learning_rate", *(f"learning_rate_{index}" for index in range(1, len(groups)))]
        self._rates = {name: float(group["lr"]) for name, group in zip(names, groups, strict=False)}

    def _iteration_completed(self, engine: Engine) -> None:
        self._last_iteration = time.monotonic()
        output = engine.state.output
        first = output[0] if isinstance(output, list) and output else output  # decollated: the loss is in each
        loss = first.get(CommonKeys.LOSS) if isinstance(first, Mapping) else None
        if loss is not None:
            # stays on its device until the epoch ends, so that the GPU is not waited for
            self._loss_sum = self._loss_sum + (loss.detach().float().mean() if torch.is_tensor(loss) else float(loss))
            self._loss_count += 1

    def _epoch_completed(self, engine: Engine) -> None:
        values: dict[str, Any] = {**self._rates, "epoch_seconds": self._last_iteration - self._epoch_start}
        if self._loss_count:
            values["train_loss"] = self._loss_sum / self._loss_count
        self._record({**engine.state.metrics, **values}, engine.state.epoch, "training")

    def _validated(self, evaluator: Engine, trainer: Engine) -> None:
        self._record(evaluator.state.metrics, trainer.state.epoch, "validation")

    def _record(self, metrics: Mapping[str, Any], epoch: int, group: str) -> None:
        if self._writer is None:
            return
        values = numbers(metrics)
        for name, value in values.items():
            self._history.setdefault(name, []).append((epoch, value))
        self._writer.metrics(values, step=epoch)
        if self._events is not None:
            self._events.scalars(values, epoch, group)
        self._name_run_file()

    def _end_well(self, engine: Engine) -> None:
        writer = self._writer
        if writer is None:
            return
        state = (self.evaluator or engine).state
        key, best = getattr(state, "key_metric_name", None), getattr(state, "best_metric", None)
        best_epoch = getattr(state, "best_metric_epoch", -1)
        if key and best_epoch >= 0 and isinstance(best, (int, float)) and math.isfinite(best):
            writer.metrics({f"best_{key}": float(best), "best_epoch": float(best_epoch)}, step=engine.state.epoch)
        if engine.state.epoch < (engine.state.max_epochs or 0):
            writer.tags({"stopped_early": "true"})
        self._keep_checkpoint(writer)
        writer.figure(learning_curve(self._history, self.network_name), "learning_curve.png")
        for path in filter(Path.is_file, self.pictures):
            writer.file(path, "pictures")
        writer.end("FINISHED")
        self._name_run_file()

    def _keep_checkpoint(self, writer: RunWriter) -> None:
        path = self.best_checkpoint
        if path is None:
            return
        # a resumed training may find nothing better than what it began with; 2 s: file systems with coarse times
        earliest = 0.0 if self.resumed_from is not None else self._started - 2
        if not path.is_file() or path.stat().st_mtime < earliest:
            logger.warning("%s was not written by this training, and is not recorded as its checkpoint", path)
            return
        writer.tags({"best_checkpoint": str(path.resolve())})
        if self.log_checkpoint:
            writer.file(path, "checkpoint")

    def _end_badly(self, error: BaseException, *, killed: bool, reason: str) -> None:
        writer = self._writer
        if writer is None:
            return
        if killed:  # whoever ends a process soon sends SIGKILL: the status, and no more
            writer.tags({"exit_reason": reason})
            writer.end("KILLED")
            return
        writer.tags({"error": type(error).__name__})
        if self._history:
            writer.figure(learning_curve(self._history, self.network_name), "learning_curve.png")
        writer.end("FAILED")
        self._name_run_file()


def rank() -> int:
    """This process's rank among those that train together; 0 if it is alone.

    Not ignite's: its first call waits for all processes, and handlers that track are made in one of them only.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return int(torch.distributed.get_rank())
    return int(os.environ.get("RANK", "0"))


def _events_for(
    tensorboard: bool | str | os.PathLike[str] | None, ckpt_dir: Path | None, **about: Any
) -> TensorBoardEvents | None:
    """What writes events for TensorBoard, where they are asked for; TensorBoard is imported only then."""
    root = events_root(tensorboard, ckpt_dir)
    if root is None or rank() > 0:
        return None
    try:
        from pipelines.tracking.tensorboard_events import TensorBoardEvents
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"events for TensorBoard need {error.name}", where="tensorboard", how=f"{INSTALL}, or leave the knob off"
        ) from error
    return TensorBoardEvents(root, ckpt_dir=ckpt_dir, **about)


def _default_uri() -> str:  # the argument of the constructor hides the function's name there
    return tracking_uri()
