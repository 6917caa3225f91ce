"""The extent that an evaluation of lung CT measures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from pipelines.errors import ConfigError
from pipelines.evaluation import EvaluationReport
from pipelines.tasks.lung_ct.extent_measure import lesion_extent

CLASSES = {1: "lung", 2: "lesion"}
LABEL = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 0]], dtype=np.uint8)
PREDICTION = np.array([[1, 1, 1, 2], [1, 1, 2, 2], [0, 0, 2, 0]], dtype=np.uint8)


def test_values_worked_out_by_hand() -> None:
    assert lesion_extent(PREDICTION, LABEL, CLASSES) == pytest.approx(
        {"lesion_extent_label": 4 / 8, "lesion_extent_prediction": 4 / 9, "lesion_extent_error": 4 / 8 - 4 / 9}
    )
    assert lesion_extent(PREDICTION + 4, LABEL + 4, {5: "lung", 6: "lesion"}) == lesion_extent(
        PREDICTION, LABEL, CLASSES
    ), "the names say which values count"


def test_without_lung_and_lesion_it_is_undefined() -> None:
    found = lesion_extent(PREDICTION, np.zeros_like(LABEL), CLASSES)
    assert math.isnan(found["lesion_extent_label"])
    assert math.isnan(found["lesion_extent_error"])
    assert found["lesion_extent_prediction"] == pytest.approx(4 / 9)


def test_classes_without_a_lung_have_no_extent() -> None:
    with pytest.raises(ConfigError, match="no class 'lung'"):
        lesion_extent(PREDICTION, LABEL, {1: "lesion"})


def test_a_report_names_it_as_it_is(tmp_path: Path) -> None:
    engine = Engine(lambda engine, batch: batch)
    report = EvaluationReport(tmp_path, CLASSES, measures=[lesion_extent], n_resamples=20)
    report.attach(engine)
    item = {"pred": torch.as_tensor(PREDICTION)[None], "label": torch.as_tensor(LABEL)[None], "patient": "p"}
    state = engine.run([[item | {"case": name}] for name in "ab"])
    assert state.metrics["test_lesion_extent_error"] == pytest.approx(4 / 8 - 4 / 9)
    written = json.loads((tmp_path / "summary.json").read_text())
    assert list(written)[-3:] == [
        "test_lesion_extent_label", "test_lesion_extent_prediction", "test_lesion_extent_error",
    ]  # fmt: skip
