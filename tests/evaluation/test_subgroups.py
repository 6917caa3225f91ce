"""Subgroups of classified pictures: what can be said of each, and no more."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.evaluation import ClassificationReport, RatedItem

# group, class, probability of the second class
PICTURES = (
    *[("bacteria", 1, 0.9)] * 3,
    ("bacteria", 1, 0.2),
    *[("virus", 1, 0.8)] * 2,
    *[("", 0, 0.1)] * 4,
)


def items() -> list[RatedItem]:
    return [
        RatedItem(f"c{i}", f"p{i}", None, label, (1 - score, score), "none.png", group=group)
        for i, (group, label, score) in enumerate(PICTURES)
    ]


def test_a_group_of_one_class_has_its_sensitivity_alone(tmp_path: Path) -> None:
    report = ClassificationReport(tmp_path, ["normal", "pneumonia"], group_key="subtype", n_resamples=50)
    told = report.groups(items())
    found = json.loads((tmp_path / "groups.json").read_text())
    assert set(found) == {"bacteria", "virus"}, "pictures of no group are in none"
    assert set(found["bacteria"]) == {"test_sensitivity"}
    assert found["bacteria"]["test_sensitivity"]["estimate"] == 0.75
    assert found["virus"]["test_sensitivity"]["estimate"] == 1
    assert "| bacteria | 4 | sensitivity | 0.7500 |" in told


def test_a_group_with_both_classes_has_specificity_and_area_too(tmp_path: Path) -> None:
    mixed = [RatedItem(**{**vars(each), "group": "hospital"}) for each in items()]
    report = ClassificationReport(tmp_path, ["normal", "pneumonia"], group_key="hospital", n_resamples=50)
    report.groups(mixed)
    found = json.loads((tmp_path / "groups.json").read_text())["hospital"]
    assert set(found) == {"test_sensitivity", "test_specificity", "test_auc"}
    assert found["test_specificity"]["estimate"] == 1


def test_without_groups_no_file_is_left_from_before(tmp_path: Path) -> None:
    (tmp_path / "groups.json").write_text("{}")
    report = ClassificationReport(tmp_path, ["normal", "pneumonia"])
    plain = [RatedItem(**{**vars(each), "group": ""}) for each in items()]
    assert report.groups(plain) == ""
    assert not (tmp_path / "groups.json").exists()


def test_a_group_of_three_classes_has_the_sensitivity_of_each_that_it_holds(tmp_path: Path) -> None:
    of_class = {0: (0.8, 0.1, 0.1), 1: (0.1, 0.8, 0.1)}
    group = [RatedItem(f"c{i}", f"p{i}", None, i % 2, of_class[i // 2], "none.png", group="a") for i in range(4)]
    report = ClassificationReport(tmp_path, ["normal", "mild", "severe"], group_key="site", n_resamples=50)
    report.groups(group)
    found = json.loads((tmp_path / "groups.json").read_text())["a"]
    assert set(found) == {"test_accuracy", "test_normal_sensitivity", "test_mild_sensitivity", "test_auc"}
    assert found["test_mild_sensitivity"]["estimate"] == 0.5
