"""What a run records, how it ends, and that no two are merged."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from bundle_under_test import Bundle, listing
from config_reading import components, items, references
from conftest import Chain, Runs
from mlflow.entities import Run
from monai.bundle import ConfigWorkflow

from pipelines.auditing.contents import at, has
from pipelines.tracking import tracking_uri
from pipelines.tracking.run_file import read_run_file

pytestmark = pytest.mark.contract("supervised")


def run_of(folder: Path, runs: Runs) -> Run:
    record = read_run_file(folder)
    assert record is not None, f"no run.json in {folder}"
    return runs.all()[record.run_id]


def tracker(config: dict[str, Any]) -> dict[str, Any]:
    (found,) = [each for _, each in components(config) if each["_target_"].endswith("RunTracker")]
    return found


def knobs(config: dict[str, Any]) -> set[str]:
    """Ids at the top that hold a plain value, but for those that the tracker itself is told (its name, its store)."""
    plain = {key for key, value in config.items() if not isinstance(value, dict | str) or not str(value).strip("$@")}
    plain |= {key for key, value in config.items() if isinstance(value, str) and not value.startswith(("$", "@"))}
    plain -= {"imports", "initialize", "run", "finalize", "bundle_root"}
    own = {key: value for key, value in tracker(config).items() if key != "params"}
    return plain - references(own) | {"device", "amp", "dataset_dir"}


def metric_names(config: dict[str, Any], *ids: str) -> set[str]:
    return {name for id in ids if has(config, id) for name in at(config, id) or ()}


def crashing(bundle: Bundle, phantoms: Path, folder: Path) -> ConfigWorkflow:
    workflow = bundle.workflow("train", "train", bundle.smallest, dataset_dir=phantoms, ckpt_dir=folder)
    workflow.parser["train#handlers"].append({"_target_": "interrupting_handlers.Crash", "epoch": 2})
    workflow.initialize()
    return workflow


def test_training_is_one_finished_run_in_the_bundles_experiment(bundle: Bundle, trained: Chain, runs: Runs) -> None:
    run = run_of(trained.ckpt_dir, runs)
    assert run.info.status == "FINISHED"
    experiment = runs.client.get_experiment(run.info.experiment_id)
    assert experiment.name == bundle.name
    checkpoint = str(trained.checkpoint.resolve())
    of_it = [id for id, each in runs.all().items() if each.data.tags.get("best_checkpoint") == checkpoint]
    assert of_it == [run.info.run_id]


def test_run_has_every_knob(bundle: Bundle, trained: Chain, runs: Runs) -> None:
    params = run_of(trained.ckpt_dir, runs).data.params
    assert knobs(bundle.config("train")) - params.keys() == set()
    for key, value in bundle.small("train").items():
        assert params[key] == ("cpu" if key == "device" else str(value))


def test_run_says_what_was_trained_on_what(bundle: Bundle, phantoms: Path, trained: Chain, runs: Runs) -> None:
    run = run_of(trained.ckpt_dir, runs)
    network = bundle.network(bundle.smallest)
    assert run.data.params["network"] == bundle.smallest
    assert run.data.params["parameters"] == str(sum(each.numel() for each in network.parameters()))
    fingerprint = re.search(r'"fingerprint": "([^"]+)"', (phantoms / "datalist.json").read_text())
    assert fingerprint is not None
    assert run.data.params["data_fingerprint"] == fingerprint.group(1)
    assert run.data.params["data_phantom"] == "True"
    assert run.data.tags.keys() >= {"version_monai", "version_torch", "version_mlflow", "network"}


def test_run_has_every_metric_each_epoch(bundle: Bundle, trained: Chain, runs: Runs) -> None:
    config = bundle.config("train")
    ids = ("train#key_metric", "train#additional_metrics", "validate#key_metric", "validate#additional_metrics")
    names = metric_names(config, *ids) | {"train_loss", "learning_rate", "epoch_seconds"}
    run = run_of(trained.ckpt_dir, runs)
    assert names - run.data.metrics.keys() == set()
    for name in names:
        history = runs.client.get_metric_history(run.info.run_id, name)
        assert [each.step for each in history] == [1, 2], name
    (key,) = metric_names(config, "validate#key_metric")
    assert f"best_{key}" in run.data.metrics


def test_metrics_that_are_asked_for_exist(bundle: Bundle, trained: Chain, evaluated: Chain, runs: Runs) -> None:
    """MONAI drops an unknown name in silence: the best is then never saved, the file of metrics has no such column."""
    there = run_of(trained.ckpt_dir, runs).data.metrics.keys()
    for names in (["train"], ["train", "evaluate"]):
        config = bundle.config(*names)
        texts = [value for _, value in items(config) if isinstance(value, str)]
        asked = {name for text in texts for name in re.findall(r"metrics\[['\"](\w+)['\"]\]", text)}
        for _, component in components(config):
            asked |= {component["key_metric_name"]} if component.get("key_metric_name") else set()
            if component["_target_"].endswith("MetricsSaver") and isinstance(component.get("metrics"), list):
                asked |= set(component["metrics"])
        assert asked - there == set(), names


def test_early_stopping_and_checkpoints_saw_the_key_metric(trained: Chain, runs: Runs, bundle: Bundle) -> None:
    (key,) = metric_names(bundle.config("train"), "validate#key_metric")
    run = run_of(trained.ckpt_dir, runs)
    values = [each.value for each in runs.client.get_metric_history(run.info.run_id, key)]
    assert run.data.metrics[f"best_{key}"] == max(values)
    assert Path(run.data.tags["best_checkpoint"]) == trained.checkpoint.resolve()


def test_run_keeps_config_command_and_curve(bundle: Bundle, trained: Chain, runs: Runs) -> None:
    kept = runs.files(run_of(trained.ckpt_dir, runs).info.run_id)
    assert {"config/train.yaml", f"config/{bundle.smallest}.yaml", "config/command.txt", "learning_curve.png"} <= kept


def test_evaluation_is_part_of_the_training_run(bundle: Bundle, evaluated: Chain, runs: Runs) -> None:
    run = run_of(evaluated.ckpt_dir, runs)
    (key,) = metric_names(bundle.config("train", "evaluate"), "validate#key_metric")
    assert key.startswith("test_")
    assert {key, f"{key}_ci_low", f"{key}_ci_high"} <= run.data.metrics.keys()
    assert run.info.status == "FINISHED"
    kept = runs.files(run.info.run_id)
    assert {"evaluation/cases.csv", "evaluation/summary.json"} <= kept
    checkpoint = str(evaluated.checkpoint.resolve())
    alone = [id for id, each in runs.all().items() if each.data.tags.get("checkpoint") == checkpoint]
    assert alone == [], "the evaluation made a run of its own"


def test_a_crash_ends_failed_and_the_next_run_does_not_join_it(
    bundle: Bundle, phantoms: Path, tmp_path: Path, runs: Runs
) -> None:
    before = runs.all().keys()
    with pytest.raises(RuntimeError) as raised:
        crashing(bundle, phantoms, tmp_path / "crash").run()
    assert "something broke" in str(raised.value.__cause__)
    crash = run_of(tmp_path / "crash", runs)
    assert crash.info.status == "FAILED"
    assert crash.data.tags["error"] == "Broken"
    workflow = bundle.workflow("train", "train", bundle.smallest, dataset_dir=phantoms, ckpt_dir=tmp_path / "next")
    workflow.initialize()
    workflow.run()
    following = run_of(tmp_path / "next", runs)
    assert following.info.status == "FINISHED"
    assert runs.all().keys() - before == {crash.info.run_id, following.info.run_id}
    assert runs.all()[crash.info.run_id].info.status == "FAILED"


def test_store_is_a_database_under_the_project(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow refuses a folder; and a run left to ``./mlruns`` would be lost in whichever directory it began."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    workflow = bundle.workflow("train", "train")
    uri = workflow.parser.get_parsed_content("tracking_uri")
    assert uri == tracking_uri(bundle.root.parents[1])
    assert re.fullmatch(r"sqlite:////.*\.db", uri)


def test_monais_tracking_writes_nothing_into_an_installed_package(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ``--tracking mlflow`` keeps the config of the run as a file."""
    site, here = tmp_path / "site" / "bundles", tmp_path / "cwd"
    shutil.copytree(bundle.configs, site / bundle.name / "configs")
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("pipelines.bundle._SHIPPED", site)
    before = listing(tmp_path / "site")
    for kind, *names in (("train", "train"), ("train", "train", "evaluate"), ("infer", "inference")):
        Bundle(site / bundle.name).workflow(kind, *names, tracking="mlflow", dataset_dir=here)
    assert listing(tmp_path / "site") == before
    kept = {str(Path(path).parent) for path in listing(here)}
    assert f"{bundle.name}/eval" in kept
    assert all(folder.startswith(bundle.name) for folder in kept)
