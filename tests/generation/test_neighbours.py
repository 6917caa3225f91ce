"""Memorised training pictures are found, and others are not called so."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.generation import memorisation, neighbour_picture
from pipelines.generation.neighbours import nearest

RNG = np.random.default_rng(0)


def pictures(number: int) -> np.ndarray:
    return RNG.integers(0, 256, (number, 8, 8)).astype(np.uint8)


def test_distances_by_hand() -> None:
    others = np.stack([np.full((8, 8), value, np.uint8) for value in (0, 51, 255)])
    distances, places = nearest(np.full((1, 8, 8), 102, np.uint8), others)
    assert distances[0] == pytest.approx([0.2, 0.4], rel=1e-5)
    assert places[0].tolist() == [1, 0]
    with pytest.raises(ValueError, match="two nearest"):
        nearest(others, others[:1])


def test_copies_are_counted() -> None:
    training, held_out, fresh = pictures(50), pictures(20), pictures(20)
    copies = np.clip(training[:3].astype(int) + 2, 0, 255).astype(np.uint8)
    found = memorisation(np.concatenate([fresh, copies]), training, held_out)
    assert found["copies"] == 3
    assert found["sample_least"] < 0.01 < found["held_out_least"]
    assert found["nearer_than_held_out"] >= 3 / 23
    assert memorisation(fresh, training, held_out)["copies"] == 0
    assert (found["samples"], found["training"], found["held_out"]) == (23, 50, 20)


def test_the_picture_has_samples_above_their_neighbours() -> None:
    training = pictures(30)
    samples = np.concatenate([pictures(20), training[7:8]])
    drawn = neighbour_picture(samples, training, rows=2)
    assert drawn.shape == (4 * 10 - 2, 8 * 10 - 2)
    assert np.array_equal(drawn[:8, :8], training[7])  # the nearest of all comes first
    assert np.array_equal(drawn[10:18, :8], training[7])
