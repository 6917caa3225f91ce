"""Slices as the cases of a classifier: each with its class, drawn as often as its class is rare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import Dataset, DistributedSampler
from monai.transforms import Compose, RandomizableTrait
from torch.utils.data import Sampler
from tqdm import tqdm

from pipelines.datasets.balancing import weighted_sampler
from pipelines.errors import ConfigError, DatalistError

BALANCING = ("sampling", "loss", "none")


class RatedSlices(Dataset):
    """Every rated slice of every case, one item each: ``{"image": (1, X, Y) float32, "label": class}``.

    What comes before the first random transform runs once a case, here; its slices are kept in memory, in half
    precision (0.5 MB for 512 x 512). What comes after runs each time a slice is asked for. Slices without a
    class (a label below 0) are left out.

    Args:
        data: items of a datalist.
        transform: a ``Compose`` that makes ``image`` (1, X, Y, Z), 0..1, and ``label`` (Z,) classes.
        progress: show how far it is.

    Attributes:
        labels: int64 (N,), the class of each slice.

    Raises:
        DatalistError: no slice is rated.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Compose, progress: bool = False) -> None:
        super().__init__(data, transform)
        steps = list(transform.transforms)
        first = next((i for i, step in enumerate(steps) if isinstance(step, RandomizableTrait)), len(steps))
        prepare = Compose(steps[:first])
        # The very objects of ``transform``: whoever seeds it (EpochSeed) seeds these.
        self.augment = Compose(steps[first:])
        self.slices: list[torch.Tensor] = []
        labels: list[int] = []
        for item in tqdm(data, "preparing slices", disable=not progress):
            prepared: Any = prepare(item)
            image = torch.as_tensor(prepared["image"]).as_subclass(torch.Tensor)
            for z, label in enumerate(prepared["label"].tolist()):
                if label >= 0:
                    self.slices.append(image[..., z].half().contiguous())
                    labels.append(label)
        if not labels:
            raise DatalistError("no slice of the training set has a class", how="add cases")
        self.labels = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.slices)

    def _transform(self, index: int) -> Any:
        return self.augment({"image": self.slices[index].float(), "label": int(self.labels[index])})


def slice_weights(labels: Sequence[int] | np.ndarray) -> np.ndarray:
    """A weight a slice, so that each class that is there has the same sum: float64 (N,)."""
    labels = np.asarray(labels, dtype=np.int64)
    return 1.0 / np.bincount(labels)[labels]


def slice_sampler(
    dataset: RatedSlices, balancing: str, draws: int | None = None, distributed: bool = False
) -> Sampler | None:
    """For ``balancing: sampling``, draws with replacement, each class as often as another; else None (plain shuffling).

    Args:
        draws: items an epoch, over all processes; None for as many as there are.
        distributed: each process draws from its share of the slices, as many as the others; without balancing, a
            sampler that shuffles that share.

    Raises:
        ConfigError: an unknown word; draws without that sampling, or below 1.
    """
    balanced = _checked(balancing) == "sampling"
    if draws is not None and (not balanced or draws < 1):
        raise ConfigError(f"{draws} draws an epoch cannot be", how="give 1 or more, and balancing: sampling")
    if not balanced:
        return DistributedSampler(dataset, even_divisible=True, shuffle=True) if distributed else None
    return weighted_sampler(dataset, slice_weights(dataset.labels).tolist(), draws, distributed)


def class_weights(dataset: RatedSlices, balancing: str, classes: int) -> torch.Tensor | None:
    """For ``balancing: loss``, the weights of a cross entropy, (classes,), inverse to how often a class is there, 1 on
    the average of the slices, 0 for one that is not there; else None.

    Raises:
        ConfigError: an unknown word.
    """
    if _checked(balancing) != "loss":
        return None
    number = np.bincount(dataset.labels, minlength=classes)
    present = np.count_nonzero(number)
    weights = np.where(number > 0, len(dataset) / (present * np.maximum(number, 1)), 0.0)
    return torch.tensor(weights, dtype=torch.float32)


def _checked(balancing: str) -> str:
    if balancing not in BALANCING:
        raise ConfigError(f"balancing is {balancing!r}", how=f"choose one of {', '.join(BALANCING)}")
    return balancing
