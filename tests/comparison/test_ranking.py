"""What is ranked together, and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_runs import Made

from pipelines.comparison.ranking import Ranking, higher_is_better, named_like, rank, shown_metrics, why_left_out
from pipelines.comparison.runs import Run, Store


def ranked(made: Made, *metrics: str) -> list[Ranking]:
    with Store(made.uri) as store:
        return rank(store, [run for run in store.runs() if not why_left_out(run)], metrics)


def test_the_best_comes_first_and_a_run_without_the_metric_last(made: Made) -> None:
    made.segmentation("middling", [0.7, 0.8])
    made.segmentation("best", [0.8, 0.9])
    made.run("silent", {"test_lesion_iou": 0.99}, tags={"test_cases": ""})
    made.segmentation("worst", [0.1, 0.2])
    rankings = ranked(made)
    assert [row.network for row in rankings[0].rows] == ["best", "middling", "worst"]
    assert rankings[0].metric == "lesion_dice"
    assert rankings[0].rows[0].mean("lesion_dice") == pytest.approx(0.85)
    assert [row.network for row in rankings[1].rows] == ["silent"]  # nobody knows which cases it was measured on


@pytest.mark.parametrize(
    "other",
    [
        {"data_fingerprint": "sha256:" + "cd" * 32},
        {"data_split": '{"rule": "by patient", "seed": 1}'},
        {"data_training_cases": 9},
    ],
)
def test_other_data_or_another_split_are_another_ranking(made: Made, other: dict[str, Any]) -> None:
    made.segmentation("one", [0.7, 0.8])
    made.segmentation("two", [0.8, 0.9], params=other)
    assert [[row.network for row in each.rows] for each in ranked(made)] in ([["one"], ["two"]], [["two"], ["one"]])


@pytest.mark.parametrize("marked", [True, False])
def test_another_fold_of_the_same_data_is_another_ranking(made: Made, marked: bool) -> None:
    """The folds of a cross-validation have one fingerprint, one rule and equal counts."""
    made.segmentation("one", [0.7, 0.8], cases=["a", "b"], marked=marked)
    made.segmentation("two", [0.8, 0.9], cases=["c", "d"], marked=marked)
    made.segmentation("three", [0.7, 0.7], cases=["b", "a"], marked=marked)
    assert sorted(len(each.rows) for each in ranked(made)) == [1, 2]


def test_segmentation_and_classification_of_the_same_data_are_apart(made: Made) -> None:
    made.segmentation("one", [0.7, 0.8], cases=["picture000", "picture001"])
    made.classification("two", [0.2, 0.8], [0, 1])
    assert sorted(each.scope.task for each in ranked(made)) == ["classification", "segmentation"]


def test_seeds_of_one_network_are_one_row_with_spread(made: Made) -> None:
    for seed, dice in ((2, [0.8, 0.9]), (0, [0.6, 0.7]), (1, [0.7, 0.8])):
        made.segmentation("one", dice, params={"seed": seed, "dataset_dir": f"/somewhere/{seed}", "workers": seed})
    made.segmentation("two", [0.5, 0.5])
    (ranking,) = ranked(made)
    row = ranking.rows[0]
    assert (row.seeds, row.first.params["seed"]) == (["0", "1", "2"], "0")
    assert row.mean("lesion_dice") == pytest.approx(0.75)
    assert row.spread("lesion_dice") == pytest.approx(0.1)
    assert np.isnan(row.interval("lesion_dice")).all()  # that of one run is not that of the mean
    assert np.isnan(ranking.rows[1].spread("lesion_dice"))
    assert ranking.rows[1].label == "two"


def test_what_sets_rows_of_one_network_apart_is_in_their_names(made: Made) -> None:
    made.segmentation("unet", [0.9, 0.9], params={"learning_rate": 0.1})
    made.segmentation("unet", [0.8, 0.8], params={"learning_rate": 0.2})
    made.segmentation(
        "unet", [0.7, 0.7], params={"learning_rate": 0.1}, tags={"config_files": "train.yaml frozen.yaml"}
    )
    made.segmentation("other", [0.6, 0.6])
    (ranking,) = ranked(made)
    labels = [row.label for row in ranking.rows]
    assert labels == [
        "unet (train, learning_rate=0.1)",
        "unet (train, learning_rate=0.2)",
        "unet (frozen, learning_rate=0.1)",
        "other",
    ]


def test_less_is_better_for_distances_and_errors(made: Made) -> None:
    assert [higher_is_better(n) for n in ("lesion_hd95_mm", "ece", "lesion_extent_error", "val_loss")] == [False] * 4
    assert [higher_is_better(n) for n in ("lesion_dice", "auc", "recession_rate", "specificity")] == [True] * 4
    mark = {"test_cases": "same"}
    made.run("near", {"test_lesion_hd95_mm": 2.0, "test_lesion_dice": 0.7}, tags=mark)
    made.run("far", {"test_lesion_hd95_mm": 9.0, "test_lesion_dice": 0.8}, tags=mark)
    (ranking,) = ranked(made, "lesion_hd95_mm")
    assert [row.network for row in ranking.rows] == ["near", "far"]
    assert shown_metrics(ranking) == ["lesion_hd95_mm", "lesion_dice"]


def test_the_metric_that_chose_the_checkpoints_ranks(made: Made) -> None:
    mark = {"test_cases": "same"}
    made.run("a", {"test_accuracy": 0.9, "test_auc": 0.6, "best_val_auc": 0.7}, tags=mark)
    made.run("b", {"test_accuracy": 0.8, "test_auc": 0.8, "best_val_auc": 0.7}, tags=mark)
    (ranking,) = ranked(made)
    assert (ranking.metric, ranking.rows[0].network) == ("auc", "b")
    assert ranked(made, "accuracy")[0].rows[0].network == "a"


@pytest.mark.parametrize(
    ("status", "tags", "word"),
    [
        ("FINISHED", {}, "was not evaluated"),
        ("FAILED", {"error": "ZeroDivisionError"}, "failed (ZeroDivisionError)"),
        ("KILLED", {"exit_reason": "SIGTERM"}, "ended early (SIGTERM)"),
        ("RUNNING", {}, "still running"),
    ],
)
def test_a_run_that_was_not_evaluated_says_why(made: Made, status: str, tags: dict[str, str], word: str) -> None:
    made.run("one", {}, status=status, tags=tags)
    with Store(made.uri) as store:
        (run,) = store.runs()
    assert word in why_left_out(run)


def test_a_run_that_failed_after_its_evaluation_is_ranked(made: Made) -> None:
    made.segmentation("one", [0.7, 0.8], status="FAILED")
    assert ranked(made)[0].rows[0].first.status == "FAILED"


def test_weights_of_unknown_data_are_in_no_ranking_and_parents_neither(made: Made) -> None:
    made.run("one", {"test_lesion_dice": 0.9}, params={"data_fingerprint": ""}, tags={"evaluation_only": "true"})
    parent = made.run("two", {})
    pooled = made.segmentation("four", [0.7, 0.8])
    made.run("fold", {"test_lesion_dice": 0.9}, tags={"mlflow.parentRunId": pooled})
    made.run("three", {"test_lesion_dice": 0.9}, tags={"mlflow.parentRunId": parent})
    with Store(made.uri) as store:
        reasons = {run.network: why_left_out(run) for run in store.runs()}
    assert "does not name" in reasons["one"]
    assert "holds 1 nested runs" in reasons["two"]
    assert reasons["three"] == ""
    assert reasons["four"] == "", "a cross-validation that pooled its folds' cases is a row of its own"


def test_the_network_is_said_by_tags_where_parameters_do_not() -> None:
    run = Run("id", "name", "bundle", "FINISHED", 1000, 4000, {}, {}, {"network": "unet"})
    assert (run.network, run.seconds) == ("unet", 3.0)


def test_the_columns_are_what_the_latest_evaluation_says_or_the_usual_ones_of_the_class_that_counts(made: Made) -> None:
    scores = ("core_dice", "core_iou", "core_hd95_mm", "core_sensitivity", "rim_dice", "rim_iou", "core_size_error")
    metrics = {f"test_{name}": 0.5 for name in scores} | {"best_val_core_dice": 0.6}
    made.run("old", metrics, tags={"test_cases": "same"})
    (ranking,) = ranked(made)
    assert ranking.scope.task == "segmentation"
    assert shown_metrics(ranking) == ["core_dice", "core_iou", "core_hd95_mm", "rim_dice"]
    assert named_like(ranking, "sensitivity") == ["core_sensitivity"]
    made.run("new", metrics, tags={"test_cases": "same", "test_shown_metrics": "core_size_error,core_dice,gone"})
    (ranking,) = ranked(made)
    assert shown_metrics(ranking) == ["core_dice", "core_size_error"]
    assert shown_metrics(ranking, ["rim_iou"]) == ["core_dice", "rim_iou"], "who asks is answered"
