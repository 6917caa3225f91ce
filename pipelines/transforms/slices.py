"""Slices for training, drawn from cases of any length."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable


class RandSlicesd(Randomizable, MapTransform):
    """Draws ``num_samples`` axial slices (1, X, Y) from a case (1, X, Y, Z), the same ones for every key.

    Slices with lesion, with lung only, and with neither are drawn in the given proportions, whatever their numbers in
    the case are: most slices of a volume hold no lesion, and a model that never sees the abdomen finds lung there.

    Args:
        keys: image and label.
        label_key: values 0 background, 1 lung, 2 lesion.
        num_samples: how many slices to draw, with replacement; at most the case's own number.
        ratios: weights of slices whose highest label is 0, 1 and 2.

    Returns:
        A list of dictionaries (MONAI's loader collates it into the batch), without meta information.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        num_samples: int = 1,
        ratios: tuple[float, float, float] = (0.1, 0.3, 0.6),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, not {num_samples}")
        self.label_key = label_key
        self.num_samples = num_samples
        self.ratios = np.asarray(ratios, dtype=float)
        self.chosen: list[int] = []

    def randomize(self, data: torch.Tensor) -> None:
        highest = data[0].amax(dim=(0, 1)).numpy().astype(int)
        weights = self.ratios[highest] / np.bincount(highest, minlength=3)[highest]
        count = min(self.num_samples, highest.size)
        self.chosen = self.R.choice(highest.size, size=count, p=weights / weights.sum()).tolist()

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        tensors = {key: torch.as_tensor(data[key]) for key in self.key_iterator(dict(data))}
        self.randomize(torch.as_tensor(data[self.label_key]))
        return [{key: _plain(tensor)[..., z].clone() for key, tensor in tensors.items()} for z in self.chosen]


def _plain(tensor: Any) -> torch.Tensor:
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
