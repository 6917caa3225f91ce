"""What the store has whole is not trained again; what it lacks, or has in part, is. Trainings are made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_audits import made_audit
from mlflow import MlflowClient

from pipelines.errors import TrackingError
from pipelines.files import table, text, write_file
from pipelines.synthetic_audit import trainings as module
from pipelines.synthetic_audit.plan import Audit, Training
from pipelines.synthetic_audit.trainings import MARK, run_trainings
from pipelines.tracking.run_writer import RunWriter

HEAD = ["case", "patient", "label", "predicted", "p_normal", "p_pneumonia"]


class MadeTrainings:
    """Stands in for trainings: writes a run as one that was done; some leave it unfinished, or without a table."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.status: dict[str, str] = {}
        self.without: dict[str, str] = {}

    def __call__(self, audit: Audit, training: Training, key: str, *_: Any) -> None:
        self.done.append(training.name)
        (audit.out / training.name).mkdir(parents=True, exist_ok=True)
        writer = RunWriter(audit.uri, folder=audit.out / training.name)
        writer.start(audit.bundle.name, training.name, {})
        rows = [(f"case{k}", f"patient{k}", "normal", "pneumonia", 0.2, 0.8) for k in range(3)]
        for name, folder in (("pictures.csv", "evaluation"), ("generated.csv", "audit")):
            if self.without.get(training.name) == name:
                continue
            path = audit.out / training.name / name
            write_file(path, text(table(HEAD, rows)))
            writer.file(path, folder)
        writer.tags({MARK: key})
        writer.end(self.status.get(training.name, "FINISHED"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> MadeTrainings:
    stand_in = MadeTrainings()
    monkeypatch.setattr(module, "_train", stand_in)
    monkeypatch.setattr(module, "_WARM", ("json",))
    return stand_in


def test_each_training_is_done_once(tmp_path: Path, new_store: Callable[[Path], str], made: MadeTrainings) -> None:
    (tmp_path / "datalist.json").write_text("{}")
    audit = made_audit(tmp_path / "out", tmp_path, new_store(tmp_path))
    planned = audit.trainings({0: 8, 1: 16}, (64, 64))
    first, second, third = (each.name for each in planned[:3])
    made.status[first], made.without[second], made.without[third] = "FAILED", "generated.csv", "pictures.csv"

    def run(audit: Audit, planned: list[Training]) -> list[str]:
        made.done, said = [], []
        found = run_trainings(audit, planned, tmp_path, None, None, said.append)  # type: ignore[arg-type]
        assert [each.training for each in found] == planned
        assert all(each.items.names == ("normal", "pneumonia") for each in found)
        assert bool(said) == (len(made.done) < len(planned))
        return made.done

    with pytest.raises(TrackingError, match="does not give back"):
        run(audit, planned)
    assert len(made.done) == 6
    made.status, made.without = {}, {}
    assert run(audit, planned) == [first, second, third], "a failed one, and two without a table"
    assert run(audit, planned) == []
    other = made_audit(tmp_path / "elsewhere", tmp_path, audit.uri)
    assert run(other, other.trainings({0: 8, 1: 16}, (64, 64))) == [], "the store counts, and not the folder"
    changed = made_audit(tmp_path / "out", tmp_path, audit.uri, knobs=["--batch_size", "4"])
    assert len(run(changed, changed.trainings({0: 8, 1: 16}, (64, 64)))) == 6
    more = made_audit(tmp_path / "out", tmp_path, audit.uri, seeds=(0, 1, 2))
    assert len(run(more, more.trainings({0: 8, 1: 16}, (64, 64)))) == 3, "a further seed alone"

    client = MlflowClient(audit.uri)
    found = run_trainings(audit, planned, tmp_path, None, None, lambda _: None)  # type: ignore[arg-type]
    client.delete_run(found[4].run_id)
    assert run(audit, planned) == [planned[4].name]
