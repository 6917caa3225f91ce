"""How small a useful lung CT model can be (2D: 9,235 parameters)."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv, Dropout, Pool
from torch import Tensor, nn

from pipelines.networks.sizes import check_arguments, crop_to, pad_to_multiple

FEATURES = 16


class TinyUNet(nn.Module):
    """One level down, one up, 16 channels throughout, biases and no norm; docs/reference/networks.md.

    The skip is at the lower level: the pooled features are joined to what two convolutions make of them. Odd sizes are
    padded inside and cropped back.

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: channels of the input.
        out_channels: channels of the logits: background, lung, lesion.
        dropout: channel dropout before the last convolution, 0 (none) to below 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout)
        convolution = Conv[Conv.CONV, spatial_dims]
        self.top1 = convolution(in_channels, FEATURES, 3, padding=1)
        self.top2 = convolution(FEATURES, FEATURES, 3, padding=1)
        self.pool = Pool[Pool.MAX, spatial_dims](2)
        self.bottom1 = convolution(FEATURES, FEATURES, 3, padding=1)
        self.bottom2 = convolution(FEATURES, FEATURES, 3, padding=1)
        self.up = Conv[Conv.CONVTRANS, spatial_dims](2 * FEATURES, FEATURES, 2, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = Dropout[Dropout.DROPOUT, spatial_dims](dropout) if dropout > 0 else nn.Identity()
        self.final = convolution(FEATURES, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the input's spatial shape.

        Args:
            x: B x in_channels x H x W (x D), float, any size; intensities as trained with (0..1 in the lung bundle).

        Returns:
            B x out_channels x H x W (x D).
        """
        features = self.relu(self.top2(self.relu(self.top1(pad_to_multiple(x, 2)))))
        pooled = self.pool(features)
        bottom = self.relu(self.bottom2(self.relu(self.bottom1(pooled))))
        features = self.relu(self.up(torch.cat([pooled, bottom], dim=1)))
        return crop_to(self.final(self.dropout(features)), x)
