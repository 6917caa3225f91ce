"""Class logits of volumes of any length by a 2D classifier, slice by slice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch.nn.functional import interpolate

from pipelines.inferers.mixed_precision import MixedPrecisionInferer
from pipelines.inferers.views import FLIPS


class SliceClassInferer(Inferer):
    """Applies a 2D classifier to each slice.

    Args:
        slice_size: (H, W) to which each slice is resampled before the network; None keeps the slice's own size.
        batch_size: slices a forward pass.
        flips: average the logits over the four flips.
        amp: bfloat16 autocast.

    Attributes:
        progress: where set, called with how many slices of a case are done, and how many there are.
    """

    def __init__(
        self,
        slice_size: Sequence[int] | None = (512, 512),
        batch_size: int = 8,
        flips: bool = False,
        amp: bool = False,
    ) -> None:
        super().__init__()
        self.slice_size = None if slice_size is None else tuple(slice_size)
        self.batch_size = batch_size
        self.flips = FLIPS if flips else FLIPS[:1]
        self.progress: Callable[[int, int], object] | None = None
        self._forward = MixedPrecisionInferer(amp)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits of a batch of cases.

        Args:
            inputs: (B, 1, X, Y, Z), values 0..1; or (B, 1, X, Y), a picture without its third axis (MONAI Label's).
            network: (N, 1, H, W) to logits (N, classes).

        Returns:
            float32 (B, classes, Z); (B, classes) without a third axis.
        """
        volume = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        if volume.ndim == 4:
            return self._logits(volume, network)
        return torch.stack([torch.cat(list(self._parts(case, network))).T for case in volume])

    def _parts(self, case: torch.Tensor, network: Any) -> Iterator[torch.Tensor]:
        """Logits of a few slices at a time of one case (1, X, Y, Z)."""
        for start in range(0, case.shape[-1], self.batch_size):
            slices = case[..., start : start + self.batch_size].movedim(-1, 0).contiguous()
            yield self._logits(slices, network)
            if self.progress is not None:
                self.progress(start + len(slices), case.shape[-1])

    def _logits(self, slices: torch.Tensor, network: Any) -> torch.Tensor:
        slices = slices if self.slice_size is None else resampled(slices, self.slice_size)
        answers = (self._forward(slices.flip(axes), network) for axes in self.flips)
        return functools.reduce(torch.add, answers) / len(self.flips)


def resampled(pictures: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Pictures (B, C, H, W) at another size, bilinearly, with antialiasing; those of that size as they are."""
    if tuple(size) == tuple(pictures.shape[2:]):
        return pictures
    return interpolate(pictures, tuple(size), mode="bilinear", antialias=True)
