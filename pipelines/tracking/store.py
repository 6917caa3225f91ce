"""The MLflow store: which one is used, how it is opened, how its pages are shown."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as database

from pipelines.errors import TrackingError

NOTE = "mlflow.note.content"  # the tag that MLflow's pages show as a description
_SQLITE = "sqlite:///"
# Without it MLflow 3 opens on its pages for language models: empty, with no models in the menu.
_PAGE = "/#/experiments?workflowType=machine_learning"
_USER_INFO = re.compile(r"(?<=://)[^/?#\s'\"]+@")
_SECRET_IN_QUERY = re.compile(r"([?&](?:password|passwd|pwd|token|secret|api_?key)=)[^&\s'\"]+", re.IGNORECASE)


def tracking_uri(project_root: str | os.PathLike[str] | None = None) -> str:
    """The store that runs go to: ``MLFLOW_TRACKING_URI``, or ``mlruns/mlflow.db`` (SQLite) under the project.

    Args:
        project_root: the project's folder. None: the checkout that this package lies in, or the current directory
            where the package is installed apart from one.

    Returns:
        A URI that MLflow opens from any working directory (the path in a SQLite URI is absolute).

    Raises:
        TrackingError: ``MLFLOW_TRACKING_URI`` names a folder, which MLflow 3.13 and later refuse.
    """
    configured = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if configured:
        return checked_uri(configured, where="MLFLOW_TRACKING_URI")
    root = _checkout() if project_root is None else Path(project_root)
    return _SQLITE + quote(str(root.expanduser().resolve() / "mlruns" / "mlflow.db"))


def checked_uri(uri: str, *, where: str = "tracking_uri") -> str:
    """``uri`` with an absolute SQLite path; ``TrackingError`` (naming ``where``) if MLflow has no such store."""
    if uri.startswith(_SQLITE) and ":memory:" not in uri:
        path, question, query = uri[len(_SQLITE) :].partition("?")
        return _SQLITE + quote(str(Path(unquote(path)).absolute())) + question + query
    if uri.startswith("file:") or ("://" not in uri and not uri.startswith("databricks")):
        raise TrackingError(
            f"MLflow no longer keeps runs in a folder ({redact(uri)})",
            where=where,
            how="name a SQLite file (sqlite:////folder/mlflow.db) or a server (http://host:port)",
        )
    return uri


def chosen_uri(given: str | None, project_root: str | os.PathLike[str]) -> str:
    """The store that a command uses: what ``--tracking_uri`` gives, or ``tracking_uri(project_root)``."""
    return checked_uri(given, where="--tracking_uri") if given else tracking_uri(project_root)


def redact(text: str) -> str:
    """``text`` without the user names, passwords and tokens of the URIs in it."""
    return _SECRET_IN_QUERY.sub(r"\1***", _USER_INFO.sub("", text))


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other kind."""
    if not uri.startswith(_SQLITE) or ":memory:" in uri:
        return None
    return Path(unquote(uri[len(_SQLITE) :].partition("?")[0]))


def open_store(uri: str) -> MlflowClient:
    """A client of the store at ``uri``; a SQLite store that does not exist yet is made, its folder too.

    Raises:
        OSError, MlflowException, sqlalchemy.exc.SQLAlchemyError: the store cannot be opened.
    """
    path = sqlite_path(uri)
    if path is None:
        return MlflowClient(tracking_uri=uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(path.name + ".lock")), _without_migration_chatter():
        if not path.exists():
            logging.getLogger(__name__).info("making the tracking store %s (takes some seconds, once)", path)
            _make(path)
        client = MlflowClient(tracking_uri=uri)
        client.get_experiment_by_name("Default")  # MLflow opens its store at the first call: here, under the lock
    return client


def experiment_id(client: MlflowClient, uri: str, name: str, description: str = "") -> str:
    """The id of the experiment ``name``, which is made, or restored if it was deleted, and described if it is not.

    The artefacts of a SQLite store lie beside its file, in ``artifacts``. MLflow's own choice is ``./mlruns`` in
    whichever directory the first run was started from.
    """
    for attempt in range(2):
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
                client.restore_experiment(experiment.experiment_id)
            if description and not experiment.tags.get(NOTE):
                client.set_experiment_tag(experiment.experiment_id, NOTE, description)
            return str(experiment.experiment_id)
        path = sqlite_path(uri)
        place = None if path is None else (path.parent / "artifacts").as_uri()
        try:
            return str(client.create_experiment(name, place, {NOTE: description} if description else None))
        except MlflowException as error:  # another process made it between the two calls
            if attempt or error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    raise AssertionError("unreachable")


def ui_command(
    project_root: str | os.PathLike[str] | None = None, *, host: str = "127.0.0.1", port: int = 5000
) -> list[str]:
    """The command that shows the store in a browser at ``ui_address(host, port)``, for ``subprocess.Popen``.

    Raises:
        TrackingError: the store is a server, which has its own pages.
    """
    uri = tracking_uri(project_root)
    if uri.startswith(("http://", "https://")):
        address = redact(uri).partition("?")[0].rstrip("/")
        raise TrackingError("the runs are kept by a server", where=address, how=f"open {address}{_PAGE} in a browser")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    path = sqlite_path(uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        command += ["--artifacts-destination", str(path.parent / "artifacts")]
    return [*command, "--host", host, "--port", str(port)]


def ui_address(host: str = "127.0.0.1", port: int = 5000) -> str:
    """The page of trainings, with the registry in its menu, of the server that ``ui_command`` starts."""
    return f"http://{host}:{port}{_PAGE}"


def _checkout() -> Path:
    parent = Path(__file__).resolve().parents[2]
    return parent if (parent / "setup.cfg").is_file() else Path.cwd()


def _make(path: Path) -> None:
    """Make the tables in a file beside ``path``, then give it that name: a process that is killed before would leave
    tables that MLflow neither uses nor completes ("index already exists")."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    beside = [unfinished, *(unfinished.with_name(f"{unfinished.name}-{end}") for end in ("journal", "wal", "shm"))]
    for left in beside:  # by a process that was killed; we hold the lock
        left.unlink(missing_ok=True)
    engine = database.create_sqlalchemy_engine_with_retry(_SQLITE + quote(str(unfinished)))
    try:
        database._initialize_tables(engine)
    finally:
        engine.dispose()
    unfinished.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file: two processes that make the tables at once leave a store that MLflow refuses."""
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the system when the file is closed, or its process dies
        yield


@contextmanager
def without_traces() -> Iterator[None]:
    """What MLflow raises of a database, its full disk say, it logs with a stack trace beforehand: not that."""
    logger = logging.getLogger("mlflow.store.db.utils")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _without_migration_chatter() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow.store.db.utils")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
