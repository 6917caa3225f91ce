"""A generator that has collapsed is told from one that has not, whichever way it has."""

from __future__ import annotations

import pytest
import torch

from pipelines.generation import diversity
from pipelines.generation.diversity import mean_similarity, nearest_other


def blobs(number: int, seed: int) -> torch.Tensor:
    """Smooth pictures, each another."""
    noise = torch.rand(number, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=(64, 64), mode="bilinear")


def test_pictures_like_the_real_ones_have_not_collapsed() -> None:
    found = diversity(blobs(64, 1), blobs(64, 2))
    assert not found.collapsed
    assert found.difference == pytest.approx(1, abs=0.1)
    assert found.spread == pytest.approx(1, abs=0.1)


def test_pictures_that_are_all_alike_have_collapsed() -> None:
    samples = blobs(1, 1).repeat(64, 1, 1, 1) + 0.01 * blobs(64, 3)
    found = diversity(samples, blobs(64, 2))
    assert found.collapsed
    assert found.difference < 0.1
    assert found.numbers()["collapsed"] == 1


def test_a_few_pictures_over_and_over_have_collapsed_though_pairs_differ() -> None:
    found = diversity(blobs(8, 1).repeat(8, 1, 1, 1), blobs(64, 2))
    assert found.difference > 0.7
    assert found.spread == 0
    assert found.collapsed


def test_by_hand() -> None:
    pictures = torch.stack([torch.full((1, 64, 64), value) for value in (0.1, 0.2, 0.5)])
    assert nearest_other(pictures) == pytest.approx(0.1, rel=1e-4)  # of 0.1, 0.1 and 0.3
    assert mean_similarity(pictures[:1].repeat(4, 1, 1, 1)) == pytest.approx(1, abs=1e-5)


def test_as_many_samples_as_real_pictures_are_looked_at() -> None:
    assert diversity(blobs(64, 1), blobs(4, 2)) == diversity(blobs(64, 1)[:4], blobs(4, 2))


def test_one_picture_is_no_pair() -> None:
    with pytest.raises(ValueError, match="pairs"):
        diversity(blobs(1, 1), blobs(5, 2))
