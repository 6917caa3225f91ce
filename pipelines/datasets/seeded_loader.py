"""Batches that are the same whatever number of processes loads them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader
from monai.transforms import Randomizable
from torch.utils.data import Dataset, RandomSampler, Sampler, SequentialSampler


class SeededLoader(DataLoader):
    """MONAI's DataLoader whose batches do not depend on ``num_workers``, to the last bit.

    Each pass draws one number from torch's state, which ``EpochSeed`` sets, and each item of it is made from a seed of
    its own: of that number and of the item's place in the pass. So the same item drawn twice is not the same twice,
    and whoever loads it leaves the trainer's own randomness (dropout) as it was. Workers stay from pass to pass.

    Args:
        dataset: its ``transform``, if it has one, is seeded for each item.
        batch_size, drop_last: as torch's.
        shuffle: draw the items in another order each pass; not with a sampler.
        sampler: gives the indices, or None.
        num_workers: processes that load while the trainer computes; 0 loads in between.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Sampler | None = None,
        num_workers: int = 0,
        drop_last: bool = False,
    ) -> None:
        if sampler is None:
            sampler = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)  # type: ignore[arg-type]
        super().__init__(
            _SeededItems(dataset),
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            drop_last=drop_last,
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),  # of the workers' own seeds: torch draws them from the trainer's else
        )

        self._seeded_batches = _SeededBatches(self.batch_sampler)

    def __iter__(self) -> Any:
        self._seeded_batches.draw()
        return super().__iter__()

    @property
    def _index_sampler(self) -> Any:
        """What torch takes the indices of a pass from; for workers it begins twice."""
        return self._seeded_batches


class _SeededBatches:
    """The batches of a sampler, each index with the seed of its item."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.drawn: list[list[tuple[int, int]]] = []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.drawn)

    def draw(self) -> None:
        """All that a pass draws from torch's state is drawn here."""
        number, places = int(torch.randint(2**62, (1,))), count()
        self.drawn = [[(_seed(number, next(places)), int(index)) for index in batch] for batch in self.batches]


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class _SeededItems(Dataset):
    """Items by (seed, index)."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, drawn: tuple[int, int]) -> Any:
        seed, index = drawn
        with _seeded(seed, getattr(self.dataset, "transform", None)):
            return self.dataset[index]


@contextmanager
def _seeded(seed: int, transform: Any) -> Iterator[None]:
    """Randomness from a seed; afterwards, that of this process as it was. A GPU's is not touched."""
    kept = random.getstate(), np.random.get_state(), torch.default_generator.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - MONAI's transforms may draw from the global state
    torch.default_generator.manual_seed(seed)
    if isinstance(transform, Randomizable):
        transform.set_random_state(seed=seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.default_generator.set_state(kept[2])
