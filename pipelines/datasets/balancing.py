"""How often the cases of a training set are drawn: as often of one source, form or patient as of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from monai.data import DistributedSampler, DistributedWeightedRandomSampler
from torch.utils.data import Dataset, Sampler, WeightedRandomSampler

from pipelines.errors import ConfigError


def balanced_weights(
    data: Sequence[Mapping[str, Any]], keys: Sequence[str], shares: Mapping[str, float] | None = None
) -> list[float]:
    """A weight a case, their sum 1: each value of the first key has the same sum, within it each value of the second,
    and so on; cases that agree in all keys share theirs evenly.

    Args:
        data: entries of a datalist, each with the keys.
        keys: such as ``["form", "patient"]``.
        shares: of the first key's values, in any unit; 0 for none. A value that is not named has 1.

    Raises:
        ConfigError: no keys, a key that an entry lacks, or shares below 0 or all 0.
    """
    if not keys:
        raise ConfigError("there is no key to balance by", how="name some, as [form, patient]")
    lacking = next(((key, item) for key in keys for item in data if key not in item), None)
    if lacking:
        raise ConfigError(
            f"the cases do not say their {lacking[0]!r}", where=str(lacking[1].get("case", "")),
            how="balance by what the datalist has, or prepare the data again",
        )  # fmt: skip
    paths = [tuple(str(item[key]) for key in keys) for item in data]
    named = {path[0]: float((shares or {}).get(path[0], 1.0)) for path in paths}
    if min(named.values(), default=0.0) < 0 or not any(named.values()):
        raise ConfigError(f"the shares are {named}", how="give numbers of 0 or more, at least one above 0")
    branches = Counter(path[: depth - 1] for depth in range(1, len(keys) + 1) for path in {p[:depth] for p in paths})
    cases = Counter(paths)
    total = sum(named.values())
    weights = []
    for path in paths:
        weight = named[path[0]] / total / cases[path]
        for depth in range(1, len(keys)):
            weight /= branches[path[:depth]]
        weights.append(weight)
    return weights


def balanced_sampler(
    dataset: Dataset,
    data: Sequence[Mapping[str, Any]],
    keys: Sequence[str] | None,
    shares: Mapping[str, float] | None = None,
    draws: int | None = None,
    distributed: bool = False,
) -> Sampler | None:
    """Draws with replacement by ``balanced_weights``; None (plain shuffling) without keys.

    Args:
        dataset: whose cases are drawn. data: its entries.
        draws: cases an epoch, over all processes; None for as many as there are.
        distributed: each process draws from its share of the cases.

    Raises:
        ConfigError: as ``balanced_weights``; draws without keys, or below 1.
    """
    if draws is not None and (not keys or draws < 1):
        raise ConfigError(f"{draws} draws an epoch cannot be", how="give a number of 1 or more, and what to balance by")
    if not keys:
        return DistributedSampler(dataset, even_divisible=True, shuffle=True) if distributed else None
    return weighted_sampler(dataset, balanced_weights(data, keys, shares), draws, distributed)


def weighted_sampler(dataset: Dataset, weights: list[float], draws: int | None, distributed: bool) -> Sampler:
    """Draws with replacement by a weight an item.

    Args:
        draws: items an epoch, over all processes; None for as many as there are.
        distributed: each process draws from its share of the items.
    """
    if not distributed:
        return WeightedRandomSampler(weights, draws or len(weights))
    sampler = DistributedWeightedRandomSampler(dataset, weights, even_divisible=True)
    if draws is not None:
        sampler.num_samples_per_rank = -(-draws // sampler.num_replicas)
    return sampler
