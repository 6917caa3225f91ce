"""What can be written to a run, as plain data: written to the store at once, or kept in a journal and written later."""

from __future__ import annotations

import logging
import math
import re
import secrets
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
CUT = "the disk was full, and so what followed was not kept, nor how the run ended"  # its value: nobody can complete it
_COUNT, _KEY = "evaluations", "evaluation_key"  # tags: how many there were, and which is in the run
_ITEMS_A_CALL = 100  # MLflow's limit
_CONTEXT = "mlflow.data.context"


@dataclass(frozen=True)
class Entry:
    """One thing to write to a run; to write it twice is to write it once.

    Attributes:
        kind: ``params``, ``tags`` (name to text), ``metrics`` (``values``, ``step``), ``dataset``, ``text`` (``name``,
            ``text``), ``file`` (``path``, ``folder``), ``replace_evaluation`` (``metrics``, ``folder``, ``key``: see
            ``evaluation_entry``) or ``end`` (``status``).
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


def evaluation_entry(metrics: Mapping[str, float], folder: str) -> Entry:
    """An evaluation that takes the place of any earlier one; what is to go is looked up when it is written.

    The run's tags ``test_…`` and the artefacts in ``folder`` go, metrics ``test_…`` that are not in ``metrics`` become
    NaN, and the tag ``evaluations`` counts one more. A random key, kept as the tag ``evaluation_key``, tells whether
    it was written before.
    """
    return Entry("replace_evaluation", {"metrics": dict(metrics), "folder": folder, "key": secrets.token_hex(8)})


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


def _replace_evaluation(client: MlflowClient, run_id: str, data: Mapping[str, Any], at: int) -> None:
    if not re.fullmatch(r"\w+", data["folder"]):  # a journal that came with somebody's checkpoints could name any
        raise ValueError(f"{data['folder']!r} is no folder of artefacts")
    run = client.get_run(run_id)
    tags = run.data.tags
    if tags.get(_KEY) == data["key"]:
        return
    earlier = [name for name in run.data.metrics if name.startswith("test_")]
    count = int(tags[_COUNT]) if tags.get(_COUNT, "").isdecimal() else 0
    if earlier or count:
        count = max(count, 1)
        for name in tags:
            if name.startswith("test_"):
                _forget_tag(client, run_id, name)
        _forget_files(client, run.info.artifact_uri, data["folder"])
    values = dict.fromkeys(earlier, math.nan) | data["metrics"]
    # the highest step is the latest, whatever the machines' clocks say
    _metrics(client, run_id, {"values": values, "step": count}, at)
    # last, so that an evaluation that was cut short is written again, at the same step
    _tags(client, run_id, {_COUNT: str(count + 1), _KEY: data["key"]}, at)


def _forget_files(client: MlflowClient, uri: str, folder: str) -> None:
    try:
        get_artifact_repository(uri, tracking_uri=client.tracking_uri).delete_artifacts(folder)
    except Exception as error:  # whatever a bucket or its driver raises: what is written next still counts
        logger.warning("%s of an earlier evaluation is left in the run (%s)", folder, redact(str(error))[:300])


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
    "replace_evaluation": _replace_evaluation,
    "end": _end,
}


def _parts(items: list[Any]) -> Sequence[list[Any]]:
    return [items[first : first + _ITEMS_A_CALL] for first in range(0, len(items), _ITEMS_A_CALL)]
