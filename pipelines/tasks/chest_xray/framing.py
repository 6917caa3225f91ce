"""Chest X-rays cropped to their lungs, as a transform: what a network that frames them sees."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cached_property
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from pipelines.inferers import resampled
from pipelines.networks import LungFrame
from pipelines.networks.lung_frame import LUNGS

_SIZE = (224, 224)


class FrameLungsd(MapTransform):
    """Crops pictures to the frame around both lungs (``LungFrame``, with the lung network that comes with the package),
    at 224 x 224; a picture without two lungs stays whole.

    Args:
        keys, allow_missing_keys: of pictures (1, W, H), grey 0..1; they become (1, 224, 224).
        margin, mask: as ``LungFrame``.
    """

    def __init__(
        self, keys: KeysCollection, margin: float = 0.06, mask: bool = False, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.margin, self.mask = margin, mask

    @cached_property
    def frame(self) -> LungFrame:
        frame = LungFrame(self.margin, self.mask)
        frame.load(LUNGS)
        return frame

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            plain = torch.as_tensor(d[key]).as_subclass(torch.Tensor)[None].float()
            with torch.no_grad():
                d[key] = self.frame(resampled(plain, _SIZE))[0]
        return d
