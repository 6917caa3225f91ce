"""What was measured, as a table and a page: CSV, JSON, Markdown, all or none."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.compression.measuring import _read
from pipelines.compression.page import Row, write_page
from pipelines.errors import ConfigError, OutputError

NAN = math.nan
FIRST = Row(
    "fp32", "eager", "net.safetensors", 100, 100, 400, 380, None, 1.0, 1.0, "tree_dice", 0.8, 0.7, 0.9, 10, "tree_dice",
    NAN, NAN, NAN, NAN, 0.0,
)  # fmt: skip
SMALL = replace(
    FIRST, step="int8", runtime="onnxruntime", bytes=120, peak_mib=3.14, time_to_eager=0.5, time_to_same=0.75,
    estimate=0.79, difference=-0.01, difference_low=-0.02, difference_high=0.005, p_value=0.3, seconds=2.0,
)  # fmt: skip
ABOUT = {"bundle": "trees", "network": "net", "settings": {"share": 0.5}}


def test_the_three_say_the_same(tmp_path: Path) -> None:
    paths = write_page([FIRST, SMALL], ABOUT, tmp_path)
    rows = list(csv.DictReader(paths["csv"].open()))
    said = json.loads(paths["json"].read_text())
    page = paths["md"].read_text()
    assert [row["step"] for row in rows] == [row["step"] for row in said["rows"]] == ["fp32", "int8"]
    assert rows[0]["difference"] == ""
    assert said["rows"][0]["difference"] is None
    assert float(rows[1]["time_to_same"]) == said["rows"][1]["time_to_same"] == 0.75
    assert "| int8 | onnxruntime | 100 | 100 | 120 | 380 | 3.1 | 0.50 | 0.75 | 0.7900 (0.7000 to 0.9000) |" in page
    assert "-0.0100 (-0.0200 to +0.0050)" in page
    assert "int8 is rounding" in page
    assert "Pruned weights" not in page, "a step that was not done costs nothing"


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError):
        write_page([FIRST], ABOUT, tmp_path / "out")


def summary(metric: str) -> dict[str, dict[str, float | int | None]]:
    return {f"test_{metric}": {"estimate": 0.5, "low": None, "high": None, "n": 3}}


def test_differences_of_masks_are_of_their_metric(tmp_path: Path) -> None:
    for name, values in (("a", (0.5, 0.7, "")), ("b", (0.4, 0.7, 0.1))):
        (tmp_path / name).mkdir()
        lines = [f"c{k},p{k},{value}" for k, value in enumerate(values)]
        (tmp_path / name / "cases.csv").write_text("\n".join(["case,patient,tree_dice", *lines]) + "\n")
    first, second = (_read("tree_dice", summary("tree_dice"), tmp_path / name) for name in "ab")
    assert (first.compared, first.estimate, math.isnan(first.low)) == ("tree_dice", 0.5, True)
    found = first.difference(second)
    assert found.difference.estimate == pytest.approx(0.05)
    assert (found.left_out, found.wins) == (1, 1)


def test_differences_of_classes_are_of_what_is_right(tmp_path: Path) -> None:
    for name, predicted in (("a", "oak elm oak"), ("b", "elm elm oak")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cases.csv").write_text("case,patient\nc,p\n")
        lines = [f"c{k},p{k},oak,{word},0" for k, word in enumerate(predicted.split())]
        (tmp_path / name / "pictures.csv").write_text("\n".join(["case,patient,label,predicted,refer", *lines]) + "\n")
    first, second = (_read("auc", summary("auc"), tmp_path / name) for name in "ab")
    assert first.compared == "accuracy"
    assert first.difference(second).difference.estimate == pytest.approx(1 / 3)
    (tmp_path / "b" / "pictures.csv").write_text("case,patient,label,predicted,refer\nother,p,oak,oak,0\n")
    with pytest.raises(ConfigError, match="other cases"):
        first.difference(_read("auc", summary("auc"), tmp_path / "b"))
    with pytest.raises(ConfigError, match="no test_f1"):
        _read("f1", summary("auc"), tmp_path / "a")
