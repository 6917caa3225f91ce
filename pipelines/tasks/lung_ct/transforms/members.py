"""What the single predictions behind an average say: how much lung and lesion each of them finds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from pipelines.tasks.lung_ct.severity import slice_counts


class SplitMembersd(MapTransform):
    """Takes apart what ``VolumeSliceInferer(members=True)`` returns.

    Args:
        keys: (1 + M, X, Y, Z) uint8: the label map, then those of M members; the label map (1, X, Y, Z) stays.
        members_key: gets all 1 + M.
    """

    def __init__(self, keys: KeysCollection, members_key: str = "members", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.members_key = members_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[self.members_key] = d[key]
            d[key] = d[key][:1]
        return d


class CountMembersd(MapTransform):
    """Replaces the members by their counts. What was taken out of the label map meanwhile counts in none of them.

    Put it behind ``RemoveStrayLabelsd`` and before what changes the grid.

    Args:
        keys: the label map (1, X, Y, Z), 0 background, 1 lung, 2 lesion.
        members_key: what ``SplitMembersd`` left; it is removed.
        counts_key: gets int64 (M, 2, Z): of each member and slice, pixels of lesion, and of lung with lesion.
    """

    def __init__(
        self,
        keys: KeysCollection,
        members_key: str = "members",
        counts_key: str = "member_counts",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.members_key = members_key
        self.counts_key = counts_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            first, *members = np.asarray(d.pop(self.members_key))
            removed = (first > 0) & (np.asarray(d[key])[0] == 0)
            d[self.counts_key] = np.stack([np.stack(slice_counts(np.where(removed, 0, member))) for member in members])
        return d
