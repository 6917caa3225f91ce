"""The report of a classification: of pictures and of slices, in any classes, with what a task leaves to a person."""

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
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import ConfigError, DatalistError
from pipelines.evaluation import ClassificationReport, ShortcutControls
from pipelines.evaluation.case_tables import truth_digest

NAMES = ["round", "square", "odd"]


def item(case: str, pred: Any, label: Any, path: str = "/no/such/picture.png", **more: Any) -> dict[str, Any]:
    image = MetaTensor(torch.zeros(1, 2, 2), meta={"filename_or_obj": path})
    found = {"pred": torch.tensor(pred), "label": torch.tensor(label), "case": case, "patient": case[0], "image": image}
    return found | more


def run(report: ClassificationReport, items: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    engine = Engine(lambda engine, batch: batch)
    report.attach(engine)
    return dict(engine.run([[each] for each in items]).metrics)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class InTheDark:
    """A doubt: the third slice of each case is left to a person."""

    reason = "too dark"

    def __call__(self, item: Mapping[str, Any]) -> NDArray[np.bool_]:
        return np.arange(item["pred"].shape[1]) == 2


SLICES = [  # classes x slices: the likeliest are 0, 1, 2 and 0, 0, 0
    item("a1", [[0.8, 0.2, 0.1], [0.1, 0.7, 0.1], [0.1, 0.1, 0.8]], [0, 1, 255]),
    item("b1", [[0.8, 0.5, 0.9], [0.1, 0.3, 0.1], [0.1, 0.2, 0.0]], [0, 1, 0]),
]


def test_slices_have_a_row_each_and_those_without_a_class_none(tmp_path: Path) -> None:
    report = ClassificationReport(
        tmp_path, NAMES, "slice", doubt=InTheDark(), ignore_index=255, rule="By eye.", n_resamples=20
    )
    metrics = run(report, SLICES)
    table = rows(tmp_path / "slices.csv")
    assert [f"{row['case']} {row['slice']}" for row in table] == ["a1 0", "a1 1", "b1 0", "b1 1", "b1 2"]
    assert [row["refer"] for row in table] == ["0", "0", "0", "1", "1"], "too unsure, then in doubt"
    assert metrics["test_accuracy"] == pytest.approx(4 / 5)
    assert metrics["test_refer_share"] == pytest.approx(2 / 5)
    assert metrics["test_accuracy_not_referred"] == 1
    assert {row["case"]: row["slices"] for row in rows(tmp_path / "cases.csv")} == {"a1": "2", "b1": "3"}
    summary = (tmp_path / "summary.md").read_text()
    assert "Slices: 5; cases: 2; patients: 2. By eye." in summary
    assert "A slice with less than 0.6 for its predicted class, or too dark, is referred to a person." in summary
    assert "b1, slice 1" in summary
    assert not (tmp_path / "curves.png").exists(), "three classes have no single curve"
    assert "test_sensitivity" not in metrics


def test_pictures_of_two_classes_have_a_positive_one(tmp_path: Path) -> None:
    items = [item("a", [0.9, 0.1], 0), item("b", [0.3, 0.7], [1]), item("c", [0.55, 0.45], 1)]
    metrics = run(ClassificationReport(tmp_path, NAMES[:2], n_resamples=20), items)
    assert metrics["test_sensitivity"] == metrics["test_square_sensitivity"] == 0.5
    table = rows(tmp_path / "pictures.csv")
    assert list(table[0]) == ["case", "patient", "label", "predicted", "refer", "p_round", "p_square"]
    assert [row["refer"] for row in table] == ["0", "0", "1"]
    assert (tmp_path / "curves.png").is_file()
    assert json.loads((tmp_path / "summary.json").read_text())["test_sensitivity"]["estimate"] == 0.5
    assert "By group" not in (tmp_path / "summary.md").read_text()


def test_a_picture_has_the_truth_that_tables_of_slices_gave_it(tmp_path: Path) -> None:
    """Evaluations of before named the only slice of a picture: their runs and later ones are still ranked together."""
    for name, content in (("new", "case,label\na,round\n"), ("old", "case,slice,label\na,0,round\n")):
        (tmp_path / f"{name}.csv").write_text(content)
    assert truth_digest([tmp_path / "new.csv"]) == truth_digest([tmp_path / "old.csv"]) != ""


def test_the_surest_mistakes_are_drawn_from_the_stored_images(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(np.full((40, 40), 200, np.uint8)).save(path)
    items = [item("a", [0.9, 0.1], 1, str(path)), item("b", [0.3, 0.7], 1)]
    run(ClassificationReport(tmp_path / "out", NAMES[:2], n_worst=1, n_resamples=20), items)
    drawn = np.asarray(Image.open(tmp_path / "out" / "worst_cases.png").convert("L"))
    assert (abs(drawn.astype(int) - 200) < 3).mean() > 0.5
    listed = (tmp_path / "out" / "summary.md").read_text().split("![Pictures]")[1]
    assert "- a" in listed
    assert "- b" not in listed


def test_what_does_not_go_together_is_named(tmp_path: Path) -> None:
    report = ClassificationReport(tmp_path, NAMES, "slice", n_resamples=20)
    with pytest.raises(ConfigError, match=r"a1: 3 slices are predicted and 2 have a class"):
        run(report, [item("a1", [[0.8, 0.2, 0.1], [0.1, 0.7, 0.1], [0.1, 0.1, 0.8]], [0, 1])])
    with pytest.raises(ConfigError, match=r"a1: probabilities \(2,\) do not fit the classes round, square, odd"):
        run(report, [item("a1", [0.5, 0.5], 0)])
    with pytest.raises(ConfigError, match="ClassificationReport: the evaluator's items have no 'patient'"):
        run(report, [{key: value for key, value in SLICES[0].items() if key != "patient"}])
    with pytest.raises(DatalistError, match="no slice to be rated"):
        run(report, [item("a1", [[0.8], [0.1], [0.1]], [-1])])
    with pytest.raises(ConfigError, match="no unit 'cell'; choose one of picture, slice, volume"):
        ClassificationReport(tmp_path, NAMES, "cell")
    with pytest.raises(ConfigError, match="two classes are due"):
        ShortcutControls(tmp_path, NAMES, [], lambda item: item, torch.nn.Identity)


def test_items_of_several_processes_count_once_in_the_order_of_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = ClassificationReport(tmp_path, NAMES, "slice", n_resamples=20)
    first, second = SLICES[0] | {"label": torch.tensor([0, 1, 2])}, SLICES[1]
    other = report.collect(first)
    monkeypatch.setattr(idist, "all_gather", lambda mine: [mine, [*other, *mine]])
    metrics = run(report, [second])
    assert [row["case"] for row in rows(tmp_path / "slices.csv")] == ["a1"] * 3 + ["b1"] * 3
    assert metrics["test_accuracy_n"] == 6
