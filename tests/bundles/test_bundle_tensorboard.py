"""What a bundle's training shows in TensorBoard, by its kind: scalars, pictures, curves, histograms, the graph."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_under_test import Bundle
from config_reading import components
from conftest import Chain, Runs
from PIL import Image

from pipelines.auditing.contents import at, has
from pipelines.tracking.event_folders import event_folders, events_of
from pipelines.tracking.run_file import read_run_file

pytestmark = pytest.mark.contract("supervised")
Events = pytest.importorskip("read_events", reason="TensorBoard is not installed (the test extra)").Events


@pytest.fixture
def folder(trained: Chain) -> Path:
    found = events_of(trained.ckpt_dir)
    assert found is not None
    assert event_folders(trained.ckpt_dir) == [found]
    return found


def test_the_knob_is_off_and_is_told_to_the_tracker(bundle: Bundle) -> None:
    config = bundle.config("train")
    assert config["tensorboard"] is False
    (tracker,) = [each for _, each in components(config) if each["_target_"].endswith("RunTracker")]
    assert tracker["tensorboard"] == "@tensorboard"
    assert tracker["label_names"] == "@label_names"


def test_every_metric_is_there_each_epoch_as_in_the_run(
    bundle: Bundle, folder: Path, trained: Chain, runs: Runs
) -> None:
    events, record = Events(folder), read_run_file(trained.ckpt_dir)
    assert record is not None
    run = runs.all()[record.run_id]
    assert run.data.tags["tensorboard"] == str(folder.resolve())
    config: dict[str, Any] = bundle.config("train")
    ids = ("train#key_metric", "train#additional_metrics", "validate#key_metric", "validate#additional_metrics")
    names = {name for id in ids if has(config, id) for name in at(config, id) or ()}
    tags = {f"{'validation' if name.startswith('val_') else 'training'}/{name}" for name in names}
    assert tags | {"training/train_loss", "training/learning_rate"} <= events.scalars.keys()
    for tag, points in events.scalars.items():
        history = runs.client.get_metric_history(record.run_id, tag.partition("/")[2])
        assert [step for step, _ in points] == [each.step for each in history] == [1, 2], tag
        assert [value for _, value in points] == pytest.approx([each.value for each in history], nan_ok=True, rel=1e-4)
    by_iteration = Events(folder / "iterations")
    steps = by_iteration.steps("iteration/loss")
    assert steps == by_iteration.steps("iteration/learning_rate") == list(range(1, len(steps) + 1))


def test_pictures_curves_histograms_and_the_graph_are_there(bundle: Bundle, folder: Path) -> None:
    events, names = Events(folder), bundle.config("train")["label_names"]
    assert 1 <= len(events.images) <= 4
    assert all(steps == [1, 2] for steps in events.images.values())
    for picture in events.pixels.values():
        with Image.open(io.BytesIO(picture)) as opened:
            assert np.asarray(opened.convert("RGB")).std() > 10
    curved = {name for value, name in names.items() if bundle.kind == "classification" or int(value) > 0}
    assert {tag.partition("/")[2] for tag in events.curves} <= curved
    assert events.curves, "phantoms have some of each class, or nearly"
    assert all(steps == [1, 2] for steps in events.curves.values())
    weights = {f"weights/{name}" for name, _ in bundle.network(bundle.smallest).named_parameters()}
    assert weights <= events.histograms.keys()
    assert any(tag.startswith("weights_gradients/") for tag in events.histograms)
    assert all(steps == [1, 2] for steps in events.histograms.values())
    assert events.graph
    assert len(events.hparams) == 3
    assert "| batch_size | 2 |" in events.texts["parameters/text_summary"].replace("\\_", "_")


@pytest.mark.contract("segmentation")
def test_outlines_lie_on_the_image(folder: Path) -> None:
    """Blue and orange, or a colour a class, beside the greys and the black of text."""
    for picture in Events(folder).pixels.values():
        with Image.open(io.BytesIO(picture)) as opened:
            pixels = np.asarray(opened.convert("RGB")).astype(int)
        assert ((pixels[..., 2] - pixels[..., 0]) > 60).sum() > 20
