"""One MLflow run, written in such a way that no fault of the store can stop or slow what it records.

``MlflowClient`` is used directly. MONAI 1.6.1's ``MLFlowHandler`` would need most of itself overridden: it joins a run
that was left RUNNING (even by name), reads every run of the experiment to look for one, ends FINISHED only, and raises
where the store cannot be reached.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Dataset
from mlflow.store.db import utils as database
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from pipelines.errors import TrackingError
from pipelines.tracking.entries import CUT, INCOMPLETE, Entry, dataset_entry, evaluation_entry, is_complete
from pipelines.tracking.journal import UNSENT, Head, Journal, head_of, journals, send, send_file
from pipelines.tracking.processes import is_dead, this_process
from pipelines.tracking.store import experiment_id, open_store, redact
from pipelines.tracking.watch import RunWatch

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

_TRACKER = "imaging-bundles"  # the tag `tracker` of every run made here: the sweep touches no other
_UNSENT_TAG = "watched_unsent"  # tag: the folder in which a journal of the run would lie
_LONGEST_PARAM = 6000  # MLflow's limits, in characters
_LONGEST_TAG = 8000
_FIRST_WAIT, _LONGEST_WAIT = 60.0, 960.0  # seconds between two looks whether the store is back
_WAIT_FOR_MONITOR = 5.0  # seconds
_UNWELCOME = re.compile(r"[^A-Za-z0-9_\-. /]")
_ATTEMPTS = 2
# A server that answers at all answers in this time; one that does not must not hold up the training.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # we log, and never print
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class RunWriter:
    """Writes one run. A store that fails is said once, by a warning, and what it lacks is kept in a journal.

    The journal is written to the store when that is back: by this writer while it lives, then by its watcher, by
    ``python -m pipelines sync``, or by the next run in the same store or folder. Until then the run is not closed, and
    its tag ``incomplete`` says so.

    Args:
        uri: the store, as ``tracking_uri`` gives it.
        run_id: an existing run to add to, whose status stays as it is; None if ``start`` is to make one.
        folder: of the run's checkpoints, where the journal is kept; None keeps it no longer than the process lives.
    """

    def __init__(self, uri: str, run_id: str | None = None, folder: Path | None = None) -> None:
        self.uri = uri
        self.run_id = run_id
        self.folder = None if folder is None else folder.absolute()
        self._client: MlflowClient | None = None
        self._watch: RunWatch | None = None
        self._monitor: SystemMetricsMonitor | None = None
        self._lost = False
        self._journal: Journal | None = None if run_id is None else Journal(Head(redact(uri), run_id), self.folder)
        self._wait = _FIRST_WAIT
        self._next_look = 0.0

    @property
    def lost(self) -> bool:
        """Whether the store failed, and lacks what was written since."""
        return self._lost

    @property
    def place(self) -> Path | None:
        """Where what the store lacks is kept; None if it lacks nothing, or nothing is kept on disk."""
        return self._journal.place if self._journal is not None and self._lost else None

    def start(
        self, experiment: str, run_name: str, tags: Mapping[str, str], description: str = "", network: str = ""
    ) -> str | None:
        """Make a new run, RUNNING, and watch this process for it; its id, or None if the store cannot be used.

        An active run, a run left RUNNING and ``MLFLOW_RUN_ID`` are not looked at: an invocation is a run of its own.
        What an earlier run could not write, of this store or folder, is written first.

        Args:
            experiment: made if it is not there.
            run_name: need not be unique.
            tags: of the run.
            description: of the experiment, if it has none.
            network: for ``run.json``, if the run is begun later.
        """
        ends = "the run has not ended, or not all of it is written"
        mine = {
            "tracker": _TRACKER,
            "mlflow.source.type": "LOCAL",
            **tags,
            INCOMPLETE: ends if self.folder is None else f"{ends}; python -m pipelines sync {self.folder}",
            **this_process(),
            **({} if self.folder is None else {_UNSENT_TAG: str(self.folder / UNSENT)}),
        }
        mine = {key: _cut(value, _LONGEST_TAG) for key, value in mine.items()}
        head = Head(
            redact(self.uri),
            owner=True,
            experiment=experiment,
            description=description,
            run_name=run_name,
            tags=mine,
            network=network,
            started=int(time.time() * 1000),
        )

        def make() -> str:
            client = self._open()
            _sweep(client, self.uri)
            if self.folder is not None:
                send_waiting(self.folder, self.uri)
            experiment_is = experiment_id(client, self.uri, experiment, description)
            run = client.create_run(experiment_is, start_time=head.started, run_name=run_name, tags=mine)
            return str(run.info.run_id)

        self._journal = Journal(head, self.folder)
        self.run_id = self._attempt(make)
        if self.run_id is not None:
            self._begun(self.run_id)
        return self.run_id

    def measure_system(self) -> None:
        """Record the machine's load (``system/…``) in a thread of its own, until ``end``."""
        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # what fails there is not the training's

        def start(run: str) -> None:
            self._monitor = SystemMetricsMonitor(run, tracking_uri=self.uri)
            self._monitor.start()

        if (run_id := self.run_id) is not None:
            self._attempt(lambda: start(run_id))

    def exists(self) -> bool:
        """Whether ``run_id`` is in the store and was not deleted (False too if the store cannot be used)."""
        if self.run_id is None:
            return False
        run = self.run_id
        found = self._attempt(lambda: self._open().search_runs(_all_experiments(self._open()), f"run_id = '{run}'"))
        return bool(found)

    def replace_evaluation(self, values: Mapping[str, float], folder: str) -> None:
        """Metrics ``test_…`` of an evaluation; what an earlier one left goes, with the artefact folder ``folder``.

        Its tags and files are to be written after this. A store that cannot remove files is warned of.
        """
        self._put(evaluation_entry({_name(key): value for key, value in values.items()}, folder))

    def params(self, values: Mapping[str, object]) -> None:
        """Parameters as text, cut at MLflow's limit, without the passwords of URIs."""
        self._write("params", {_name(key): _cut(value, _LONGEST_PARAM) for key, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Metrics at ``step`` (the epoch, counted from 1)."""
        if values:
            self._write("metrics", {"values": {_name(key): value for key, value in values.items()}, "step": step})

    def tags(self, values: Mapping[str, object]) -> None:
        if values:
            self._write("tags", {_name(key): _cut(value, _LONGEST_TAG) for key, value in values.items()})

    def dataset(self, dataset: Dataset, context: str) -> None:
        """Name the data of the run, as MLflow's dataset input; ``context`` is its use ("training")."""
        self._put(dataset_entry(dataset, context))

    def text(self, text: str, name: str) -> None:
        """Keep ``text``, without the passwords of URIs, as the artefact ``name`` (a relative path)."""
        self._write("text", {"text": redact(text), "name": name})

    def file(self, path: Path, folder: str) -> None:
        """Keep a file in the artefact folder ``folder``. A file that cannot be read is warned of and left out."""
        if not os.access(path, os.R_OK):
            logger.warning("%s cannot be read, and is not kept with the run", path)
            return
        self._write("file", {"path": str(path), "folder": folder})

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a plot as the artefact ``name`` (a relative path; the suffix says how it is drawn)."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            figure.savefig(path)
            self.file(path, str(Path(name).parent).removeprefix("."))

    def end(self, status: str) -> None:
        """Close the run as ``status``: FINISHED, FAILED or KILLED.

        Where the store has failed, the watcher goes on trying after us, with MLflow's own patience (minutes).
        """
        if self._monitor is not None:
            self._monitor._shutdown_event.set()  # `finish` waits for the thread, which waits for a store that is gone
            if self._monitor._process is not None and not self._lost:
                self._monitor._process.join(_WAIT_FOR_MONITOR)
            self._monitor = None
        if status != "KILLED":  # whoever ends a process soon sends SIGKILL: no time to wait for a store
            self._next_look = 0.0
        self._write("end", {"status": status})
        kept = self.place is not None
        self.leave()
        if self._watch is not None:
            self._watch.close("done" if not self._lost else "unsent" if kept else "lost")
            self._watch = None

    def leave(self) -> None:
        """Write no more: whoever finds what the store lacks may send it."""
        if self._journal is not None:
            self._journal.close()

    def _open(self) -> MlflowClient:
        if self._client is None:
            self._client = open_store(self.uri)
        return self._client

    def _begun(self, run_id: str) -> None:
        self._watch = RunWatch(self.uri, run_id, None if self.folder is None else self.folder / UNSENT)
        if self._journal is not None:
            self._journal = Journal(Head(redact(self.uri), run_id, owner=True), self.folder)

    def _write(self, kind: str, data: Mapping[str, object]) -> None:
        self._put(Entry(kind, data))

    def _put(self, entry: Entry) -> None:
        run_id = self.run_id
        if run_id is not None and not self._lost:
            self._attempt(lambda: entry.write(self._open(), run_id))
        if self._lost and self._journal is not None:
            self._journal.add(entry)
            self._catch_up(self._journal)

    def _catch_up(self, journal: Journal) -> None:
        """Write what the store lacks, if it is back; it is not asked at every epoch, since that takes seconds."""
        if time.monotonic() < self._next_look:
            return
        try:
            with short_and_quiet():
                self._client = None
                run_id = send(self._open(), self.uri, journal.head, journal.entries)
        except Exception as error:  # as in `_attempt`
            logger.debug("the store is not back: %s", error)
            self._next_look = time.monotonic() + self._wait
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            return
        logger.info("the tracking store %s is back, and has all of run %s", redact(self.uri), run_id)
        ended = any(entry.kind == "end" for entry in journal.entries)
        journal.clear()
        self._lost, self._wait = False, _FIRST_WAIT
        if self.run_id is None:
            self.run_id = run_id
            if not ended:
                self._begun(run_id)

    def _attempt(self, action: Callable[[], Result]) -> Result | None:
        if self._lost:
            return None
        try:
            with short_and_quiet():
                return action()
        except Exception as error:  # whatever a store, its driver or the network raises: training is worth more
            self._lost = True
            self._next_look = time.monotonic() + self._wait
            later = f"written when it is back (python -m pipelines sync {self.folder})"
            logger.warning(
                "the tracking store %s cannot be used, and what this run would record there is %s (%s: %s)",
                redact(self.uri),
                later if self.place is not None else "lost if it is not back in time",
                type(error).__name__,
                redact(str(error).strip().partition("\n")[0])[:300],
            )
            return None


def _sweep(client: MlflowClient, uri: str) -> None:
    """Close as KILLED the runs of this machine whose process is gone: the power failed, and no watcher lived on.

    What they could not write is written first; it may say how they ended.
    """
    query = f"attributes.status = 'RUNNING' and tags.tracker = '{_TRACKER}'"
    for run in client.search_runs(_all_experiments(client), query):
        if not is_dead(run.data.tags):
            continue
        folder = run.data.tags.get(_UNSENT_TAG)
        if folder:
            send_waiting(Path(folder).parent, uri)
            heads = [head_of(path) for path in journals(Path(folder).parent)]
            if run.info.run_id in [head.run_id for head in heads if head is not None]:
                continue  # it says more than we know, and cannot be sent yet
        now = client.get_run(run.info.run_id)
        if now.info.status != "RUNNING" or now.data.tags.get(INCOMPLETE) == CUT:
            continue
        logger.info("run %s was left by a process that is gone: closed as KILLED", run.info.run_name)
        client.set_tag(run.info.run_id, "exit_reason", "found dead by a later run")
        client.set_terminated(run.info.run_id, "KILLED")
        is_complete(client, run.info.run_id)


def send_waiting(folder: Path, uri: str) -> None:
    """Send the journals of a folder of checkpoints that are of this store, as far as it goes."""
    for path in journals(folder):
        head = head_of(path)
        if head is None or head.uri != redact(uri):  # no store is asked that the user has not named
            continue
        try:
            sent = send_file(path, uri)
            logger.info("run %s: what was missing is written to %s", sent.run, sent.uri)
        except TrackingError as error:
            logger.info("%s", error)
        except Exception as error:  # what waits is worth less than what is about to be written
            logger.warning("%s cannot be sent (%s: %s)", path, type(error).__name__, redact(str(error))[:300])


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
    # these warn of each attempt: our own warning says it, once
    retries = [logging.getLogger(name) for name in ("urllib3.connectionpool", "mlflow.store.db.utils")]
    levels = [each.level for each in retries]
    attempts = database.MAX_RETRY_COUNT
    database.MAX_RETRY_COUNT = _ATTEMPTS  # of opening a database; MLflow's ten take 100 seconds, and no setting says so
    for each in retries:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        database.MAX_RETRY_COUNT = attempts
        for each, level in zip(retries, levels, strict=True):
            each.setLevel(level)
        for key in added:
            os.environ.pop(key, None)
