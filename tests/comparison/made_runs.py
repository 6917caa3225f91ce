"""Runs without trainings: what a training and its evaluation leave in a store, with the figures a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from numpy.typing import ArrayLike

from pipelines.evaluation import ClassificationReport, RatedItem, write_evaluation
from pipelines.evaluation.case_tables import cases_digest
from pipelines.evaluation.report import flatten
from pipelines.tracking.store import experiment_id

FINGERPRINT = "sha256:" + "ab" * 32
SPLIT = '{"rule": "by patient", "seed": 0}'


@dataclass
class Made:
    """A store, and a folder for what is written on the way."""

    uri: str
    folder: Path

    def segmentation(
        self,
        network: str,
        dice: ArrayLike,
        *,
        cases: Sequence[str] | None = None,
        patients: Sequence[str] | None = None,
        keep_files: bool = True,
        others: Mapping[str, Sequence[float]] | None = None,
        **arguments: object,
    ) -> str:
        """A run that was evaluated on cases with these values of Dice; the id of the run."""
        values = np.asarray(dice, dtype=float)
        names = list(cases or [f"case{k:03d}" for k in range(len(values))])
        owners = list(patients or names)
        columns = {"lesion_dice": values, "lesion_sensitivity": values, **(others or {})}
        rows = [
            {"case": case, "patient": owner, "metrics": {name: column[k] for name, column in columns.items()}}
            for k, (case, owner) in enumerate(zip(names, owners, strict=True))
        ]
        files = self.folder / "evaluation"
        summary = write_evaluation(rows, files, n_resamples=40)
        return self.run(network, flatten(summary), files if keep_files else None, **arguments)

    def classification(
        self,
        network: str,
        scores: ArrayLike,
        labels: ArrayLike,
        *,
        patients: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        **others,
    ) -> str:
        """A run that gave these probabilities of the second class; it says the second class from 0.5."""
        scores, labels = np.asarray(scores, dtype=float), np.asarray(labels)
        report = ClassificationReport(self.folder / "evaluation", ["normal", "pneumonia"])
        names = list(names or [f"picture{k:03d}" for k in range(len(scores))])
        items = [
            RatedItem(name, owner, None, int(label), (1 - score, float(score)), f"{name}.png")
            for name, owner, score, label in zip(names, patients or names, scores, labels, strict=True)
        ]
        files = self.folder / "evaluation"
        files.mkdir(exist_ok=True)
        for old in files.iterdir():
            old.unlink()
        (files / "pictures.csv").write_text(report.item_table(items))
        (files / "cases.csv").write_text(report.case_table(items))
        found = report.scores(np.stack([1 - scores, scores], axis=1), labels, (scores >= 0.5).astype(int))
        return self.run(network, {f"test_{name}": value for name, value in found.items()}, files, **others)

    def run(
        self,
        network: str,
        metrics: Mapping[str, float],
        files: Path | None = None,
        *,
        experiment: str = "bundle",
        status: str = "FINISHED",
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
        name: str | None = None,
        history: Mapping[str, Sequence[float]] | None = None,
        marked: bool = True,
    ) -> str:
        """A run as it is."""
        client = MlflowClient(tracking_uri=self.uri)
        number = experiment_id(client, self.uri, experiment)
        run_id = client.create_run(
            number, run_name=name or network, tags={"config_files": "", **(tags or {})}
        ).info.run_id
        everything = {
            "network": network, "seed": 0, "epochs": 3, "parameters": 1000, "data_name": "made", "data_split": SPLIT,
            "data_fingerprint": FINGERPRINT, "data_phantom": False, "data_training_cases": 8,
            "data_validation_cases": 2, "data_test_cases": 4, **(params or {}),
        }  # fmt: skip
        points = [Metric(key, value, 0, 0) for key, value in metrics.items()]
        for key, values in (history or {"train_loss": [1.0, 0.5, 0.25]}).items():
            points += [Metric(key, value, epoch, epoch) for epoch, value in enumerate(values, start=1)]
        client.log_batch(run_id, metrics=points, params=[Param(k, str(v)) for k, v in everything.items() if v != ""])
        if files is not None:
            client.log_artifacts(run_id, str(files), "evaluation")
            if marked:
                client.set_tag(run_id, "test_cases", cases_digest(files / "cases.csv"))
        if status != "RUNNING":
            client.set_terminated(run_id, status)
        return str(run_id)
