"""Slices as the cases of a classifier: each with its class, drawn as often as its class is rare."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
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
FEW = 10  # slices of a class that are drawn less often than those of another


class RatedSlices(Dataset):
    """Every rated slice of every case, one item each: ``{"image": (1, X, Y) float32, "label": class}``.

    What comes before the first random transform runs once a case, here; its slices are kept in memory, in half
    precision (0.13 MB for 256 x 256). What comes after runs each time a slice is asked for. Slices without a
    class (a label below 0) are left out.

    Args:
        data: items of a datalist.
        transform: a ``Compose`` that makes ``image`` (1, X, Y, Z), 0..1, and ``label`` (Z,) classes.
        progress: show how far it is.

    Attributes:
        labels: int64 (N,), the class of each slice.
        groups: of each slice what resembles it: the form and patient of its case, where the datalist has them.

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
        self.groups: list[tuple[str, str]] = []
        for number, item in enumerate(tqdm(data, "preparing slices", disable=not progress)):
            group = str(item.get("form", "")), str(item.get("patient", number))
            prepared: Any = prepare(item)
            image = torch.as_tensor(prepared["image"]).as_subclass(torch.Tensor)
            for z, label in enumerate(prepared["label"].tolist()):
                if label >= 0:
                    self.slices.append(image[..., z].half().contiguous())
                    labels.append(label)
                    self.groups.append(group)
        if not labels:
            raise DatalistError("no slice of the training set has a class", how="add cases")
        self.labels = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.slices)

    def _transform(self, index: int) -> Any:
        return self.augment({"image": self.slices[index].float(), "label": int(self.labels[index])})


def slice_weights(
    labels: Sequence[int] | np.ndarray, groups: Sequence[tuple[Hashable, Hashable]] | None = None
) -> np.ndarray:
    """A weight a slice: float64 (N,), their sum 1.

    Without groups each class that is there has the same sum. With them each *form* has its classes as often as one
    another, so that the look of a form tells nothing of the class (where one form is nearly always mild, a network
    learns the form); a class of fewer than ``FEW`` slices in one of several forms counts less, for they are always the
    same ones.
    A form, and within a class of it a patient, has a sum that grows with the square root of its slices (Mahajan et al.,
    ECCV 2018, section 2.2): a hundred neighbours in one scan count as ten slices of ten people.

    Args:
        labels: (N,) classes, from 0.
        groups: (N,) form and patient of each slice.
    """
    labels = np.asarray(labels, dtype=np.int64)
    if groups is None:
        return 1.0 / np.bincount(labels)[labels] / len(set(labels.tolist()))
    paths = [(form, label, patient) for (form, patient), label in zip(groups, labels.tolist(), strict=True)]
    forms, classes, patients = Counter(p[0] for p in paths), Counter(p[:2] for p in paths), Counter(paths)
    rare = {key: min(1.0, number / FEW) if len(forms) > 1 else 1.0 for key, number in classes.items()}
    of_form = {form: sum(share for key, share in rare.items() if key[0] == form) for form in forms}
    of_class = {key: sum(math.sqrt(n) for path, n in patients.items() if path[:2] == key) for key in classes}
    weights = np.array([
        math.sqrt(forms[path[0]]) * rare[path[:2]] / of_form[path[0]] / of_class[path[:2]] / math.sqrt(patients[path])
        for path in paths
    ])  # fmt: skip
    return weights / weights.sum()


def slice_sampler(
    dataset: RatedSlices, balancing: str, draws: int | None = None, distributed: bool = False
) -> Sampler | None:
    """For ``balancing: sampling``, draws with replacement by ``slice_weights``, each class as often as
    another; else None (plain shuffling).

    Args:
        dataset: with ``labels``, and ``groups`` if some of its items resemble one another.
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
    weights = slice_weights(dataset.labels, getattr(dataset, "groups", None)).tolist()
    return weighted_sampler(dataset, weights, draws, distributed)


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
