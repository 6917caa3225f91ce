"""The training set's cache: in memory, or on disk for sets that do not fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monai.data import CacheDataset, Dataset, PersistentDataset


def cached_dataset(data: Sequence[dict[str, Any]], transform: Callable, cache_dir: str | None = None) -> Dataset:
    """A CacheDataset, or a PersistentDataset in ``cache_dir``: what comes before the first random transform runs once.

    Args:
        data: items of a datalist.
        transform: a ``Compose``.
        cache_dir: a folder (made if missing), or None for memory.
    """
    if cache_dir is None:
        return CacheDataset(data, transform, progress=sys.stderr.isatty())
    return PersistentDataset(data, transform, cache_dir=Path(cache_dir))
