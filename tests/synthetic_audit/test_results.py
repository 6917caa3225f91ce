"""What helped is said to have helped, what did not is not; and the fault inflates accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from made_audits import ARMS, made_measured

from pipelines.synthetic_audit.answer import answer, further, verdicts
from pipelines.synthetic_audit.results import CLASSICAL, NONE, work_out

HALF, FULL = ARMS[2:]


def numbers(*wrong: list[int]) -> dict:
    return {("net", arm): each for arm, each in zip(ARMS, wrong, strict=True)}


def test_generated_pictures_that_help_are_said_to_help() -> None:
    results = work_out(made_measured(numbers([60, 62, 64], [40, 42, 44], [50, 52, 50], [20, 22, 24])), "accuracy")
    effect = results.effect("net", FULL, NONE)
    assert effect.pairs["accuracy"].difference == pytest.approx(0.2)
    assert effect.by_seed["accuracy"] == pytest.approx([0.2, 0.2, 0.2])
    assert effect.outcome("accuracy") == "better"
    assert verdicts(results) == {"net": "helped"}
    pair = effect.pairs["accuracy"]
    shown = f"generated pictures helped net (at 100 %: +0.200, 95 % interval {pair.low:+.3f} to {pair.high:+.3f})."
    assert answer(results) == f"In accuracy on real test pictures, against no augmentation, {shown}"
    assert "generated pictures at 100 % are better than classical augmentation (+0.100" in further(results)[0]


def test_those_that_harm_are_said_to_harm() -> None:
    results = work_out(made_measured(numbers([20, 22, 24], [20, 22, 24], [22, 20, 24], [60, 62, 64])), "accuracy")
    assert verdicts(results) == {"net": "harmed"}
    assert "generated pictures harmed net (at 100 %: -0.200" in answer(results)


def test_both_are_said_where_shares_differ() -> None:
    results = work_out(made_measured(numbers([40, 42], [40, 42], [10, 12], [80, 82])), "accuracy")
    assert verdicts(results) == {"net": "helped and harmed"}


def test_chance_is_not_said_to_help() -> None:
    results = work_out(made_measured(numbers([40, 42, 44], [40, 42, 44], [41, 42, 43], [39, 42, 43])), "accuracy")
    assert verdicts(results) == {"net": "not shown to help"}
    assert "were not shown to help net (at 100 %: +0.003, 95 % interval " in answer(results)


def test_one_seed_that_disagrees_is_enough_for_no_winner() -> None:
    """The bootstrap knows patients alone: with two of three seeds far better it is sure."""
    results = work_out(made_measured(numbers([80, 80, 40], [80, 80, 40], [80, 80, 40], [10, 10, 42])), "accuracy")
    effect = results.effect("net", FULL, NONE)
    assert effect.pairs["accuracy"].winner(True) is not None
    assert effect.outcome("accuracy") == "open"
    assert verdicts(results) == {"net": "not shown to help"}


def test_few_patients_are_no_verdict() -> None:
    results = work_out(made_measured(numbers([4, 4], [4, 4], [0, 0], [0, 0]), number=8), "balanced_accuracy")
    assert verdicts(results) == {"net": "too few patients"}
    assert "could not be judged for net (at 100 %: +0.500), since fewer than 6 patients decide." in answer(results)


def test_pairs_are_those_decided_on_and_corrected_together() -> None:
    wrong = numbers([40, 40], [40, 40], [40, 40], [40, 40])
    wrong |= {("other", arm): each for (_, arm), each in wrong.items()}
    results = work_out(made_measured(wrong), "accuracy")
    found = {(e.network, e.arm.name, e.against.name) for e in results.effects}
    one = {("classical", "none")} | {
        (f"generated {share} %", other) for share in (50, 100) for other in ("none", "classical")
    }
    assert found == {(network, *pair) for network in ("net", "other") for pair in one}
    assert all(len(contest.pairs) == len(found) for contest in results.contests)
    assert {e.against for e in results.effects} == {NONE, CLASSICAL}


def test_generated_pictures_among_the_test_cases_inflate_by_what_they_are_easier() -> None:
    """By hand: 200 real cases, 40 wrong; as many generated ones, 4 wrong; together 44 of 400."""
    results = work_out(made_measured(numbers([40, 40], [40, 40], [40, 40], [40, 40]), generated_wrong=4), "accuracy")
    half, full = results.faults
    assert (half.arm, half.generated, full.arm, full.generated) == (HALF, 100, FULL, 200)
    assert full.real.estimate == pytest.approx(0.8)
    assert full.alone.estimate == pytest.approx(0.98)
    assert full.mixed.estimate == pytest.approx(1 - 44 / 400)
    assert full.inflation.estimate == pytest.approx(0.09)
    assert 0 < full.inflation.low < 0.09 < full.inflation.high
    assert full.honest.estimate == pytest.approx(0.0)
    assert full.gain.estimate == pytest.approx(0.09)
    row = next(row for row in results.rows if row.training.arm == FULL)
    assert row.estimates["accuracy"].estimate == pytest.approx(0.8), "no row but the fault's has generated cases"
    assert row.estimates["accuracy"].n == 200


def test_a_share_takes_the_first_generated_pictures_of_each_class() -> None:
    found = made_measured(numbers([40, 40], [40, 40], [40, 40], [40, 40]))
    for each in found:  # the later half of the generated pictures is all wrong
        each.generated.predicted[100:] = 1 - each.generated.labels[100:]
    half, full = work_out(found, "accuracy").faults
    assert half.alone.estimate == 1.0
    assert full.alone.estimate == pytest.approx(0.5)


def test_tables_of_other_orders_are_brought_into_one() -> None:
    from dataclasses import replace

    found = made_measured(numbers([40, 42], [30, 32], [20, 22], [10, 12]), generated_wrong=6)
    order = np.random.default_rng(1).permutation(200)

    def shuffled(table):
        names = {key: tuple(np.array(getattr(table, key))[order]) for key in ("items", "cases", "patients")}
        return replace(
            table, **names, **{key: getattr(table, key)[order] for key in ("labels", "predicted", "probabilities")}
        )

    mixed = [replace(each, items=shuffled(each.items)) if k % 2 else each for k, each in enumerate(found)]
    one, other = work_out(found, "accuracy"), work_out(mixed, "accuracy")
    assert [e.pairs["accuracy"].difference for e in one.effects] == [
        e.pairs["accuracy"].difference for e in other.effects
    ]
    assert [f.gain.estimate for f in one.faults] == [f.gain.estimate for f in other.faults]
