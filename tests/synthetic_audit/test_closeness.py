"""Distances between generated and real pictures: beside a floor, and copies are found."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_audits import BUNDLE
from PIL import Image

from pipelines.cross_validation import CrossValidation
from pipelines.errors import UnreadableFileError
from pipelines.preparation.synthetic import SyntheticPicture
from pipelines.synthetic_audit.closeness import closeness
from pipelines.synthetic_audit.pictures import Pictures

WEIGHTS = BUNDLE / "models" / "mobilenet_v2.safetensors"
NUMBER = 24


def blobs(rng: np.random.Generator, noise: float) -> np.ndarray:
    y, x = np.mgrid[:64, :64] / 64
    centre, width = rng.uniform(0.3, 0.7, 2), rng.uniform(0.15, 0.3)
    drawn = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / width**2) + noise * rng.random((64, 64))
    return np.clip(255 * drawn / drawn.max(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Class 0: generated like the real ones; class 1: noisy ones, three of them copies of training pictures."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)

    def save(name: str, pixels: np.ndarray) -> str:
        Image.fromarray(pixels).save(folder / f"{name}.png")
        return str(folder / f"{name}.png")

    content: dict = {name: [] for name in ("training", "validation", "test")}
    for label in (0, 1):
        for section in content:
            for k in range(NUMBER):
                name = f"{section}{label}_{k}"
                content[section].append({"image": save(name, blobs(rng, 0.02)), "label": label, "patient": name})
    made: dict = {}
    for label, noise in ((0, 0.02), (1, 0.6)):
        drawn = [blobs(rng, noise) for _ in range(NUMBER)]
        if label:
            own = [item["image"] for item in content["training"] if item["label"] == 1][:3]
            drawn[:3] = [np.asarray(Image.open(path)) for path in own]
        made[label] = [
            SyntheticPicture(Path(save(f"made{label}_{k}", each)), str(label), k, "sha256:0")
            for k, each in enumerate(drawn)
        ]
    return Pictures(content, content, {0: "like", 1: "unlike"}, made, {0: [], 1: []}, (64, 64), [])


@pytest.fixture
def plan(tmp_path: Path) -> CrossValidation:
    return CrossValidation(BUNDLE, tmp_path, tmp_path, "sqlite:///none.db", network="mobilenet_v2")


def test_what_is_like_real_pictures_is_near_the_floor(pictures: Pictures, plan: CrossValidation) -> None:
    found = closeness(plan, WEIGHTS, pictures)
    like, unlike = found.classes
    assert "1280 features" in found.space
    assert "mobilenet_v2.safetensors, of pictures of 64x64 pixels, enlarged to 224x224" in found.space
    assert "the first 6 principal components" in found.space
    assert like.number == unlike.number == NUMBER
    assert like.fid < 3 * like.fid_floor
    assert unlike.fid > 5 * unlike.fid_floor
    assert unlike.mmd > 5 * max(like.mmd, like.mmd_floor)
    assert (like.memorised["copies"], unlike.memorised["copies"]) == (0, 3)
    assert like.samples.ndim == like.neighbours.ndim == 2


def test_of_too_few_pictures_no_distance_is_given(pictures: Pictures, plan: CrossValidation) -> None:
    few = replace(pictures, generated={label: own[:8] for label, own in pictures.generated.items()})
    assert all(math.isnan(each.fid) and math.isnan(each.mmd) for each in closeness(plan, WEIGHTS, few).classes)


def test_weights_that_are_not_there_are_said(pictures: Pictures, plan: CrossValidation, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="there are no weights here"):
        closeness(plan, tmp_path / "none.safetensors", pictures)
