"""Folds to be cross-validated without any training."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_folds import BUNDLE, STEP, image_of, write_prepared

from pipelines.cross_validation import CrossValidation, validation


@pytest.fixture
def make_prepared() -> Callable[..., Path]:
    return write_prepared


@pytest.fixture
def plan(tmp_path: Path, new_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch) -> CrossValidation:
    """Two folds of six cases, with the stand-in for each step; what is begun is a line in ``calls.txt``."""
    script = tmp_path / "step.py"
    script.write_text(STEP)
    made = CrossValidation.training

    def training(self: CrossValidation, data: Path, folder: Path, name: str) -> list[str]:
        words = made(self, data, folder, name)
        assert words[1:4] == ["-m", "monai.bundle", "run"]
        return [sys.executable, str(script), "train", str(data), str(folder), str(tmp_path / "calls.txt"), *words[4:]]

    def evaluation(self: CrossValidation, data: Path, folder: Path) -> list[str]:
        return [sys.executable, str(script), "evaluate", str(data), str(folder), str(tmp_path / "calls.txt")]

    monkeypatch.setattr(CrossValidation, "training", training)
    monkeypatch.setattr(CrossValidation, "evaluation", evaluation)
    monkeypatch.setattr(validation, "image_reader", lambda _: image_of)
    prepared = write_prepared(tmp_path / "prepared")
    out, knobs = tmp_path / "cv" / "tiny_unet", ["--epochs", "1"]
    return CrossValidation(BUNDLE, prepared, out, new_store(tmp_path), "tiny_unet", knobs=knobs)
