"""The exact reference U-Net of the lung CT task (2D: 7,762,531 parameters)."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv, Dropout, Norm, Pool
from torch import Tensor, nn

from pipelines.networks.sizes import check_arguments, crop_to, pad_to_multiple

FEATURES = (32, 64, 128, 256, 512)


def _double_convolution(spatial_dims: int, in_channels: int, out_channels: int, dropout: float) -> nn.Sequential:
    """Twice: 3x3 convolution without bias, batch norm, ReLU, dropout.

    Layers are named, not numbered, so that weights trained with dropout load into a network without it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, channels in ((1, in_channels), (2, out_channels)):
        layers[f"conv{number}"] = Conv[Conv.CONV, spatial_dims](channels, out_channels, 3, padding=1, bias=False)
        layers[f"norm{number}"] = Norm[Norm.BATCH, spatial_dims](out_channels)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if dropout > 0:
            layers[f"dropout{number}"] = Dropout[Dropout.DROPOUT, spatial_dims](dropout)
    return nn.Sequential(layers)


class LesionUNet(nn.Module):
    """U-Net with batch norm, five levels of 32 to 512 channels and transposed convolutions.

    Source: the U-Net of Ronneberger et al. (https://arxiv.org/abs/1505.04597), sized as in docs/reference/networks.md.
    Sizes that 16 does not divide are padded inside and cropped back.

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: channels of the input.
        out_channels: channels of the logits: background, lung, lesion.
        dropout: channel dropout after each ReLU, 0 (none) to below 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout)
        inputs = (in_channels, *FEATURES[:-1])
        self.encoder = nn.ModuleList(
            _double_convolution(spatial_dims, before, after, dropout)
            for before, after in zip(inputs, FEATURES, strict=True)
        )
        self.pool = Pool[Pool.MAX, spatial_dims](2)
        deep_to_shallow = FEATURES[::-1]
        self.up = nn.ModuleList(
            Conv[Conv.CONVTRANS, spatial_dims](deep, shallow, 2, stride=2)
            for deep, shallow in pairwise(deep_to_shallow)
        )
        self.decoder = nn.ModuleList(
            _double_convolution(spatial_dims, 2 * features, features, dropout) for features in deep_to_shallow[1:]
        )
        self.final = Conv[Conv.CONV, spatial_dims](FEATURES[0], out_channels, 1)
        self.multiple: int = 2 ** (len(FEATURES) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the input's spatial shape.

        Args:
            x: B x in_channels x H x W (x D), float, any size; intensities as trained with (0..1 in the lung bundle).

        Returns:
            B x out_channels x H x W (x D).
        """
        features = pad_to_multiple(x, self.multiple)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            if level > 0:
                features = self.pool(features)
            features = block(features)
            skips.append(features)
        for level, (up, block) in enumerate(zip(self.up, self.decoder)):  # noqa: B905 - TorchScript's zip has no strict
            features = block(torch.cat([skips[len(skips) - 2 - level], up(features)], dim=1))
        return crop_to(self.final(features), x)
