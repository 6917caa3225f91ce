"""Autoencoders of bundles: trained by a config of their own, resumed to the same weights, drawn, and learnt from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_under_test import Bundle
from conftest import Runs
from PIL import Image
from test_bundle_resume import equal, last

from pipelines.tracking.run_file import read_run_file
from pipelines.weights import read_weights

NAME = "train_autoencoder"


pytestmark = pytest.mark.contract("supervised", "autoencoder")


def train(bundle: Bundle, phantoms: Path, folder: Path, **knobs: object) -> None:
    workflow = bundle.workflow("train", NAME, dataset_dir=phantoms, ckpt_dir=folder, **knobs)
    workflow.initialize()
    workflow.run()


def test_it_learns_is_drawn_and_tracked(bundle: Bundle, phantoms: Path, tmp_path: Path, runs: Runs) -> None:
    train(bundle, phantoms, tmp_path / "ckpt", epochs=4, learning_rate=0.01)
    record = read_run_file(tmp_path / "ckpt")
    assert record is not None
    run = runs.all()[record.run_id]
    assert run.info.status == "FINISHED"
    errors = [each.value for each in runs.client.get_metric_history(record.run_id, "val_mse")]
    assert len(errors) == 4
    assert run.data.metrics["best_val_mse"] == pytest.approx(min(errors)), "the smallest error is the best"
    learnt = [each.value for each in runs.client.get_metric_history(record.run_id, "train_mse")]
    assert learnt[-1] < learnt[0] / 2
    drawn = Image.open(tmp_path / "ckpt" / "reconstructions.png")
    assert drawn.height == 3 * 64 + 2 * 4
    assert "pictures/reconstructions.png" in runs.files(record.run_id, "pictures")


def test_resumed_equals_uninterrupted(bundle: Bundle, phantoms: Path, tmp_path: Path) -> None:
    train(bundle, phantoms, tmp_path / "whole", epochs=2)
    train(bundle, phantoms, tmp_path / "parts", epochs=1)
    train(bundle, phantoms, tmp_path / "parts", epochs=2, resume=True)
    assert equal(last(tmp_path / "whole"), last(tmp_path / "parts"))


def test_noise_is_added_to_what_it_sees_and_not_to_what_is_due(bundle: Bundle, phantoms: Path, tmp_path: Path) -> None:
    workflow = bundle.workflow("train", NAME, dataset_dir=phantoms, ckpt_dir=tmp_path, noise=0.2)
    workflow.initialize()
    item = workflow.parser.get_parsed_content("train#dataset")[0]
    assert float((item["image"] - item["label"]).std()) == pytest.approx(0.2, rel=0.1)
    clean = workflow.parser.get_parsed_content("validate#dataset")[0]
    assert torch.equal(clean["image"], clean["label"])
    workflow = bundle.workflow("train", NAME, dataset_dir=phantoms, ckpt_dir=tmp_path)
    workflow.initialize()
    item = workflow.parser.get_parsed_content("train#dataset")[0]
    assert torch.equal(item["image"], item["label"])


def test_the_classifier_learns_from_its_codes_and_holds_it_still(
    bundle: Bundle, phantoms: Path, tmp_path: Path
) -> None:
    train(bundle, phantoms, tmp_path / "autoencoder", epochs=1)
    encoder = tmp_path / "autoencoder" / "model.pt"
    workflow = bundle.workflow(
        "train", "train", dataset_dir=phantoms, ckpt_dir=tmp_path / "ckpt", encoder_weights=encoder
    )
    workflow.initialize()
    workflow.run()
    whole = read_weights(tmp_path / "ckpt" / "model.pt")
    for key, value in read_weights(encoder).items():
        assert torch.equal(whole[f"autoencoder.{key}"], value), key
