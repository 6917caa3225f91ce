"""A bundle that generates: it trains, is tracked, resumes exactly, and what it draws is marked as synthetic."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from bundle_under_test import Bundle, python
from conftest import Chain, Runs
from test_bundle_resume import equal, last, overlay

from pipelines.auditing.contents import at
from pipelines.generation import generate, read_record
from pipelines.preparation.synthetic import MANIFEST, read_synthetic
from pipelines.readers import is_synthetic
from pipelines.tracking.event_folders import events_of
from pipelines.tracking.run_file import read_run_file

pytestmark = pytest.mark.contract("generative")
METRICS = {
    "train_generator_loss", "train_discriminator_loss", "sample_ssim", "real_ssim", "sample_distance", "real_distance",
    "relative_difference", "relative_spread", "collapsed", "epoch_seconds",
}  # fmt: skip


def test_each_class_has_a_network(bundle: Bundle) -> None:
    classes = list(bundle.config("train")["label_names"].values())
    assert [bundle.written(name)["class_name"] for name in bundle.networks] == classes
    assert bundle.metadata["network_parameters"] == bundle.sizes
    assert bundle.shipped in ([], list(bundle.networks))


def test_pictures_are_read_alike_by_whatever_reads_them(bundle: Bundle) -> None:
    due = at(bundle.config("train"), "train#deterministic_transforms")
    for name in bundle.whole:
        if bundle.has(name, "deterministic_transforms"):
            assert bundle.config(name)["deterministic_transforms"] == due, name


def test_monai_verifies_what_goes_in_and_out(bundle: Bundle, env: dict[str, str], tmp_path: Path) -> None:
    words = ["-m", "monai.bundle", "verify_net_in_out", "network_def", "--bundle_root", str(bundle.root)]
    words += ["--meta_file", str(bundle.configs / "metadata.json"), "--device", "cpu"]
    python([*words, "--config_file", str(bundle.file("inference"))], tmp_path, env)
    drawn = bundle.network(bundle.smallest).eval()(torch.zeros(2, bundle.input["num_channels"], 1, 1))
    assert list(drawn.shape[1:]) == [bundle.output["num_channels"], *bundle.output["spatial_shape"]]


def test_training_is_tracked(trained: Chain, runs: Runs) -> None:
    record = read_run_file(trained.ckpt_dir)
    assert record is not None
    run = runs.all()[record.run_id]
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) >= METRICS
    assert len(runs.client.get_metric_history(record.run_id, "train_generator_loss")) == 2
    assert runs.files(record.run_id) >= {"samples/epoch_001.png", "samples/epoch_002.png", "learning_curve.png"}
    about = read_record(trained.checkpoint)
    assert run.data.tags["collapsed"] == str(about["collapsed"]).lower()
    assert run.data.params.keys() >= {"class_name", "seed", "epochs", "parameters", "data_fingerprint"}
    assert about["data"]["fingerprint"] == run.data.params["data_fingerprint"]


def test_samples_scalars_and_the_generators_graph_are_in_tensorboard(trained: Chain, bundle: Bundle) -> None:
    read = pytest.importorskip("read_events", reason="TensorBoard is not installed (the test extra)")
    folder = events_of(trained.ckpt_dir)
    assert bundle.config("train")["tensorboard"] is False
    assert folder is not None
    events = read.Events(folder)
    assert events.images == {"samples": [1, 2]}
    assert events.scalars.keys() >= {f"training/{name}" for name in METRICS}
    assert events.graph
    assert all(steps == [1, 2] for steps in events.histograms.values())


def test_a_killed_training_resumes_to_what_it_would_have_become(
    bundle: Bundle, phantoms: Path, env: dict[str, str], trained: Chain, tmp_path: Path
) -> None:
    knobs = {"dataset_dir": phantoms, "ckpt_dir": tmp_path / "ckpt"}
    words = bundle.command("train", bundle.smallest, overlay(tmp_path, "KillItself", 2), **knobs)
    python(words, tmp_path, env, code=-signal.SIGKILL)
    half, whole = last(tmp_path / "ckpt"), last(trained.ckpt_dir)
    assert half["progress"]["epoch"] == 1
    assert not equal(half["network"], whole["network"])
    python(bundle.command("train", bundle.smallest, **knobs, resume=True), tmp_path, env)
    resumed = last(tmp_path / "ckpt")
    assert whole.keys() == {
        "network", "discriminator", "generator_optimizer", "discriminator_optimizer", "progress",
    }  # fmt: skip
    assert {key for key in whole if not equal(resumed[key], whole[key])} == set()
    weights = [torch.load(folder / "model.pt", weights_only=True) for folder in (tmp_path / "ckpt", trained.ckpt_dir)]
    assert equal(*weights)


def test_what_inference_draws_is_marked(bundle: Bundle, env: dict[str, str], trained: Chain, tmp_path: Path) -> None:
    knobs = {"checkpoint": trained.checkpoint, "output_dir": tmp_path / "drawn", "number": 5}
    words = bundle.command("inference", bundle.smallest, **knobs)
    python(words, tmp_path, env)
    lines = [json.loads(line) for line in (tmp_path / "drawn" / MANIFEST).read_text().splitlines()]
    assert len(lines) == len(list((tmp_path / "drawn").rglob("*.png"))) == 5
    assert all(line["synthetic"] is True and is_synthetic(tmp_path / "drawn" / line["file"]) for line in lines)
    record = read_record(trained.checkpoint)
    assert {line["generator"] for line in lines} == {record["weights"]}
    assert {line["held_out"] for line in lines} == {record["data"]["held_out"]}
    found = read_synthetic(tmp_path / "drawn")
    assert [each.seed for each in found] == list(generate(trained.checkpoint, 5).seeds)
    python(words, tmp_path, env, code=None if "overwrite" not in bundle.config("inference") else 1)


def test_fewer_pictures_than_a_batch_are_a_batch(bundle: Bundle, phantoms: Path, tmp_path: Path) -> None:
    workflow = bundle.workflow("train", "train", dataset_dir=phantoms, ckpt_dir=tmp_path, batch_size=10_000)
    workflow.initialize()
    parser = workflow.parser
    loader = parser.get_parsed_content("train#dataloader")
    assert len(loader) == 1
    assert next(iter(loader))["image"].shape[0] == len(parser.get_parsed_content("train#dataset")) > 1
