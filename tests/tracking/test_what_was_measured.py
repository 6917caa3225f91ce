"""What an evaluation says of the data that it measured, and that a second one leaves nothing of the first."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tiny_training import artifacts, runs

from pipelines.tracking import log_evaluation
from pipelines.tracking.run_file import RunRecord, write_run_file
from pipelines.tracking.store import experiment_id, open_store


@pytest.fixture
def checkpoint(store: str, tmp_path: Path) -> Path:
    """Weights beside the record of a run of the store, as a training leaves them."""
    client = open_store(store)
    run = client.create_run(experiment_id(client, store, "tiny_bundle"))
    client.set_terminated(run.info.run_id)
    write_run_file(tmp_path / "models", RunRecord(run.info.run_id, "tiny_bundle", store, "tiny", "2026-01-01"))
    return tmp_path / "models" / "model.pt"


def evaluation(folder: Path, labels: dict[str, str], **files: str) -> Path:
    """What an evaluation wrote: a class a picture, and further files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.csv").write_text("case,patient\n" + "".join(f"{case},{case}\n" for case in labels))
    lines = "".join(f"{case},{label}\n" for case, label in labels.items())
    (folder / "pictures.csv").write_text(f"case,label\n{lines}")
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    return folder


def datalist(path: Path, fingerprint: str, *tested: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"name": "made", "fingerprint": fingerprint, "split": {"seed": 1}, "training": [1, 2]}
    path.write_text(json.dumps(head | {"test": [{"case": case} for case in tested]}))
    return path


def only(store: str) -> Run:
    (run,) = runs(store)
    return run


def test_the_data_and_the_rule_that_were_measured_are_recorded(store: str, checkpoint: Path, tmp_path: Path) -> None:
    other = datalist(tmp_path / "other" / "datalist.json", "sha256:ef", "a", "b")
    log_evaluation(checkpoint, {"auc": 0.9}, datalist=other, label_rule="mild from 0.05")
    tags = only(store).data.tags
    assert (tags["test_data_fingerprint"], tags["test_data_test_cases"]) == ("sha256:ef", "2")
    assert tags["test_data_split"] == '{"seed": 1}'
    assert tags["test_label_rule"] == "mild from 0.05"


def test_what_is_shown_of_it_is_recorded_in_its_order(store: str, checkpoint: Path) -> None:
    log_evaluation(checkpoint, {"auc": 0.9, "f1": 0.8}, shown=["f1", "auc"])
    assert only(store).data.tags["test_shown_metrics"] == "f1,auc"
    log_evaluation(checkpoint, {"auc": 0.9})
    assert "test_shown_metrics" not in only(store).data.tags, "an evaluation leaves nothing of another"


def test_other_truths_of_the_same_cases_have_another_mark(store: str, checkpoint: Path, tmp_path: Path) -> None:
    marks = []
    for number, labels in enumerate(({"a": "x", "b": "y"}, {"b": "y", "a": "x"}, {"a": "y", "b": "y"})):
        log_evaluation(checkpoint, {"auc": 0.9}, [evaluation(tmp_path / str(number) / "evaluation", labels)])
        marks.append(only(store).data.tags["test_truth"])
    assert marks[0] == marks[1] != marks[2]


def test_a_mended_mask_is_another_truth(store: str, checkpoint: Path, tmp_path: Path) -> None:
    marks = []
    for extent in ("0.1", "0.2"):
        folder = tmp_path / extent
        folder.mkdir()
        (folder / "cases.csv").write_text(f"case,patient,lesion_extent_label\na,a,{extent}\n")
        log_evaluation(checkpoint, {"dice": 0.9}, [folder])
        marks.append(only(store).data.tags["test_truth"])
    assert marks[0] != marks[1]


def test_a_second_evaluation_leaves_nothing_of_the_first(store: str, checkpoint: Path, tmp_path: Path) -> None:
    first = evaluation(tmp_path / "first" / "evaluation", {"a": "x"}, groups="old")
    log_evaluation(
        checkpoint, {"auc": 0.9, "f1": 0.8, "auc_ci_low": 0.7}, [first], label_rule="old",
        datalist=datalist(tmp_path / "old.json", "sha256:12"),
    )  # fmt: skip
    MlflowClient(tracking_uri=store).log_metric(only(store).info.run_id, "val_auc", 0.95, step=3)
    second = tmp_path / "second" / "evaluation"
    second.mkdir(parents=True)
    (second / "cases.csv").write_text("case,patient\nz,z\n")
    log_evaluation(checkpoint, {"auc": 0.5}, [second])
    run = only(store)
    assert run.data.metrics["test_auc"] == 0.5
    assert math.isnan(run.data.metrics["test_f1"])
    assert math.isnan(run.data.metrics["test_auc_ci_low"])
    assert run.data.metrics["val_auc"] == 0.95, "of the training, and stays"
    left = {name for name in run.data.tags if name.startswith("test_")}
    assert left == {"test_cases"}
    assert artifacts(store, run.info.run_id, "evaluation") == {"evaluation/cases.csv", "evaluation/command.txt"}
    assert run.data.tags["evaluations"] == "2"
    assert run.info.status == "FINISHED"


def test_the_latest_evaluation_counts_whatever_the_clock_says(
    store: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_evaluation(checkpoint, {"auc": 0.9})
    monkeypatch.setattr("pipelines.tracking.run_writer.time.time", lambda: 1000.0)
    log_evaluation(checkpoint, {"auc": 0.5})
    assert only(store).data.metrics["test_auc"] == 0.5
