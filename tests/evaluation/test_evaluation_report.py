from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DatalistError, OutputError
from pipelines.evaluation import EvaluationRow, bootstrap_interval, write_evaluation
from pipelines.evaluation.pictures import CasePicture
from pipelines.evaluation.report import flatten

ROWS: list[EvaluationRow] = [
    {"case": "one", "patient": "a", "metrics": {"lesion_dice": 0.5, "lesion_hd95_mm": math.nan}},
    {"case": "two", "patient": "a", "metrics": {"lesion_dice": 0.7, "lesion_hd95_mm": 4.0}},
    {"case": "three", "patient": "b", "metrics": {"lesion_dice": 0.9, "lesion_hd95_mm": 2.0}},
]
PICTURE = CasePicture("one", 0.5, None, np.eye(6, dtype=bool), np.zeros((6, 6), bool))


def test_summary_holds_means_intervals_and_counts(tmp_path: Path) -> None:
    summary = write_evaluation(ROWS, tmp_path / "new" / "folder", n_resamples=200)
    written = json.loads((tmp_path / "new" / "folder" / "summary.json").read_text())
    expected = bootstrap_interval([0.5, 0.7, 0.9], ["a", "a", "b"], n_resamples=200)
    assert summary["test_lesion_dice"] == expected
    assert written["test_lesion_dice"] == pytest.approx(
        {"estimate": 0.7, "low": expected.low, "high": expected.high, "n": 3, "n_undefined": 0}
    )
    assert written["test_lesion_hd95_mm"]["estimate"] == pytest.approx(3)
    assert (written["test_lesion_hd95_mm"]["n"], written["test_lesion_hd95_mm"]["n_undefined"]) == (2, 1)


def test_undefined_is_null_and_an_empty_cell(tmp_path: Path) -> None:
    rows: list[EvaluationRow] = [{"case": "one", "patient": "a", "metrics": {"lesion_dice": math.nan}}]
    write_evaluation(rows, tmp_path)
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["test_lesion_dice"] == {"estimate": None, "low": None, "high": None, "n": 0, "n_undefined": 1}
    assert (tmp_path / "cases.csv").read_text() == "case,patient,lesion_dice\none,a,\n"
    assert "| test_lesion_dice | – | – | 0 | 1 |" in (tmp_path / "summary.md").read_text()


def test_cases_hold_each_value_exactly(tmp_path: Path) -> None:
    write_evaluation(ROWS, tmp_path, n_resamples=50)
    with (tmp_path / "cases.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["case"] for row in table] == ["one", "two", "three"]
    assert [float(row["lesion_dice"]) for row in table] == [0.5, 0.7, 0.9]
    assert table[0]["lesion_hd95_mm"] == ""


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "  =HYPERLINK(1)", "＝1"])
def test_names_are_no_formulas(tmp_path: Path, name: str) -> None:
    write_evaluation([{"case": name, "patient": name, "metrics": {"lesion_dice": 0.5}}], tmp_path)
    with (tmp_path / "cases.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["case"] == row["patient"] == f"'{name}"


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    write_evaluation([{"case": "one", "patient": "a", "metrics": {"lesion_bias": -0.5}}], tmp_path)
    assert "one,a,-0.5\n" in (tmp_path / "cases.csv").read_text()


def test_names_bring_no_markup_and_may_be_no_utf8(tmp_path: Path) -> None:
    name = "<img src=x>|[a](b)\udcff"
    picture = CasePicture(name, 0.5, None, PICTURE.label, PICTURE.prediction)
    rows: list[EvaluationRow] = [{"case": name, "patient": "a", "metrics": {"lesion_dice": 0.5}}]
    write_evaluation(rows, tmp_path, pictures=[picture], notes=["A note."])
    text = (tmp_path / "summary.md").read_text()
    assert "<img" not in text
    assert "\\|\\[a\\](b)" in text
    assert "A note." in text
    assert "\\udcff" in (tmp_path / "cases.csv").read_text()


def test_worst_cases_are_drawn_and_a_former_picture_goes(tmp_path: Path) -> None:
    write_evaluation(ROWS, tmp_path, pictures=[PICTURE], n_resamples=50)
    with Image.open(tmp_path / "worst_cases.png") as drawn:
        drawn.verify()
    write_evaluation(ROWS, tmp_path, n_resamples=50)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.csv", "summary.json", "summary.md"]


def test_a_failed_write_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worst_cases.png").write_bytes(b"former")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.evaluation.report.draw_cases", full)
    with pytest.raises(OutputError, match=r"worst_cases\.png.*No space left"):
        write_evaluation(ROWS, tmp_path, pictures=[PICTURE], n_resamples=50)
    assert (tmp_path / "worst_cases.png").read_bytes() == b"former"
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_evaluation(ROWS, tmp_path / "file", n_resamples=50)


def test_no_case_and_a_case_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatalistError, match="no case"):
        write_evaluation([], tmp_path)
    with pytest.raises(DatalistError, match=r"one: .*twice"):
        write_evaluation([*ROWS, ROWS[0]], tmp_path)
    assert not list(tmp_path.iterdir())


def test_flat_names_are_those_of_the_tracker(tmp_path: Path) -> None:
    flat = flatten(write_evaluation(ROWS, tmp_path, n_resamples=50))
    assert {"test_lesion_dice", "test_lesion_dice_ci_low", "test_lesion_dice_ci_high"} <= flat.keys()
    assert flat["test_lesion_dice_ci_low"] < flat["test_lesion_dice"] < flat["test_lesion_dice_ci_high"]


def test_results_by_group(tmp_path: Path) -> None:
    rows = [{**row, "group": group} for row, group in zip(ROWS, ("naevus", "melanoma", "naevus"), strict=True)]
    write_evaluation(rows, tmp_path, n_resamples=50)  # type: ignore[arg-type]
    groups = json.loads((tmp_path / "groups.json").read_text())
    assert list(groups) == ["melanoma", "naevus"]
    assert groups["naevus"]["test_lesion_dice"]["estimate"] == pytest.approx((0.5 + 0.9) / 2)
    assert groups["naevus"]["test_lesion_hd95_mm"]["n_undefined"] == 1
    assert groups["melanoma"]["test_lesion_dice"]["low"] is None  # one patient has no interval
    summary = (tmp_path / "summary.md").read_text()
    assert "| metric | melanoma | naevus |" in summary
    assert "Cases: melanoma 1, naevus 2." in summary
    assert (tmp_path / "cases.csv").read_text().startswith("case,patient,group,lesion_dice,")
    write_evaluation(ROWS, tmp_path, n_resamples=50)
    assert not (tmp_path / "groups.json").exists()
