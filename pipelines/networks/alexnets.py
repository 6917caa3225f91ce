"""AlexNet for grey pictures (56,996,546 parameters), and one a tenth of its size (5,374,466)."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.networks.sizes import check_arguments
from pipelines.networks.torchvision_import import models


class AlexNet(nn.Module):
    """torchvision's AlexNet with one input channel; docs/reference/networks.md.

    Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks
    (https://arxiv.org/abs/1404.5997): convolutions of 64, 192, 384, 256, 256 channels, dense layers of 4096.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: channels of the input.
        out_channels: classes.
        dropout: before each of the two hidden dense layers, 0 (none) to below 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 2, dropout: float = 0.5
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        network = models.alexnet(weights=None, num_classes=out_channels, dropout=dropout)
        network.features[0] = nn.Conv2d(in_channels, 64, 11, stride=4, padding=2)
        self.features = nn.Sequential(network.features, network.avgpool, nn.Flatten())
        self.classifier = network.classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B x out_channels) of B x in_channels x H x W, float, at least 63 pixels a side."""
        return self.classifier(self.features(x))


class SmallAlexNet(nn.Module):
    """Three convolutions where AlexNet has five, and smaller dense layers; docs/reference/networks.md.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: channels of the input.
        out_channels: classes.
        dropout: before each of the two hidden dense layers, 0 (none) to below 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 2, dropout: float = 0.5
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        layers: list[nn.Module] = []
        channels = in_channels
        for width, size, stride, padding in ((32, 11, 4, 2), (64, 5, 1, 2), (128, 3, 1, 1)):
            layers += [nn.Conv2d(channels, width, size, stride, padding), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)]
            channels = width
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(6), nn.Flatten())
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(channels * 36, 1024), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(1024, 512), nn.ReLU(inplace=True),
            nn.Linear(512, out_channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B x out_channels) of B x in_channels x H x W, float, at least 63 pixels a side."""
        return self.classifier(self.features(x))
