"""Logits of whole pictures of any size by a 2D network that was trained at one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch.nn.functional import interpolate

from pipelines.inferers.mixed_precision import MixedPrecisionInferer
from pipelines.inferers.views import FLIPS


class PictureInferer(Inferer):
    """Resamples a picture to the network's size, and the network's logits back to the picture's.

    The way down averages areas, as ``Resized(mode="area")`` does in training; the way back is bilinear, on logits, so
    that an outline is smooth at the picture's own size. A picture of 12 megapixels costs its own room and one float a
    pixel a class.

    Args:
        image_size: (W, H) that the network was trained at.
        flips: average the logits over the four flips.
        scales: and over these multiples of ``image_size``, each rounded to a multiple of 32.
        amp: bfloat16 autocast.
    """

    def __init__(
        self, image_size: Sequence[int], flips: bool = False, scales: Sequence[float] = (1.0,), amp: bool = False
    ) -> None:
        super().__init__()
        self.sizes = [tuple(max(32, int(side * scale / 32 + 0.5) * 32) for side in image_size) for scale in scales]
        if 1.0 in scales:
            self.sizes[list(scales).index(1.0)] = tuple(image_size)
        self.flips = FLIPS if flips else FLIPS[:1]
        self._forward = MixedPrecisionInferer(amp)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits (B, K, W, H), float32, of pictures (B, C, W, H) with values 0..1."""
        pictures = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        first = self.sizes[0]
        parts = []
        for size in self.sizes:
            small = interpolate(pictures, size, mode="area")
            answers = (self._forward(small.flip(axes), network).flip(axes) for axes in self.flips)
            mean = functools.reduce(torch.add, answers) / len(self.flips)
            parts.append(mean if size == first else interpolate(mean, first, mode="bilinear"))
        logits = functools.reduce(torch.add, parts) / len(parts)
        return interpolate(logits, tuple(pictures.shape[2:]), mode="bilinear")
