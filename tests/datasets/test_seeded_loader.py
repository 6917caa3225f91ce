"""The same batches whoever loads them, and a trainer whose own randomness does not notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import CacheDataset, DistributedSampler
from monai.transforms import Compose, RandGaussianNoised, RandRotated
from torch.utils.data import Dataset, WeightedRandomSampler

from pipelines.datasets import SeededLoader
from pipelines.datasets.classified_pictures import FeatureItems
from pipelines.handlers import EpochSeed


def pictures() -> CacheDataset:
    items = [{"image": torch.arange(64.0).reshape(1, 8, 8) + n} for n in range(5)]
    steps = Compose([RandRotated("image", range_x=1.0, prob=0.8), RandGaussianNoised("image", prob=0.5)])
    return CacheDataset(items, steps, progress=False)


def features() -> FeatureItems:
    return FeatureItems(np.arange(20.0).reshape(4, 5), np.arange(5))


def epochs(dataset: Dataset, sampler: Any = None, workers: int = 0) -> list[list[torch.Tensor]]:
    """The pictures of each of two epochs, and what the trainer drew meanwhile."""
    loader = SeededLoader(dataset, batch_size=2, shuffle=sampler is None, sampler=sampler, num_workers=workers)
    seen: list[list[torch.Tensor]] = []

    def step(engine: Engine, batch: Any) -> None:
        while len(seen) < engine.state.epoch:
            seen.append([])
        image = batch["image"].as_tensor() if hasattr(batch["image"], "as_tensor") else batch["image"]
        seen[-1] += [*image.clone(), torch.rand(3)]

    engine = Engine(step)
    EpochSeed(7, getattr(dataset, "transform", None)).attach(engine)
    engine.run(loader, max_epochs=2)
    return seen


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize("make", [pictures, features])
@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_workers(make: Any, workers: int) -> None:
    alone, helped = epochs(make()), epochs(make(), workers=workers)
    assert all(map(same, alone, helped))
    assert not same(*alone), "an epoch is not like another"


def test_what_is_drawn_twice_is_changed_in_two_ways() -> None:
    first, _ = epochs(pictures(), WeightedRandomSampler([0.0, 0.0, 1.0, 0.0, 0.0], 4))
    drawn = [each for each in first if each.ndim == 3]
    assert len({tuple(each.flatten().tolist()) for each in drawn}) == 4


def test_each_item_once_an_epoch_as_with_any_loader() -> None:
    loader = SeededLoader(features(), batch_size=2, shuffle=True, drop_last=True)
    assert len(loader) == 2
    drawn = [int(each) for batch in SeededLoader(features(), batch_size=2, shuffle=True) for each in batch["label"]]
    assert sorted(drawn) == [0, 1, 2, 3, 4]


def test_trainers_find_the_sampler_of_several_processes() -> None:
    sampler = DistributedSampler(features(), num_replicas=2, rank=0, shuffle=True)
    assert SeededLoader(features(), sampler=sampler).sampler is sampler, "MONAI tells it the epoch"
