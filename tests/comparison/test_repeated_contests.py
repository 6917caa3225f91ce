"""Classifications of several seeds: the means over seeds are tested, on the pairs that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.comparison.cases import ItemTable
from pipelines.comparison.contests import repeated_contests
from pipelines.comparison.statistics import holm, signed_rank

NUMBER = 120


def table(wrong: int, seed: int, first: int = 0) -> ItemTable:
    labels = np.arange(NUMBER) % 2
    predicted = labels.copy()
    places = np.random.default_rng(seed).permutation(NUMBER)[:wrong]
    predicted[places] = 1 - predicted[places]
    items = tuple(f"case{k + first}" for k in range(NUMBER))
    patients = tuple(f"patient{k // 2}" for k in range(NUMBER))
    share = np.where(predicted == 1, 0.9, 0.1)
    return ItemTable(items, items, patients, labels, predicted, np.stack([1 - share, share], 1), ("no", "yes"))


ROWS = [[table(40, 0), table(48, 1)], [table(10, 0), table(12, 1)], [table(42, 2), table(46, 3)]]


def test_differences_are_of_means_over_seeds() -> None:
    found = repeated_contests(["accuracy", "auc"], ROWS, [(1, 0), (2, 0)])
    accuracy, area = found.contests
    assert [pair.difference for pair in accuracy.pairs] == pytest.approx([33 / 120, 0.0], abs=1e-9)
    assert found.by_seed[0]["accuracy"] == pytest.approx([80 / 120, 72 / 120])
    assert found.estimates[0]["accuracy"].estimate == pytest.approx(76 / 120)
    assert found.estimates[0]["accuracy"].low < 76 / 120 < found.estimates[0]["accuracy"].high
    assert (accuracy.n, accuracy.n_patients, accuracy.pairs[0].n_patients) == (120, 60, 60)
    assert accuracy.winner(accuracy.pairs[0]) == 1
    assert accuracy.winner(accuracy.pairs[1]) is None
    assert area.test == "paired bootstrap"
    assert area.pairs[0].p_value == area.pairs[0].bootstrap_p


def test_accuracy_has_wilcoxons_test_of_patients_and_holms_correction_over_all_pairs() -> None:
    (contest,) = repeated_contests(["accuracy"], ROWS, [(1, 0), (2, 0), (1, 2)]).contests
    right = [np.mean([each.right for each in row], axis=0) for row in ROWS]
    due = [signed_rank(right[a], right[b], ROWS[0][0].patients) for a, b in ((1, 0), (2, 0), (1, 2))]
    assert [pair.p_value for pair in contest.pairs] == due
    larger = [max(pair.p_value, pair.bootstrap_p) for pair in contest.pairs]
    assert [pair.corrected for pair in contest.pairs] == holm(larger)


def test_other_items_or_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="different items"):
        repeated_contests(["accuracy"], [ROWS[0], [table(10, 0, first=1)]], [(1, 0)])
    with pytest.raises(ValueError, match="metrics are accuracy, balanced_accuracy, auc"):
        repeated_contests(["luck"], ROWS, [(1, 0)])
