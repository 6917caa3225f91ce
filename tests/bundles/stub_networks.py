"""A network whose output is known beforehand, in the place of a trained one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GreyLevels(nn.Module):
    """Labels a pixel or voxel by its grey value alone, the mean of its channels: equal steps from ``low`` to ``high``.

    Args:
        out_channels: number of labels; of one, what is bright is labelled.
        spatial_dims: 2 or 3.
        low, high: the values that an image has.
    """

    def __init__(self, out_channels: int, spatial_dims: int = 2, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.low, self.high = low, high
        centres = (torch.arange(out_channels) + 0.5) / out_channels  # of one channel: the grey where lesion begins
        # a network without weights could load none
        self.centres = nn.Parameter(centres.reshape(1, -1, *[1] * spatial_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Logits B x out_channels x H x W (x D) of an image B x C x H x W (x D)."""
        grey = (x.mean(dim=1, keepdim=True) - self.low) / (self.high - self.low) - self.centres
        return 200.0 * grey if self.centres.shape[1] == 1 else -200.0 * grey**2
