"""The convolutional autoencoder whose codes a classifier is trained on (776,833 parameters)."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.networks.sizes import check_arguments, crop_to, pad_to_multiple

WIDTHS = (32, 64, 128, 256)
CODE_CHANNELS = WIDTHS[-1]
REDUCTION = 2 ** len(WIDTHS)  # a side of the picture, over a side of its code


class ConvAutoencoder(nn.Module):
    """Four convolutions that each halve a picture, and their mirror image; docs/reference/networks.md.

    Each is 3x3 with stride 2 and a bias, then batch norm and ReLU; the last one ends in a sigmoid. A picture of 224x224
    has a code of 256x14x14. Sizes that 16 does not divide are padded, and the reconstruction is cropped back.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels, out_channels: channels of the picture and of its reconstruction.
        dropout: of the code's values, 0 (none) to below 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        self.reduction = REDUCTION  # TorchScript knows a module's own numbers alone
        layers: list[nn.Module] = []
        channels = in_channels
        for width in WIDTHS:
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.encoder = nn.Sequential(*layers)
        layers = [nn.Dropout(dropout)]
        for width in WIDTHS[-2::-1]:
            layers += [_doubled(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.decoder = nn.Sequential(*layers, _doubled(channels, out_channels), nn.Sigmoid())

    def encode(self, x: Tensor) -> Tensor:
        """The code, B x 256 x H/16 x W/16 (rounded up), 0 or more, of B x in_channels x H x W, float, 0..1."""
        return self.encoder(pad_to_multiple(x, self.reduction))

    def decode(self, code: Tensor) -> Tensor:
        """The picture, B x out_channels x 16 h x 16 w, 0..1, of a code B x 256 x h x w."""
        return self.decoder(code)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction (B x out_channels x H x W, 0..1) of B x in_channels x H x W, float, any size, 0..1."""
        return crop_to(self.decode(self.encode(x)), x)


def _doubled(channels: int, width: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, width, 3, stride=2, padding=1, output_padding=1)
