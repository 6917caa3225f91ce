"""What can be written to a run, as plain data: written to the store at once, or kept in a journal and written later."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipelines.tracking.store import redact

logger = logging.getLogger(__name__)

INCOMPLETE = "incomplete"  # tag: set when a run begins, taken away when all of it is written
_ITEMS_A_CALL = 100  # MLflow's limit
_CONTEXT = "mlflow.data.context"


@dataclass(frozen=True)
class Entry:
    """One thing to write to a run; to write it twice is to write it once.

    Attributes:
        kind: ``params``, ``tags`` (name to text), ``metrics`` (``values``, ``step``), ``dataset``, ``text`` (``name``,
            ``text``), ``file`` (``path``, ``folder``), ``forget_tags`` (``names``), ``forget_files`` (``folder``, with
            all that is in it) or ``end`` (``status``).
        data: what is written, as JSON has it.
        at: when it was, in milliseconds since 1970.
    """

    kind: str
    data: Mapping[str, Any]
    at: int = field(default_factory=lambda: int(time.time() * 1000))

    def write(self, client: MlflowClient, run_id: str) -> None:
        """Write it to the run.

        Raises:
            Whatever a store, its driver or the network raises.
        """
        _WRITERS[self.kind](client, run_id, self.data, self.at)


def dataset_entry(dataset: Dataset, context: str) -> Entry:
    """The run's data, for a use ("training")."""
    about = {name: getattr(dataset, name) for name in ("name", "digest", "source_type", "source", "schema", "profile")}
    return Entry("dataset", {"dataset": about, "context": context})


def _params(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    for part in _parts([Param(name, text) for name, text in data.items()]):
        client.log_batch(run_id, params=part)


def _tags(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    for part in _parts([RunTag(name, text) for name, text in data.items()]):
        client.log_batch(run_id, tags=part)


def _metrics(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    for part in _parts([Metric(name, value, at, data["step"]) for name, value in data["values"].items()]):
        client.log_batch(run_id, metrics=part)


def _dataset(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    client.log_inputs(run_id, [DatasetInput(Dataset(**data["dataset"]), [InputTag(_CONTEXT, data["context"])])])


def _text(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    client.log_text(run_id, data["text"], data["name"])


def _file(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    client.log_artifact(run_id, data["path"], data["folder"] or None)


def _forget_tags(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    for name in data["names"]:
        _forget_tag(client, run_id, name)


def _forget_files(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    if not re.fullmatch(r"\w+", data["folder"]):  # a journal that came with somebody's checkpoints could name any
        raise ValueError(f"{data['folder']!r} is no folder of artefacts")
    uri = client.get_run(run_id).info.artifact_uri
    try:
        get_artifact_repository(uri, tracking_uri=client.tracking_uri).delete_artifacts(data["folder"])
    except Exception as error:  # whatever a bucket or its driver raises: what is written next still counts
        logger.warning("%s of an earlier evaluation is left in the run (%s)", data["folder"], redact(str(error))[:300])


def _end(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    client.set_terminated(run_id, data["status"], at)
    is_complete(client, run_id)


def is_complete(client: MlflowClient, run_id: str) -> None:
    """Take away the mark of a run that is still being written."""
    _forget_tag(client, run_id, INCOMPLETE)


def _forget_tag(client: MlflowClient, run_id: str, name: str) -> None:
    try:
        client.delete_tag(run_id, name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


_WRITERS: dict[str, Callable[[MlflowClient, str, Mapping[str, Any], int], None]] = {
    "params": _params,
    "tags": _tags,
    "metrics": _metrics,
    "dataset": _dataset,
    "text": _text,
    "file": _file,
    "forget_tags": _forget_tags,
    "forget_files": _forget_files,
    "end": _end,
}


def _parts(items: list[Any]) -> Sequence[list[Any]]:
    return [items[first : first + _ITEMS_A_CALL] for first in range(0, len(items), _ITEMS_A_CALL)]
