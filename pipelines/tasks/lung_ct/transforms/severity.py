"""Severity labels from masks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from pipelines.tasks.lung_ct.severity import LUNG_FLOOR_SHARE, UNRATED, SeverityScale, slice_counts, slice_extents


class SeverityLabeld(MapTransform):
    """Replaces a label map by the severity class of each of its slices.

    Args:
        keys: label maps (1, X, Y, Z) or (1, X, Y): 0 background, 1 lung, 2 lesion; slices lie along the last axis.
        thresholds: extents at which the second, third … class begin, 0..1 (``SeverityScale``).
        names: of the classes; None numbers them.
        floor_share: slices with less lung than this part of their area are not rated.

    Returns:
        int64 (Z,): the class of each slice, 0 the least severe; -1 (``UNRATED``) below the lung floor, where the ratio
        would divide by noise.

    Raises:
        ConfigError: thresholds that cannot be.
    """

    def __init__(
        self,
        keys: KeysCollection,
        thresholds: Sequence[float] = (0.001, 0.25),
        names: Sequence[str] | None = None,
        floor_share: float = LUNG_FLOOR_SHARE,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        names = [str(k) for k in range(len(thresholds) + 1)] if names is None else names
        self.scale = SeverityScale(tuple(names), tuple(thresholds))
        self.floor_share = floor_share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            mask = np.asarray(d[key])[0]
            mask = mask[..., None] if mask.ndim == 2 else mask
            lesion, lung = slice_counts(mask)
            extents = slice_extents(lesion, lung, mask.shape[0] * mask.shape[1], self.floor_share)
            classes = [UNRATED if np.isnan(extent) else self.scale.index(extent) for extent in extents]
            d[key] = torch.tensor(classes, dtype=torch.int64)
        return d
