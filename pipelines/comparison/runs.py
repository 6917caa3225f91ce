"""The runs of an MLflow store, read without changing it: a page of runs a query, and files only of the runs shown."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_latest_schema_revision
from sqlalchemy.exc import SQLAlchemyError

from pipelines.errors import TrackingError, UsageError
from pipelines.tracking.processes import is_dead
from pipelines.tracking.run_writer import short_and_quiet
from pipelines.tracking.store import checked_uri, redact, sqlite_path

logger = logging.getLogger(__name__)

_RUNS_A_PAGE = 500
_PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Run:
    """One run as the store has it.

    Attributes:
        status: FINISHED, FAILED, KILLED, RUNNING or SCHEDULED.
        started, ended: milliseconds since 1970; None where the store has none.
        metrics: the latest value of each.
        vanished: it is RUNNING, and its process, of this machine, is gone.
        children: how many runs are nested in it.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    started: int | None
    ended: int | None
    metrics: Mapping[str, float] = field(repr=False)
    params: Mapping[str, str] = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)
    artifact_uri: str = ""
    vanished: bool = False
    children: int = 0

    @property
    def network(self) -> str:
        """What the network is called; "?" where the run does not say."""
        return self.params.get("network") or self.tags.get("network") or "?"

    @property
    def seconds(self) -> float:
        """From the run's start to its end; NaN where either is missing, or it only holds an evaluation."""
        if self.started is None or self.ended is None or "evaluation_only" in self.tags:
            return float("nan")
        return (self.ended - self.started) / 1000


class Store:
    """A tracking store, open for reading. Use it as a context manager: files that a server sent are kept until its end.

    Args:
        uri: as ``tracking_uri()`` gives it.

    Raises:
        TrackingError: there is no store, it is no MLflow store or one of another version's tables, or it does not
            answer.
    """

    def __init__(self, uri: str) -> None:
        self.uri = checked_uri(uri)
        _check_file(self.uri)
        self._client = MlflowClient(tracking_uri=self.uri)
        self._folder = tempfile.TemporaryDirectory(prefix="comparison-")

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    @property
    def shown_uri(self) -> str:
        """The URI without user name and password."""
        return redact(self.uri)

    def runs(self, experiments: Sequence[str] = ()) -> list[Run]:
        """All runs that are not deleted, the latest first, of the named experiments or of all.

        Raises:
            UsageError: an experiment does not exist; the message lists those that do.
            TrackingError: the store cannot be read.
        """
        with _asked(self.uri):
            names = {str(each.experiment_id): str(each.name) for each in self._experiments()}
            missing = [name for name in experiments if name not in names.values()]
            if missing:
                there = ", ".join(sorted(set(names.values()) - {"Default"})) or "none"
                raise UsageError(
                    f"there is no experiment {missing[0]!r}", where=self.shown_uri, how=f"the store has: {there}"
                )
            wanted = [number for number, name in names.items() if not experiments or name in experiments]
            found: list[MlflowRun] = []
            token = None
            while wanted:
                page = self._client.search_runs(wanted, max_results=_RUNS_A_PAGE, page_token=token)
                found += page
                token = page.token
                if not token:
                    break
        parents = [run.data.tags[_PARENT] for run in found if _PARENT in run.data.tags]
        return [_as_run(run, names, parents.count(run.info.run_id)) for run in found]

    def file(self, run: Run, name: str) -> Path | None:
        """The local path of an artefact, fetched if it lies on a server; None if it is not there any more.

        Args:
            name: its path among the run's artefacts, such as ``evaluation/cases.csv``.
        """
        local = _local(run)
        if local is not None:  # no copy, and no word of MLflow's on what is missing
            return local / name if (local / name).is_file() else None
        target = Path(self._folder.name) / run.run_id / Path(name).parent
        target.mkdir(parents=True, exist_ok=True)
        try:
            with short_and_quiet():
                fetched = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{run.artifact_uri.rstrip('/')}/{name}", dst_path=str(target), tracking_uri=self.uri
                )
        except Exception as error:  # whatever a server, a bucket or their drivers raise: the page says it is missing
            logger.debug("%s of run %s: %s", name, run.run_id, error)
            return None
        return Path(fetched)

    def folder(self, run: Run, name: str) -> Path | None:
        """The folder of artefacts of this name, where it is on this machine for good; None where it is not."""
        local = _local(run)
        return local / name if local is not None and (local / name).is_dir() else None

    def history(self, run: Run, metric: str) -> list[tuple[int, float]]:
        """(epoch, value) of a metric, in order; the last value counts where an epoch has several."""
        with _asked(self.uri):
            entries = self._client.get_metric_history(run.run_id, metric)
        ordered = sorted(entries, key=lambda each: (each.step, each.timestamp))
        return sorted({int(each.step): float(each.value) for each in ordered}.items())

    def _experiments(self) -> list:
        found: list = []
        token = None
        while True:
            page = self._client.search_experiments(max_results=_RUNS_A_PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found


def _local(run: Run) -> Path | None:
    """Where a run's artefacts lie, if that is a folder of this machine."""
    is_file = run.artifact_uri.startswith("file:")
    return Path(unquote(urlsplit(run.artifact_uri).path)) if is_file else None


def _as_run(run: MlflowRun, names: Mapping[str, str], children: int) -> Run:
    info, data = run.info, run.data
    return Run(
        run_id=str(info.run_id),
        name=str(info.run_name or info.run_id),
        experiment=names[str(info.experiment_id)],
        status=str(info.status),
        started=info.start_time,
        ended=info.end_time,
        metrics=dict(data.metrics),
        params=dict(data.params),
        tags=dict(data.tags),
        artifact_uri=str(info.artifact_uri or ""),
        vanished=info.status == "RUNNING" and is_dead(data.tags),
        children=children,
    )


def _check_file(uri: str) -> None:
    """MLflow would make a SQLite store that is not there, and migrate one of an older version without asking."""
    path = sqlite_path(uri)
    if path is None:
        return
    if not path.is_file():
        raise TrackingError(
            "there is no tracking store", where=path, how="train something first, or name a store with --tracking_uri"
        )
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise TrackingError(f"this is no MLflow store ({error})", where=path) from error
    newest = _get_latest_schema_revision()
    if row is None or row[0] != newest:
        raise TrackingError(
            f"the store's tables are of another version of MLflow (schema {row[0] if row else 'unknown'}, this MLflow "
            f"has {newest}), and are left as they are",
            where=path,
            how=f"copy the file, then: mlflow db upgrade {redact(uri)}; a store of a newer MLflow needs that MLflow",
        )


@contextmanager
def _asked(uri: str) -> Iterator[None]:
    """What MLflow, SQL or the network say as one kind of error, and soon."""
    try:
        with short_and_quiet():
            yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = redact(str(error).strip().partition("\n")[0])[:300]
        how = "see that the server runs and the address is right"
        if "database schema" in reason:
            how = f"copy the database, then: mlflow db upgrade {redact(uri)}"
        raise TrackingError(f"the tracking store cannot be read ({reason})", where=redact(uri), how=how) from error
