"""Classifiers applied to features that were computed before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer

from pipelines.inferers.slice_classes import SliceClassInferer


class FeatureInferer(Inferer):
    """Runs a network on features (B x …) of pictures in the place of the pictures: ``network(features, encoded=True)``.

    That is the network's own call, so that DistributedDataParallel averages the gradients.
    """

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits (B x classes), float32; features may be of half precision."""
        features = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        return network(features.float(), encoded=True).float()


class EncodedClassInferer(SliceClassInferer):
    """``SliceClassInferer`` of pictures, and of features of them where these were computed before.

    Args:
        feature_channels: what has so many channels is features.
        slice_size, batch_size, flips, amp: as ``SliceClassInferer``, for pictures.
    """

    def __init__(
        self,
        feature_channels: int,
        slice_size: Sequence[int] | None = None,
        batch_size: int = 8,
        flips: bool = False,
        amp: bool = False,
    ) -> None:
        super().__init__(slice_size, batch_size, flips, amp)
        self.feature_channels = feature_channels

    def _logits(self, slices: torch.Tensor, network: Any) -> torch.Tensor:
        if slices.shape[1] == self.feature_channels:
            return FeatureInferer()(slices, network)
        return super()._logits(slices, network)
