from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from mlflow import MlflowClient
from tiny_training import artifacts, runs, tiny_evaluator, tiny_training

from pipelines.tracking import EvaluationTracker, log_evaluation
from pipelines.tracking.run_file import RunRecord, write_run_file


def test_metrics_and_files_land_in_the_training_run(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, tracker = tiny_training(tracking_uri=store, ckpt_dir=tmp_path / "models")
    trainer.run()
    (before,) = runs(store)
    output = tmp_path / "eval"
    (output / "worst").mkdir(parents=True)
    (output / "worst" / "case.png").write_bytes(b"png")
    (output / "mask.nii.gz").write_bytes(b"large")
    (output / "masks").mkdir()
    (output / "masks" / "case.nii.gz").write_bytes(b"kept")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")  # the run is where run.json says
    evaluation = EvaluationTracker(tmp_path / "models" / "any.pt", output_dir=output)
    evaluator = tiny_evaluator(torch.nn.Linear(4, 1), handlers=[evaluation])
    evaluator.add_event_handler(Events.COMPLETED, lambda: (output / "cases.csv").write_text("late\n"))
    evaluator.run()

    (run,) = runs(store)
    assert evaluation.run_id == run.info.run_id == tracker.run_id
    assert run.data.metrics["test_val_error"] == pytest.approx(evaluator.state.metrics["val_error"])
    assert (run.info.status, run.info.end_time) == ("FINISHED", before.info.end_time)
    assert artifacts(store, run.info.run_id, "evaluation") == {
        "evaluation/masks", "evaluation/worst", "evaluation/cases.csv", "evaluation/command.txt"
    }  # fmt: skip
    assert artifacts(store, run.info.run_id, "evaluation/masks") == {"evaluation/masks/case.nii.gz"}
    assert artifacts(store, run.info.run_id, "evaluation/worst") == {"evaluation/worst/case.png"}
    assert not (tmp_path / "other.db").exists()
    assert list(Path().iterdir()) == []


def test_shipped_weights_get_a_run_of_their_own(store: str, tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("# Report\n")
    metrics = {"test_lesion_dice": 0.5, "lung_dice": math.inf}
    run_id = log_evaluation(
        tmp_path / "model.safetensors", metrics, [tmp_path / "report.md"], experiment="tiny_bundle", uri=store
    )
    (run,) = runs(store)
    assert run.info.run_id == run_id
    assert run.info.status == "FINISHED"
    assert run.data.tags["evaluation_only"] == "true"
    assert run.data.metrics["test_lesion_dice"] == 0.5
    assert math.isnan(run.data.metrics["test_lung_dice"])
    assert "evaluation/report.md" in artifacts(store, run.info.run_id, "evaluation")
    assert MlflowClient(tracking_uri=store).get_experiment(run.info.experiment_id).name == "tiny_bundle"


def test_a_run_of_shipped_weights_says_what_they_are_and_what_they_were_measured_on(store: str, tmp_path: Path) -> None:
    datalist = tmp_path / "datalist.json"
    datalist.write_text('{"name": "made", "fingerprint": "sha256:12", "split": {"seed": 1}, "test": [1, 2]}')
    about = {"network": torch.nn.Linear(2, 1), "network_name": "line", "datalist": datalist}
    log_evaluation(tmp_path / "line.safetensors", {"auc": 0.5}, experiment="tiny_bundle", uri=store, **about)
    (run,) = runs(store)
    told = run.data.params
    assert (told["network"], told["parameters"], told["data_fingerprint"]) == ("line", "3", "sha256:12")
    assert told["data_test_cases"] == "2"
    datalist.unlink()
    assert log_evaluation(tmp_path / "line.safetensors", {"auc": 0.5}, uri=store, **about), "warned of, and no fault"


def test_a_run_that_is_no_longer_in_the_store(store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run_file(tmp_path, RunRecord("0" * 32, "tiny_bundle", "sqlite:////gone/mlflow.db", "tiny", "2026-01-01"))
    run_id = log_evaluation(tmp_path, {"lesion_dice": 0.5}, uri=store)
    (run,) = runs(store)
    assert run.info.run_id == run_id != "0" * 32
    assert "is not in" in caplog.text


def test_a_store_that_was_moved_with_its_project(store: str, tmp_path: Path) -> None:
    trainer, tracker = tiny_training(tracking_uri=store, ckpt_dir=tmp_path / "models")
    trainer.run()
    (tmp_path / "mlruns").rename(tmp_path / "moved")
    moved = f"sqlite:///{tmp_path}/moved/mlflow.db"
    assert log_evaluation(tmp_path / "models", {"lesion_dice": 0.5}, uri=moved) == tracker.run_id
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()  # no second, empty store at the old place


def test_runs_measured_on_the_same_cases_carry_the_same_mark(store: str, tmp_path: Path) -> None:
    marks = []
    for number, rows in enumerate(("a,0.1\nb,0.2\n", "b,0.4\na,0.3\n", "a,0.1\nc,0.2\n")):
        folder = tmp_path / str(number)
        (folder / "evaluation").mkdir(parents=True)
        (folder / "evaluation" / "cases.csv").write_text(f"case,dice\n{rows}")
        run_id = log_evaluation(folder / "model.pt", {"dice": 0.1}, [folder / "evaluation"], uri=store)
        marks.append(MlflowClient(tracking_uri=store).get_run(run_id).data.tags["test_cases"])
    assert marks[0] == marks[1] != marks[2]
    assert all(marks)
