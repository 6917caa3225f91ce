"""Runs are ranked by what they were measured on, whatever they were trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import FINGERPRINT, SPLIT, Made
from test_comparison_page import made_page
from test_ranking import ranked

from pipelines.comparison.ranking import why_left_out
from pipelines.comparison.runs import Store

OTHER = "sha256:" + "ef" * 32


def measured(fingerprint: str = FINGERPRINT, **others: str) -> dict[str, str]:
    """The tags that an evaluation leaves."""
    data = {"name": "made", "fingerprint": fingerprint, "split": SPLIT, "phantom": "False"}
    data |= {"training_cases": "8", "validation_cases": "2", "test_cases": "4"} | others
    return {f"test_data_{name}": value for name, value in data.items()}


def test_other_data_with_equal_case_names_are_another_ranking(made: Made) -> None:
    """Phantoms of every seed have the same names; so has a set that was prepared again with mended masks."""
    made.segmentation("here", [0.7, 0.8], tags=measured())
    made.segmentation("there", [0.8, 0.9], tags=measured(OTHER))
    rankings = ranked(made)
    assert sorted(row.network for each in rankings for row in each.rows) == ["here", "there"]
    assert {each.scope.fingerprint for each in rankings} == {FINGERPRINT, OTHER}


def test_trained_elsewhere_and_measured_here_is_one_ranking_that_says_so(made: Made) -> None:
    made.segmentation("here", [0.7, 0.8], tags=measured())
    made.segmentation("there", [0.8, 0.9], tags=measured(), params={"data_fingerprint": OTHER, "data_name": "far"})
    (ranking,) = ranked(made)
    assert [row.network for row in ranking.rows] == ["there", "here"]
    assert ranking.scope.fingerprint == FINGERPRINT
    assert "trained on other data" in ranking.rows[0].notes[0]
    assert ranking.rows[1].notes == []
    assert "trained on other data" in made_page(made).text


def test_trainings_on_other_data_are_no_seeds_of_one_row(made: Made) -> None:
    made.segmentation("unet", [0.7, 0.8], tags=measured(), params={"seed": 0})
    made.segmentation(
        "unet", [0.9, 0.9], tags=measured(), params={"seed": 1, "data_fingerprint": OTHER, "data_name": "far"}
    )
    (ranking,) = ranked(made)
    assert [row.label for row in ranking.rows] == ["unet (trained on far efefefef)", "unet (trained on made abababab)"]


@pytest.mark.parametrize("tag", ["test_label_rule", "test_truth"])
def test_another_truth_of_the_same_cases_is_another_ranking(made: Made, tag: str) -> None:
    made.segmentation("one", [0.7, 0.8], tags=measured() | {tag: "mild from 0.05"})
    made.segmentation("two", [0.8, 0.9], tags=measured() | {tag: "mild from 0.10"})
    assert [len(each.rows) for each in ranked(made)] == [1, 1]
    text = made_page(made).text
    assert {"test_label_rule": "label rule", "test_truth": "true classes or extents"}[tag] in text


def why(made: Made) -> dict[str, str]:
    with Store(made.uri) as store:
        return {run.network: why_left_out(run) for run in store.runs()}


def test_measured_on_what_may_have_been_trained_on_is_in_no_ranking(made: Made) -> None:
    made.segmentation("clean", [0.7, 0.8], tags=measured(test_digest="aa"), params={"data_test_digest": "aa"})
    made.segmentation("fold", [0.8, 0.9], tags=measured(test_digest="aa"), params={"data_test_digest": "bb"})
    made.segmentation("seed", [0.8, 0.9], tags=measured(), params={"data_split": '{"rule": "by patient", "seed": 1}'})
    reasons = why(made)
    assert reasons["clean"] == ""
    assert "may have been among its training cases" in reasons["fold"]
    assert "may have been among its training cases" in reasons["seed"]


def test_a_metric_without_a_value_is_none(made: Made) -> None:
    """What an earlier evaluation measured and the latest did not is NaN in the store."""
    mark = {"test_cases": "same"}
    made.run("one", {"test_lesion_dice": float("nan"), "test_lesion_iou": 0.5}, tags=mark)
    made.run("gone", {"test_lesion_dice": float("nan")}, tags=mark)
    (ranking,) = ranked(made)
    assert (ranking.metric, ranking.metrics) == ("lesion_iou", ["lesion_iou"])
    assert "was not evaluated" in why(made)["gone"]


def test_a_network_whose_training_named_no_data_is_ranked_by_what_it_was_measured_on(made: Made) -> None:
    made.segmentation("here", [0.7, 0.8], tags=measured())
    made.segmentation("elsewhere", [0.8, 0.9], tags=measured(), params={"data_fingerprint": ""})
    page = made_page(made)
    assert "elsewhere ranks first" in page.text
    assert "trained on other data" in page.text


def test_pictures_of_other_data_with_equal_names_are_not_shown(made: Made, tmp_path: Path) -> None:
    """Where the training's data lie says nothing of the data that were measured elsewhere."""
    for network, dice in (("one", [0.7, 0.2]), ("two", [0.2, 0.9])):
        params = {"data_fingerprint": OTHER, "dataset_dir": str(tmp_path)}
        made.segmentation(network, dice, tags=measured(), params=params)
    assert "measured on other data than the training's" in made_page(made).text
