"""A search draws knobs, trains each trial in a process of its own, prunes, goes on, and keeps its books."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines import tuning
from pipelines.bundle import GENERATION, bundle_kind, bundles_in
from pipelines.errors import ConfigError, UsageError
from pipelines.tuning import Study, read_ranges, tune
from pipelines.warm import WarmPython

BUNDLE = Path(__file__).resolve().parent.parent / "bundles" / "covid_ct_severity_classification"
RANGES = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "balancing": {"choices": ["sampling", "none"]}}
# Stands in for a training: a run of five epochs, the fourth one bad from its start and without end.
TRAINING = """
import os, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if words["--balancing"] == "broken":
    raise SystemExit("out of memory")
from pathlib import Path
from mlflow import MlflowClient
from pipelines.tracking.run_file import RunRecord, write_run_file
client = MlflowClient(tracking_uri=words["--tracking_uri"])
name = words["--run_name"]
run = client.create_run("0", run_name=name, tags={"mlflow.parentRunId": os.environ["PIPELINES_PARENT_RUN"]})
write_run_file(Path(words["--ckpt_dir"]), RunRecord(run.info.run_id, "", words["--tracking_uri"], "", ""))
bad = name.endswith("trial003")
for epoch in range(1, 6):
    value = 0.0 if bad else epoch + float(words["--learning_rate"])
    client.log_metric(run.info.run_id, "val_log_likelihood", value, step=epoch)
time.sleep(300 if bad else 0)
client.set_terminated(run.info.run_id)
"""


@pytest.fixture
def study(tmp_path: Path, new_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch) -> Study:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    uri = new_store(tmp_path)
    made = tuning._command

    def command(*args: object) -> list[str]:
        words = made(*args)
        assert words[1:4] == ["-m", "monai.bundle", "run"]
        return [sys.executable, str(script), *words[4:]]

    monkeypatch.setattr(tuning, "_command", command)
    monkeypatch.setattr(tuning, "_key_metric", lambda bundle: "val_log_likelihood")
    return Study(BUNDLE, "severity_shufflenet", RANGES, ["--epochs", "5"], tmp_path / "study", uri, patience=1)


@pytest.mark.slow
def test_a_study_goes_on_prunes_and_nests_its_runs(
    study: Study, warm: WarmPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = tuning._command
    monkeypatch.setattr(tuning, "_command", lambda *args: [warm.python, *cold(*args)[1:]])
    assert [each.state.name for each in tune(study, 2).trials] == ["COMPLETE", "COMPLETE"]
    search = tune(study, 4)
    assert [each.state.name for each in search.trials] == ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED"]
    assert search.best_value == pytest.approx(5 + max(t.params["learning_rate"] for t in search.trials[:3]))

    client = MlflowClient(tracking_uri=study.uri)
    (parent,) = client.search_runs([client.get_experiment_by_name(BUNDLE.name).experiment_id])
    assert parent.data.metrics["best_value"] == pytest.approx(search.best_value)
    nested = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(nested) == 4
    assert [run.info.run_name for run in nested if "pruned" in run.data.tags] == ["study-trial003"]

    with (study.out / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED"]
    assert all(1e-4 <= float(row["learning_rate"]) <= 1e-2 for row in rows)
    best = json.loads((study.out / "best.json").read_text())
    at = best["command"].index("--balancing")
    assert best["command"][at + 1] in ("sampling", "none"), "a choice goes to the training as it was written"
    assert tune(study, 4).trials[-1].number == 3, "enough trials are there: none is added"


def test_a_folder_holds_one_search(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_train", lambda *_: 1.0)
    tune(study, 1)
    with pytest.raises(UsageError, match="of another network"):
        tune(replace(study, network="severity_resnet"), 2)
    with pytest.raises(UsageError, match="of another knobs"):
        tune(replace(study, knobs=["--epochs", "6"]), 2)


def test_trainings_that_all_fail_end_the_search(study: Study) -> None:
    broken = replace(study, ranges={**RANGES, "balancing": {"choices": ["broken"]}})
    with pytest.raises(UsageError, match="three trials failed"):
        tune(broken, 5)
    assert "out of memory" in (study.out / "trial002" / "train.log").read_text()


def test_what_cannot_be_searched_is_refused(study: Study) -> None:
    with pytest.raises(UsageError, match="--trials must be 1"):
        tune(study, 0)
    with pytest.raises(UsageError, match="there is no network 'nope'"):
        tune(replace(study, network="nope"), 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "declares no ranges"),
        ("[1]", "declares no ranges"),
        ("learning_rate: {low: 0.1", "cannot be read"),
        ("learning_rat: {low: 0.1, high: 1}", "'learning_rat' is no knob"),
        ("train: {low: 0.1, high: 1}", "'train' is no knob"),
        ("learning_rate: 0.1", "is not understood"),
        ("learning_rate: {low: 0.1}", "is not understood"),
        ("learning_rate: {low: 1, high: 0.1}", "low below high"),
        ("learning_rate: {low: a, high: b}", "needs numbers"),
        ("learning_rate: {low: 0, high: 1, log: true}", "logarithmic"),
        ("balancing: {choices: []}", "has no choices"),
    ],
)
def test_ranges_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_ranges(path, BUNDLE)


TUNED = sorted(name for name, each in bundles_in(BUNDLE.parent).items() if bundle_kind(each) != GENERATION)


@pytest.mark.parametrize("bundle", TUNED)
def test_every_bundle_declares_ranges_around_its_own_values(bundle: str) -> None:
    from monai.bundle import ConfigParser

    folder = BUNDLE.parent / bundle
    own = ConfigParser.load_config_file(str(folder / "configs" / "train.yaml"))
    for knob, given in read_ranges(folder / "configs" / "tuning" / "ranges.yaml", folder).items():
        if "choices" in given:
            assert own[knob] in given["choices"]
        else:
            assert given["low"] <= own[knob] <= given["high"], knob
