"""Cases are drawn evenly by what balances them, whatever their numbers are."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from pipelines.datasets import balanced_sampler, balanced_weights
from pipelines.errors import ConfigError

DATA = (
    [{"case": f"a{i}", "form": "plain", "patient": "one"} for i in range(6)]
    + [{"case": f"b{i}", "form": "plain", "patient": "two"} for i in range(2)]
    + [{"case": f"c{i}", "form": "equalised", "patient": "one"} for i in range(4)]
    + [{"case": "d", "form": "picture", "patient": "d"}]
)


def sums(weights: list[float], *keys: str) -> dict[tuple[str, ...], float]:
    found: Counter[tuple[str, ...]] = Counter()
    for item, weight in zip(DATA, weights, strict=True):
        found[tuple(item[key] for key in keys)] += weight
    return {key: round(value, 9) for key, value in found.items()}


def test_each_form_and_within_it_each_patient_weighs_the_same() -> None:
    weights = balanced_weights(DATA, ["form", "patient"])
    third = round(1 / 3, 9)
    assert sums(weights, "form") == {("plain",): third, ("equalised",): third, ("picture",): third}
    assert sums(weights, "form", "patient")["plain", "one"] == pytest.approx(1 / 6)
    assert sums(weights, "form", "patient")["plain", "two"] == pytest.approx(1 / 6)
    assert weights[0] == pytest.approx(1 / 36)


def test_shares_are_of_the_first_key() -> None:
    weights = balanced_weights(DATA, ["form", "patient"], {"picture": 2, "equalised": 0})
    assert sums(weights, "form") == {("plain",): round(1 / 3, 9), ("equalised",): 0, ("picture",): round(2 / 3, 9)}


def test_draws_follow_the_weights_and_their_number() -> None:
    torch.manual_seed(0)
    sampler = balanced_sampler(DATA, DATA, ["form", "patient"], draws=3000)
    assert sampler is not None
    drawn = Counter(DATA[i]["form"] for i in sampler)
    assert sum(drawn.values()) == 3000
    assert all(abs(number - 1000) < 120 for number in drawn.values())
    assert balanced_sampler(DATA, DATA, None) is None


@pytest.mark.parametrize(
    ("keys", "shares", "draws", "message"),
    [
        ([], None, 5, "5 draws an epoch cannot be"),
        (["form"], None, 0, "0 draws"),
        (["scanner"], None, None, "do not say their 'scanner'"),
        (["form"], {"plain": -1}, None, "shares are"),
        (["form"], {"plain": 0, "equalised": 0, "picture": 0}, None, "shares are"),
    ],
)
def test_what_cannot_be(keys: list[str], shares: dict | None, draws: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        balanced_sampler(DATA, DATA, keys, shares, draws)
