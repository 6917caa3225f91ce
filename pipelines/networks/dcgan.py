"""A pair of networks for generated pictures of 64 x 64 pixels: a generator (3,574,656) and a discriminator (2,763,520).

Source: Radford, Metz and Chintala, Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks, 2016 (https://arxiv.org/abs/1511.06434), with the widths of its authors' code (512, 256, 128 and 64 channels);
``features=128`` gives those of the paper's figure 1 (1024 to 128).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from pipelines.networks.sizes import check_arguments

SIDE = 64  # pixels of what is generated
_SPREAD = 0.02  # of the normal distribution that weights begin with
_SLOPE = 0.2  # of LeakyReLU


class DCGANGenerator(nn.Module):
    """From a latent vector to a picture of 64 x 64: five transposed convolutions, batch norm and ReLU between, Tanh.

    The 4 x 4 convolutions have no bias: 1 -> 4 -> 8 -> 16 -> 32 -> 64 pixels a side. Weights begin as N(0, 0.02), those
    of batch norm as N(1, 0.02).

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: length of the latent vector.
        out_channels: channels of the picture.
        features: channels before the last convolution; those before are twice, four and eight times as many.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, spatial_dims: int = 2, in_channels: int = 100, out_channels: int = 1, features: int = 64
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, 0.0, only_2d=True)
        _check_features(features)
        widths = [features * factor for factor in (8, 4, 2, 1)]
        layers: list[nn.Module] = _up(in_channels, widths[0], stride=1, padding=0)
        for wider, width in pairwise(widths):
            layers += _up(wider, width, stride=2, padding=1)
        layers += [nn.ConvTranspose2d(features, out_channels, 4, stride=2, padding=1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_begin)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures of latent vectors.

        Args:
            x: B x in_channels x 1 x 1, or B x in_channels; drawn from N(0, 1).

        Returns:
            B x out_channels x 64 x 64, -1..1.
        """
        return self.layers(x.flatten(1)[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """The generator's mirror image: how likely a picture of 64 x 64 is a real one.

    Five 4 x 4 convolutions without bias, LeakyReLU (0.2) between; batch norm behind all but the first and the last;
    sigmoid. Weights begin as the generator's do.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: channels of the picture.
        out_channels: 1, the probability.
        features: channels of the first convolution; those after have twice, four and eight times as many.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 1, features: int = 64) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, 0.0, only_2d=True)
        _check_features(features)
        widths = [features * factor for factor in (1, 2, 4, 8)]
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, features, 4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
        for width, wider in pairwise(widths):
            layers += [
                nn.Conv2d(width, wider, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(wider),
                nn.LeakyReLU(_SLOPE, inplace=True),
            ]
        layers += [nn.Conv2d(widths[-1], out_channels, 4, bias=False), nn.Flatten(), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)
        self.apply(_begin)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities that pictures are real.

        Args:
            x: B x in_channels x 64 x 64, -1..1.

        Returns:
            B x out_channels, 0..1.
        """
        return self.layers(x)


def _up(in_channels: int, out_channels: int, stride: int, padding: int) -> list[nn.Module]:
    convolution = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=stride, padding=padding, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def _begin(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, _SPREAD)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, _SPREAD)
        nn.init.zeros_(layer.bias)


def _check_features(features: int) -> None:
    if isinstance(features, bool) or not isinstance(features, int) or features < 1:
        raise ValueError(f"features must be a whole number of at least 1, got {features!r}")
