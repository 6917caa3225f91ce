"""Shortcut controls find a shortcut where there is one, and none where the classes differ in the lungs alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image

from pipelines.errors import ConfigError, DatalistError
from pipelines.evaluation import ShortcutControls
from pipelines.evaluation.classification import area_under_curve
from pipelines.evaluation.shortcut_views import (
    FEATURES,
    network_scores,
    picture_features,
    picture_frame,
    picture_views,
    see_pictures,
    tree_scores,
)
from pipelines.networks import ChestCNN
from pipelines.tasks.chest_xray.without_lungs import WithoutLungs

NAMES = ["normal", "pneumonia"]
SIDE = 32
TRAINING, EVALUATED, EPOCHS = 64, 96, 8
FILES = ["shortcuts.csv", "shortcuts.json", "shortcuts.png", "shortcuts_pictures.csv", "shortcuts_seen.png"]


class Drawn:
    """Pictures in memory, of even numbers normal and of odd ones pneumonia; as preprocessing it gives one by its path.

    Args:
        kind: "mark" (a letter in the left or the right upper corner), "lungs" (a bright spot somewhere in a lung),
            "bright", "wide", or "none".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        number = int(item["image"])
        rng, ill = np.random.default_rng(number // 2), number % 2 == 1  # pairs that differ in nothing else
        plane = rng.normal(0.4, 0.05, (SIDE + 8 * (self.kind == "wide" and ill), SIDE)) + rng.normal(0, 0.05)
        if self.kind == "mark":
            plane[slice(26, 30) if ill else slice(2, 6), 1:4] += 0.4
        elif self.kind == "lungs" and ill:
            x, y = int(rng.choice([6, 21])), int(rng.integers(9, 20))
            plane[x : x + 5, y : y + 5] += 0.4
        elif self.kind == "bright" and ill:
            plane += 0.3
        return {"image": MetaTensor(plane[None].astype(np.float32), meta={"filename_or_obj": str(item["image"])})}


def items(numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"image": str(k), "label": k % 2, "patient": f"patient {k // 4}", "case": f"case {k}", "number": k}
        for k in numbers
    ]


def network() -> ChestCNN:
    return ChestCNN(dropout=0.0)


def controls(out: Path, kind: str, **arguments: Any) -> ShortcutControls:
    settings = {"training": items(range(TRAINING)), "size": SIDE, "epochs": EPOCHS, "n_resamples": 50} | arguments
    return ShortcutControls(out, NAMES, preprocessing=Drawn(kind), network=network, views=[WithoutLungs()], **settings)


def run(handler: ShortcutControls, numbers: Sequence[int]) -> dict[str, float]:
    """The metrics after an evaluation of a model that gives pneumonia 0.9 or 0.8, and 0.1 otherwise."""
    drawn = Drawn("none")
    batches = []
    for item in items(numbers):
        p = (0.9 if item["number"] % 3 else 0.8) if item["label"] else 0.1
        batches.append([{**item, **drawn(item), "pred": torch.tensor([1 - p, p])}])
    engine = Engine(lambda engine, batch: batch)
    handler.attach(engine)
    return dict(engine.run(batches).metrics)


def areas(kind: str) -> dict[str, float]:
    """The area under the curve of each control with a network, without the handler."""
    numbers = range(1000, 1000 + EVALUATED)
    training = see_pictures([str(k) for k in range(TRAINING)], Drawn(kind), SIDE)
    evaluated = see_pictures([str(k) for k in numbers], Drawn(kind), SIDE)
    labels, positive = np.arange(TRAINING) % 2, np.array(numbers) % 2 == 1
    return {
        name: area_under_curve(
            network_scores(training.planes, labels, evaluated.planes, view, network, epochs=EPOCHS), positive
        )
        for name, view in picture_views(SIDE, 0.125, [WithoutLungs()]).items()
    }


def tree_area(kind: str) -> float:
    numbers = range(1000, 1000 + EVALUATED)
    training, evaluated = (
        np.array([picture_features(Drawn(kind)({"image": k})["image"][0].numpy()) for k in each])
        for each in (range(TRAINING), numbers)
    )
    return area_under_curve(tree_scores(training, np.arange(TRAINING) % 2, evaluated), np.array(numbers) % 2 == 1)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """Classes that a letter in the corner tells apart: what was written, and the metrics."""
    out = tmp_path_factory.mktemp("marked") / "out"
    return out, run(controls(out, "mark"), range(1000, 1000 + EVALUATED))


def test_a_mark_in_the_corner_is_found_at_the_borders(marked: tuple[Path, dict[str, float]]) -> None:
    _, metrics = marked
    assert metrics["test_auc_borders"] > 0.95
    assert metrics["test_auc_no_lungs"] > 0.95
    assert 0.3 < metrics["test_auc_size_and_brightness"] < 0.7
    low, high = (metrics[f"test_auc_size_and_brightness_ci_{end}"] for end in ("low", "high"))
    assert low < metrics["test_auc_size_and_brightness"] < high


def test_files_say_what_the_metrics_say(marked: tuple[Path, dict[str, float]]) -> None:
    out, metrics = marked
    assert sorted(path.name for path in out.iterdir()) == FILES
    content = json.loads((out / "shortcuts.json").read_text())
    names = ["model", "whole_picture", "no_lungs", "borders", "size_and_brightness"]
    assert list(content["auc"]) == names
    assert content["auc"]["model"] == content["auc"]["model"] | {"estimate": 1.0, "n": EVALUATED}
    assert "template" in content["reading"]
    with (out / "shortcuts.csv").open(newline="") as file:
        rows = {row["control"]: row for row in csv.DictReader(file)}
    for name in names[1:]:
        assert content["auc"][name]["estimate"] == metrics[f"test_auc_{name}"] == float(rows[name]["auc"])
        assert rows[name]["patients"] == str(EVALUATED // 4)
    with (out / "shortcuts_pictures.csv").open(newline="") as file:
        pictures = list(csv.DictReader(file))
    positive = np.array([row["label"] == "pneumonia" for row in pictures])
    again = area_under_curve(np.array([float(row["borders"]) for row in pictures]), positive)
    assert again == pytest.approx(metrics["test_auc_borders"])
    assert all(np.asarray(Image.open(out / name).convert("L")).std() > 5 for name in FILES if name.endswith(".png"))


def test_a_finding_in_the_lungs_is_seen_by_the_whole_picture_alone() -> None:
    found = areas("lungs")
    assert found["whole_picture"] > 0.95
    assert found["no_lungs"] == found["borders"] == 0.5, "each picture with a spot has one beside it without"


@pytest.mark.parametrize("kind", ["bright", "wide"])
def test_brightness_and_size_are_enough_for_trees(kind: str) -> None:
    assert tree_area(kind) > 0.95
    assert 0.3 < tree_area("mark") < 0.7


def test_features_by_hand() -> None:
    plane = np.zeros((4, 2), np.float32)
    plane[0] = 1
    said = dict(zip(FEATURES, picture_features(plane), strict=True))
    assert (said["width"], said["height"], said["aspect"]) == (4, 2, 2)
    assert said["mean"] == pytest.approx(0.25)
    assert said["deviation"] == pytest.approx(np.sqrt(0.25 * 0.75))
    assert (said["p1"], said["p50"], said["p99"]) == (0, 0, 1)


def test_the_frame_has_its_width_on_every_side() -> None:
    frame = picture_frame(16, 0.125).numpy()
    assert frame[:2].all()
    assert frame[:, -2:].all()
    assert not frame[2:-2, 2:-2].any()
    assert picture_frame(32, 0.001).sum() == 4 * 31, "at least a pixel"


def test_the_same_seed_gives_the_same_scores_and_leaves_the_generator_alone() -> None:
    seen = see_pictures([str(k) for k in range(16)], Drawn("mark"), SIDE)
    before = torch.get_rng_state()
    one, other, another = (
        network_scores(
            seen.planes, np.arange(16) % 2, seen.planes, torch.ones(SIDE, SIDE), network, epochs=1, seed=seed
        )
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, another)
    assert torch.equal(before, torch.get_rng_state())


def test_an_area_of_few_patients_stays_within_what_an_area_can_be(tmp_path: Path) -> None:
    metrics = run(controls(tmp_path / "out", "mark", epochs=1), range(1000, 1012))  # three patients
    low, high = (metrics[f"test_auc_size_and_brightness_ci_{end}"] for end in ("low", "high"))
    assert 0 <= low < high <= 1


def test_a_part_with_one_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatalistError, match="training part has no picture of the class normal"):
        controls(tmp_path / "out", "mark", training=items(range(1, 9, 2)))
    handler = controls(tmp_path / "out", "mark", prefix="validation")
    with pytest.raises(DatalistError, match="validation part has no picture of the class pneumonia"):
        run(handler, range(1000, 1010, 2))
    assert not (tmp_path / "out").exists(), "nothing was trained"


def test_pictures_that_the_controls_learn_from_are_not_measured(tmp_path: Path) -> None:
    with pytest.raises(DatalistError, match=f"patient {TRAINING // 4 - 1}"):
        run(controls(tmp_path / "out", "mark", prefix="training"), range(TRAINING - 4, TRAINING + 4))


@pytest.mark.parametrize("argument", [{"size": 16}, {"border": 0.5}, {"border": 0.0}, {"epochs": 0}])
def test_impossible_settings_are_refused(tmp_path: Path, argument: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        controls(tmp_path, "mark", **argument)


def test_of_several_processes_one_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = controls(tmp_path / "out", "mark")
    engine = Engine(lambda engine, batch: batch)
    (item,) = items([1])
    rated = handler.collect({**item, **Drawn("none")(item), "pred": torch.tensor([0.5, 0.5])})
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    handler.finish(engine, rated)
    assert not (tmp_path / "out").exists()
    assert engine.state.metrics == {}
