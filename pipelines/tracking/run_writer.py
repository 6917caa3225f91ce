"""One MLflow run, written in such a way that no fault of the store can stop or slow what it records.

``MlflowClient`` is used directly. MONAI 1.6.1's ``MLFlowHandler`` would need most of itself overridden: it joins a run
that was left RUNNING (even by name), reads every run of the experiment to look for one, ends FINISHED only, and raises
where the store cannot be reached.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from pipelines.tracking.processes import is_dead, this_process
from pipelines.tracking.store import experiment_id, open_store, redact
from pipelines.tracking.watch import RunWatch

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_TRACKER = "imaging-bundles"  # the tag `tracker` of every run made here: the sweep touches no other
_LONGEST_PARAM = 6000  # MLflow's limits, in characters and in items a call
_LONGEST_TAG = 8000
_ITEMS_A_CALL = 100
_WAIT_FOR_MONITOR = 5.0  # seconds
_UNWELCOME = re.compile(r"[^A-Za-z0-9_\-. /]")
# A server that answers at all answers in this time; one that does not must not hold up the training.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # we log, and never print
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class RunWriter:
    """Writes one run. The first fault of the store is said once, by a warning; after it every call does nothing.

    Args:
        uri: the store, as ``tracking_uri`` gives it.
        run_id: an existing run to add to, whose status stays as it is; None if ``start`` is to make one.
    """

    def __init__(self, uri: str, run_id: str | None = None) -> None:
        self.uri = uri
        self.run_id = run_id
        self._client: MlflowClient | None = None
        self._watch: RunWatch | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether the store failed, so that nothing more is written."""
        return self._lost

    def start(self, experiment: str, run_name: str, tags: Mapping[str, str]) -> str | None:
        """Make a new run, RUNNING, and watch this process for it; its id, or None if the store cannot be used.

        An active run, a run left RUNNING and ``MLFLOW_RUN_ID`` are not looked at: an invocation is a run of its own.
        """
        mine = {"tracker": _TRACKER, "mlflow.source.type": "LOCAL", **this_process(), **tags}

        def make() -> str:
            client = self._open()
            _sweep(client)
            run = client.create_run(
                experiment_id(client, self.uri, experiment),
                run_name=run_name,
                tags={key: _cut(value, _LONGEST_TAG) for key, value in mine.items()},
            )
            return str(run.info.run_id)

        self.run_id = self._attempt(make)
        if self.run_id is not None:
            self._watch = RunWatch(self.uri, self.run_id)
        return self.run_id

    def measure_system(self) -> None:
        """Record the machine's load (``system/…``) in a thread of its own, until ``end``."""
        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # what fails there is not the training's

        def start(_: MlflowClient, run: str) -> None:
            self._monitor = SystemMetricsMonitor(run, tracking_uri=self.uri)
            self._monitor.start()

        self._write(start)

    def exists(self) -> bool:
        """Whether ``run_id`` is in the store and was not deleted (False too if the store cannot be used)."""
        if self.run_id is None:
            return False
        run = self.run_id
        found = self._attempt(lambda: self._open().search_runs(_all_experiments(self._open()), f"run_id = '{run}'"))
        return bool(found)

    def read(self) -> tuple[dict[str, float], dict[str, str]]:
        """The run's latest metrics and its tags, as the store has them; empty where it cannot be read."""
        run_id = self.run_id
        found = None if run_id is None else self._attempt(lambda: self._open().get_run(run_id))
        return ({}, {}) if found is None else (dict(found.data.metrics), dict(found.data.tags))

    def forget_tags(self, names: Iterable[str]) -> None:
        """Take tags away."""
        there = list(names)

        def forget(client: MlflowClient, run: str) -> None:
            for name in there:
                client.delete_tag(run, name)

        self._write(forget)

    def forget_files(self, folder: str) -> None:
        """Take an artefact folder away with all that is in it. A store that cannot do that is warned of."""

        def forget(client: MlflowClient, run: str) -> None:
            uri = client.get_run(run).info.artifact_uri
            try:
                get_artifact_repository(uri, tracking_uri=self.uri).delete_artifacts(folder)
            except Exception as error:  # whatever a bucket or its driver raises: what is written next still counts
                logger.warning("%s of an earlier evaluation is left in the run (%s)", folder, redact(str(error))[:300])

        self._write(forget)

    def params(self, values: Mapping[str, object]) -> None:
        """Parameters as text, cut at MLflow's limit, without the passwords of URIs."""
        items = [Param(_name(key), _cut(value, _LONGEST_PARAM)) for key, value in values.items()]

        def write(client: MlflowClient, run: str) -> None:
            for first in range(0, len(items), _ITEMS_A_CALL):
                client.log_batch(run, params=items[first : first + _ITEMS_A_CALL])

        self._write(write)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Metrics at ``step`` (the epoch, counted from 1)."""
        now = int(time.time() * 1000)
        items = [Metric(_name(key), value, now, step) for key, value in values.items()]
        if items:
            self._write(lambda client, run: client.log_batch(run, metrics=items))

    def tags(self, values: Mapping[str, object]) -> None:
        items = [RunTag(_name(key), _cut(value, _LONGEST_TAG)) for key, value in values.items()]
        if items:
            self._write(lambda client, run: client.log_batch(run, tags=items))

    def dataset(self, dataset: Dataset, context: str) -> None:
        """Name the data of the run, as MLflow's dataset input; ``context`` is its use ("training")."""
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])]
        self._write(lambda client, run: client.log_inputs(run, inputs))

    def text(self, text: str, name: str) -> None:
        """Keep ``text``, without the passwords of URIs, as the artefact ``name`` (a relative path)."""
        self._write(lambda client, run: client.log_text(run, redact(text), name))

    def file(self, path: Path, folder: str) -> None:
        """Keep a file in the artefact folder ``folder``. A file that cannot be read is warned of and left out."""
        if not os.access(path, os.R_OK):
            logger.warning("%s cannot be read, and is not kept with the run", path)
            return
        self._write(lambda client, run: client.log_artifact(run, str(path), folder))

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a plot as the artefact ``name``."""
        self._write(lambda client, run: client.log_figure(run, figure, name))

    def end(self, status: str) -> None:
        """Close the run as ``status``: FINISHED, FAILED or KILLED.

        Where the store has failed, the watcher goes on trying after us, with MLflow's own patience (minutes).
        """
        if self.run_id is None:
            return
        if self._monitor is not None:
            self._monitor._shutdown_event.set()  # `finish` waits for the thread, which waits for a store that is gone
            if self._monitor._process is not None and not self._lost:
                self._monitor._process.join(_WAIT_FOR_MONITOR)
            self._monitor = None
        self._write(lambda client, run: client.set_terminated(run, status))
        if self._watch is not None:
            self._watch.close(status if self._lost else "done")
            self._watch = None

    def _open(self) -> MlflowClient:
        if self._client is None:
            self._client = open_store(self.uri)
        return self._client

    def _write(self, action: Callable[[MlflowClient, str], object]) -> None:
        if self.run_id is not None:
            run_id = self.run_id
            self._attempt(lambda: action(self._open(), run_id))

    def _attempt(self, action: Callable[[], Result]) -> Result | None:
        if self._lost:
            return None
        try:
            with short_and_quiet():
                return action()
        except Exception as error:  # whatever a store, its driver or the network raises: training is worth more
            self._lost = True
            reason = redact(str(error).strip().partition("\n")[0])[:300]
            logger.warning(
                "the tracking store %s cannot be used, and this run is no longer recorded there (%s: %s)",
                redact(self.uri),
                type(error).__name__,
                reason,
            )
            return None


def _sweep(client: MlflowClient) -> None:
    """Close as KILLED the runs of this machine whose process is gone: the power failed, and no watcher lived on."""
    query = f"attributes.status = 'RUNNING' and tags.tracker = '{_TRACKER}'"
    for run in client.search_runs(_all_experiments(client), query):
        if is_dead(run.data.tags):
            logger.info("run %s was left by a process that is gone: closed as KILLED", run.info.run_name)
            client.set_tag(run.info.run_id, "exit_reason", "found dead by a later run")
            client.set_terminated(run.info.run_id, "KILLED")


def _all_experiments(client: MlflowClient) -> list[str]:
    return [str(each.experiment_id) for each in client.search_experiments()]


def _name(key: str) -> str:
    return _UNWELCOME.sub("_", key)[:250]


def _cut(value: object, length: int) -> str:
    text = redact(str(value))
    return text if len(text) <= length else text[: length - 1] + "…"


@contextmanager
def short_and_quiet() -> Iterator[None]:
    """A store that does not answer is given up in seconds, not in MLflow's minutes, and without its own warnings.

    MLflow reads its settings from the environment at each call; what the user has set there is kept.
    """
    added = {key: value for key, value in _SETTINGS.items() if key not in os.environ}
    os.environ.update(added)
    retries = logging.getLogger("urllib3.connectionpool")  # warns of each: our own warning says it, once
    level = retries.level
    retries.setLevel(logging.ERROR)
    try:
        yield
    finally:
        retries.setLevel(level)
        for key in added:
            os.environ.pop(key, None)
