"""A network with a thirtieth of SeverityResNet's parameters for the same question (345,371)."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.networks.sizes import check_arguments
from pipelines.networks.torchvision_import import models

UNITS = (4, 8, 4)
CHANNELS = (24, 48, 96, 192, 1024)  # the first convolution, three stages, the last convolution


class SeverityShuffleNet(nn.Module):
    """torchvision's ShuffleNetV2 x0.5 for one-channel slices; docs/reference/networks.md.

    Source: Ma et al., ShuffleNet V2 (https://arxiv.org/abs/1807.11164). The whole first block is one 7x7 convolution
    with bias, without norm or activation.

    Args:
        spatial_dims: 2, the only one there is.
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
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        network = models.ShuffleNetV2(list(UNITS), list(CHANNELS), num_classes=out_channels)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, CHANNELS[0], 7, stride=2, padding=3), nn.MaxPool2d(3, stride=2, padding=1)
        )
        self.stages = nn.Sequential(network.stage2, network.stage3, network.stage4, network.conv5)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.classifier = network.fc

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each class.

        Args:
            x: B x in_channels x H x W, float, any size; 0..1 in the severity bundle.

        Returns:
            B x out_channels.
        """
        return self.classifier(self.dropout(self.stages(self.stem(x)).mean(dim=(2, 3))))
