"""The plain convolutional network that the chest X-ray study starts from (2,524,033 parameters)."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.networks.sizes import check_arguments, check_two_classes, two_classes

FEATURES = (32, 64, 64, 128, 256)
POOLED = 4  # a side of what the dense layers see: 128 halved five times


class ChestCNN(nn.Module):
    """Five convolutions of a grey picture, each halved, and two dense layers; docs/reference/networks.md.

    Each convolution is 3x3 with ReLU, dropout (not the first), batch norm and 2x2 max pooling. Drawn for 128x128;
    another size is averaged to the 4x4 features that the dense layers were made for.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: channels of the input.
        out_channels: logits; 1 is pneumonia or not.
        dropout: after the second to fifth convolution, 0 (none) to below 1; before the dense layers it is half as much
            again, at most 0.9.
        as_two_classes: the one logit z comes out as (-z/2, z/2), whose softmax is that of two classes.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        dropout: float = 0.2,
        as_two_classes: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        check_two_classes(as_two_classes, out_channels)
        self.as_two_classes = as_two_classes
        layers: list[nn.Module] = []
        channels = in_channels
        for place, width in enumerate(FEATURES):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.Dropout(dropout)] if place else []  # also one of 0: keys do not depend on it
            layers += [nn.BatchNorm2d(width), nn.MaxPool2d(2, ceil_mode=True)]
            channels = width
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(POOLED), nn.Flatten())
        self.classifier = nn.Sequential(
            nn.Dropout(min(1.5 * dropout, 0.9)),
            nn.Linear(channels * POOLED**2, 512),
            nn.ReLU(inplace=True),
            nn.Linear(512, out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: B x in_channels x H x W, float, any size; 0..1 in the chest X-ray bundle.

        Returns:
            B x out_channels, or B x 2.
        """
        logits = self.classifier(self.features(x))
        return two_classes(logits) if self.as_two_classes else logits
