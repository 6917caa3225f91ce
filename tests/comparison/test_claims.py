"""What the page claims and what it must not: who is the best, of how many cases, from how few patients."""

from __future__ import annotations

import csv
import math
import re

import numpy as np
import pytest
from made_runs import Made
from test_comparison_page import Page, made_page


def rows_of(made: Made) -> dict[str, dict[str, str]]:
    with (made.folder / "out" / "comparison.csv").open(newline="") as file:
        return {row["label"]: row for row in csv.DictReader(file)}


def easy_cases_only(made: Made, seeds: int = 1) -> None:
    """`picky` has no value in the 12 hard cases, and is a little worse than `steady` in the 24 others."""
    rng = np.random.default_rng(0)
    easy, hard = rng.uniform(0.8, 0.9, 24), rng.uniform(0.2, 0.3, 12)
    for seed in range(seeds):
        noise = rng.normal(0, 0.002, 24)
        made.segmentation("steady", [*easy, *hard], params={"seed": seed})
        made.segmentation("picky", [*(easy - 0.03 + noise), *[math.nan] * 12], params={"seed": seed})
        made.segmentation("poor", [*(easy - 0.5), *(hard - 0.1)], params={"seed": seed})


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_row_that_loses_on_the_cases_both_have_is_not_the_best(made: Made, seeds: int) -> None:
    easy_cases_only(made, seeds)
    page = made_page(made)
    assert "picky ranks first" not in page.text
    assert "No difference is shown to steady" not in page.text
    assert re.search(r"picky has the best mean lesion_dice, [^;]*, and is not the best: it loses to steady", page.text)
    assert "Of the rows that lose to none, steady has the best mean" in page.text
    assert re.search(r"It beats (picky, poor|poor, picky) \(Wilcoxon", page.text)
    assert "1, but loses to steady" in page.text
    assert {label: row["loses_to"] for label, row in rows_of(made).items()} == {
        "picky": "steady",
        "steady": "",
        "poor": "",
    }


def test_the_number_of_cases_stands_beside_every_mean(made: Made) -> None:
    rng = np.random.default_rng(1)
    for network, empty in (("one", 0), ("two", 7)):
        distance = [*rng.uniform(1, 9, 20 - empty), *[math.nan] * empty]
        made.segmentation(network, rng.uniform(0.5, 0.9, 20), others={"lesion_hd95_mm": distance})
    page = made_page(made, metrics=["lesion_dice", "lesion_hd95_mm"])
    assert len(re.findall(r"\(\d\.\d+ to \d\.\d+\), n 13", page.text)) == 1
    rows = rows_of(made)
    assert [rows[name]["lesion_hd95_mm_n"] for name in ("one", "two")] == ["20", "13"]
    assert [rows[name]["lesion_dice_n"] for name in ("one", "two")] == ["20", "20"]


def classifiers(made: Made, n_patients: int, slices: int = 30, gap: float = 2.0) -> Page:
    rng = np.random.default_rng(2)
    labels = np.tile([0, 1], n_patients * slices // 2)
    patients = [f"p{k // slices}" for k in range(len(labels))]
    for network, strength in (("strong", gap), ("weak", 0.3)):
        scores = 1 / (1 + np.exp(-rng.normal(strength * (2 * labels - 1), 1)))
        made.classification(network, scores, labels, patients=patients)
    return made_page(made, metrics=["auc"])


@pytest.mark.parametrize("n_patients", [2, 3, 5])
def test_slices_of_few_patients_make_no_winner(made: Made, n_patients: int) -> None:
    page = classifiers(made, n_patients)
    assert "It beats" not in page.text
    assert "better:" not in page.text
    assert f"Too few patients: {n_patients}" in page.text
    assert "Too few patients to tell it from weak: a winner needs at least 6" in page.text
    assert "No difference is shown" not in page.text, "what was not tested is not said to be open"


def test_six_patients_are_enough_for_a_clear_difference(made: Made) -> None:
    assert "It beats weak (DeLong's test and the bootstrap" in classifiers(made, 6).text


def test_a_class_of_few_patients_makes_no_winner_by_its_area(made: Made) -> None:
    """20 patients with slices, of whom three have the disease: they decide the area, and not the other 17."""
    rng = np.random.default_rng(3)
    patients = [f"p{k // 20:02d}" for k in range(400)]
    labels = np.array([int(k < 60 and k % 2) for k in range(400)])
    for network, strength in (("strong", 2.0), ("weak", 0.3)):
        made.classification(
            network, 1 / (1 + np.exp(-rng.normal(strength * (2 * labels - 1), 1))), labels, patients=patients
        )
    page = made_page(made, metrics=["auc"])
    assert "Too few patients: 3 of the rarest class" in page.text
    assert "It beats" not in page.text


def test_pictures_in_another_order_are_tested(made: Made) -> None:
    rng = np.random.default_rng(4)
    labels = np.arange(60) % 2
    strong, weak = (1 / (1 + np.exp(-rng.normal(s * (2 * labels - 1), 1))) for s in (2.5, 0.3))
    names = [f"picture{k:03d}" for k in range(60)]
    made.classification("strong", strong, labels)
    made.classification("weak", weak[::-1], labels[::-1], names=names[::-1])
    page = made_page(made, metrics=["auc"])
    assert "other slices or pictures" not in page.text
    assert "It beats weak (DeLong's test" in page.text


def test_the_same_seed_again_is_no_seed_of_its_own(made: Made) -> None:
    rng = np.random.default_rng(5)
    dice = rng.uniform(0.5, 0.9, 20)
    for _ in range(3):
        made.segmentation("repeated", dice, params={"seed": 7})
    made.segmentation("other", dice - 0.2)
    page = made_page(made)
    assert "±" not in page.text.replace("± standard deviation", "")
    assert "trained 3 times with seed 7: the latest counts" in page.text
    row = rows_of(made)["repeated"]
    assert (row["runs"], row["seeds"], row["lesion_dice_sd"]) == ("1", "7", "")


def test_what_has_no_better_and_worse_ranks_nothing(made: Made) -> None:
    for network, share, dice in (("one", 0.9, 0.6), ("two", 0.1, 0.8)):
        made.run(network, {"test_refer_share": share, "test_auc": dice}, tags={"test_cases": "same"})
    page = made_page(made, metrics=["refer_share", "auc"])
    assert "two ranks first in auc" in page.text
    assert "refer_share (neither more nor less is better)" in page.text


def test_a_ranking_of_the_part_referred_alone_is_none(made: Made) -> None:
    for network, share in (("one", 0.9), ("two", 0.1)):
        made.run(network, {"test_refer_share": share}, tags={"test_cases": "same"})
    assert "There is no ranking: refer_share has no better and worse" in made_page(made).text


def test_no_row_is_the_best_where_each_loses_to_another(made: Made) -> None:
    """Three rows, each without values where it would lose: a circle."""
    rng = np.random.default_rng(6)
    base, nothing = rng.uniform(0.5, 0.6, 12), [math.nan] * 12
    up = base + 0.2
    made.segmentation("a", [*up, *base, *nothing])
    made.segmentation("b", [*base, *nothing, *up])
    made.segmentation("c", [*nothing, *up, *base])
    assert "Each of the rows loses to another one: none is the best" in made_page(made).text
