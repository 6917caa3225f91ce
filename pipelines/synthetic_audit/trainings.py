"""The trainings of an audit, each a run of the store: one that is in it is not trained again."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.comparison.cases import ItemTable, item_table, read_items
from pipelines.comparison.runs import Run, Store
from pipelines.cross_validation import Processes
from pipelines.cross_validation.plan import Say
from pipelines.cross_validation.steps import train_and_measure
from pipelines.errors import TrackingError, UsageError
from pipelines.files import text, write_file
from pipelines.synthetic_audit.pictures import Pictures
from pipelines.synthetic_audit.plan import Audit, Training, digest
from pipelines.synthetic_audit.predicting import predict_generated
from pipelines.tracking.run_file import read_run_file
from pipelines.tracking.run_writer import RunWriter
from pipelines.tracking.store import redact
from pipelines.warm import WarmPython

MARK = "synthetic_audit"  # tag of a run: the digest of its settings (`Audit.settings`)
_FOLDER, _FILE = "audit", "generated.csv"  # among its artefacts: what it predicts of generated pictures
_WARM: tuple[str, ...] = ("monai.bundle", "mlflow.store.tracking.sqlalchemy_store", "matplotlib.pyplot")
_WARM += ("pipelines.networks", "pipelines.evaluation", "pipelines.tracking")


@dataclass(frozen=True)
class Measured:
    """A training with what it predicts.

    Attributes:
        items: of the real test cases.
        generated: of generated pictures that it was not trained with.
        run_id: of its run.
        seconds: that it took, evaluation not counted; NaN where the store does not say.
    """

    training: Training
    items: ItemTable
    generated: ItemTable
    run_id: str
    seconds: float


def run_trainings(
    audit: Audit, trainings: Sequence[Training], data: Path, pictures: Pictures, parent: str | None, say: Say
) -> list[Measured]:
    """Train and measure what the store lacks, one after the other; all of it, in order.

    Args:
        data: the folder that they share. parent: the run that they are nested in.

    Raises:
        UsageError: a training or an evaluation failed.
        TrackingError: the store cannot be used.
    """
    keys = [digest(audit.settings(each, data)) for each in trainings]
    found = measured(audit.uri, dict(zip(keys, trainings, strict=True)))
    due = [(key, each) for key, each in zip(keys, trainings, strict=True) if key not in found]
    if len(due) < len(trainings):
        say(f"{len(trainings) - len(due)} of {len(trainings)} trainings are in the store, and are not done again")
    if due:
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
        with WarmPython(_WARM, environment) as warm, Processes(python=warm.python) as processes:
            warm.ready()
            for place, (key, training) in enumerate(due, start=len(trainings) - len(due) + 1):
                told = f"{place} of {len(trainings)}: {training.network}, {training.arm.name}, seed {training.seed}: "
                _train(audit, training, key, data, pictures, processes, parent, _told(say, told))
        found |= measured(audit.uri, dict(due))
    missing = [each for key, each in zip(keys, trainings, strict=True) if key not in found]
    if missing:
        what = f"the store does not give back {missing[0].name}, which was measured"
        raise TrackingError(what, where=redact(audit.uri), how="see that its artefacts can be read, and call again")
    return [found[key] for key in keys]


def measured(uri: str, wanted: Mapping[str, Training]) -> dict[str, Measured]:
    """Those of the trainings, by their digests, that the store has whole: finished, measured, and with both tables.

    Raises:
        TrackingError: the store cannot be read.
    """
    found: dict[str, Measured] = {}
    with Store(uri) as store:
        for run in store.runs():
            key = run.tags.get(MARK, "")
            if key not in wanted or key in found or run.status != "FINISHED":
                continue
            items, generated = read_items(store, run), _read_generated(store, run)
            if items is not None and generated is not None and items.names == generated.names:
                found[key] = Measured(wanted[key], items, generated, run.run_id, run.seconds)
    return found


def _train(
    audit: Audit,
    training: Training,
    key: str,
    data: Path,
    pictures: Pictures,
    processes: Processes,
    parent: str | None,
    say: Say,
) -> None:
    folder = audit.out / "trainings" / f"{training.name}-{key[:8]}"  # of other settings is another folder
    goes_on = " (going on from its checkpoint)" if (folder / "last.pt").is_file() else ""
    train_and_measure(
        training.plan, data, folder, training.name, processes, parent, say=say,
        training=f"training on {training.pictures} pictures, {training.epochs} epochs{goes_on}",
        measuring=f"measuring {len(pictures.chosen['test'])} real pictures",
    )  # fmt: skip
    say("predicting generated pictures, for the row that is marked as a fault")
    write_file(folder / _FILE, text(predict_generated(training.plan, folder / "last.pt", pictures)))
    record = read_run_file(folder)
    if record is None:
        raise UsageError("the training left no run in the store", where=folder, how="delete the folder, and call again")
    writer = RunWriter(audit.uri, record.run_id, folder)
    writer.file(folder / _FILE, _FOLDER)
    about = {"network": training.network, "arm": training.arm.name, "seed": training.seed, "steps": training.steps}
    writer.tags({**{f"{MARK}_{name}": value for name, value in about.items()}, MARK: key})  # last: it is whole now
    writer.leave()
    if writer.lost:
        how = "start it again, and call again: what is done is kept"
        raise TrackingError("the store cannot be written", where=redact(audit.uri), how=how)
    (folder / "last.pt").unlink(missing_ok=True)  # model.pt has the same weights, without the optimiser's state


def _told(say: Say, before: str) -> Say:
    return lambda line: say(before + line)


def _read_generated(store: Store, run: Run) -> ItemTable | None:
    path = store.file(run, f"{_FOLDER}/{_FILE}")
    if path is None:
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return item_table(list(csv.DictReader(file)))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
