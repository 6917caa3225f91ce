"""Logits of whole volumes of any size by a 3D network that sees a window at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer

from pipelines.inferers.mixed_precision import MixedPrecisionInferer


class VolumeWindowInferer(SlidingWindowInferer):
    """MONAI's sliding windows, in mixed precision; where windows overlap, the middle of each counts more.

    Args:
        roi_size: (X, Y, Z) voxels of a window; a volume that is smaller is padded with zeros.
        sw_batch_size: windows a forward pass.
        overlap: the part of a window that the next one sees too, 0 to below 1.
        amp: bfloat16 autocast.
    """

    def __init__(
        self, roi_size: Sequence[int], sw_batch_size: int = 4, overlap: float = 0.5, amp: bool = False
    ) -> None:
        super().__init__(roi_size, sw_batch_size, overlap, mode="gaussian")
        self._forward = MixedPrecisionInferer(amp)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits (B, K, X, Y, Z), float32, of volumes (B, C, X, Y, Z)."""
        return super().__call__(inputs, lambda windows: self._forward(windows, network))  # type: ignore[return-value]
