"""The residual network that grades a chest CT slice (2D: 11,175,683 parameters)."""

from __future__ import annotations

from itertools import pairwise

from monai.networks.layers.factories import Conv, Dropout, Norm, Pool
from torch import Tensor, nn

from pipelines.networks.sizes import check_arguments

FEATURES = (64, 64, 128, 256, 512)  # the stem, then four stages
STRIDES = (1, 1, 2, 2)  # of the stages: the second keeps the first one's size, unlike ResNet-18's


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions with bias, each followed by batch norm, added to the input or its 1x1 projection."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        convolution, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        self.conv1 = convolution(in_channels, out_channels, 3, stride=stride, padding=1)
        self.norm1 = norm(out_channels)
        self.conv2 = convolution(out_channels, out_channels, 3, padding=1)
        self.norm2 = norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Sequential(convolution(in_channels, out_channels, 1, stride=stride, bias=False), norm(out_channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        features = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(features)) + self.shortcut(x))


class SeverityResNet(nn.Module):
    """ResNet with basic blocks for one-channel slices; docs/reference/networks.md.

    Source: He et al., Deep Residual Learning for Image Recognition (https://arxiv.org/abs/1512.03385), 18 layers, with
    three differences: convolutions of the stem and the blocks have a bias, the second stage keeps its input's size
    (128x128 for a slice of 512x512), and there is one input channel. (MONAI's ResNet has neither the biases nor strides
    of one's own.)

    Args:
        spatial_dims: 2 for slices, 3 for volumes.
        in_channels: channels of the input.
        out_channels: classes.
        dropout: of the pooled features before the last layer, 0 (none) to below 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout)
        self.stem = nn.Sequential(
            Conv[Conv.CONV, spatial_dims](in_channels, FEATURES[0], 7, stride=2, padding=3),
            Norm[Norm.BATCH, spatial_dims](FEATURES[0]),
            nn.ReLU(inplace=True),
            Pool[Pool.MAX, spatial_dims](3, stride=2, padding=1),
        )
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    _BasicBlock(spatial_dims, before, after, stride), _BasicBlock(spatial_dims, after, after, 1)
                )
                for (before, after), stride in zip(pairwise(FEATURES), STRIDES, strict=True)
            )
        )
        self.pool = Pool[Pool.ADAPTIVEAVG, spatial_dims](1)
        self.dropout = Dropout[Dropout.DROPOUT, 1](dropout) if dropout > 0 else nn.Identity()
        self.classifier = nn.Linear(FEATURES[-1], out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each class.

        Args:
            x: B x in_channels x H x W (x D), float, any size; 0..1 in the severity bundle.

        Returns:
            B x out_channels.
        """
        features = self.pool(self.stages(self.stem(x))).flatten(1)
        return self.classifier(self.dropout(features))
