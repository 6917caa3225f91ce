"""Classifiers on an autoencoder's codes: of codes alone (289,569 parameters), and from the picture to the class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.errors import WeightsError
from pipelines.networks.conv_autoencoder import CODE_CHANNELS, ConvAutoencoder
from pipelines.networks.sizes import check_arguments, check_two_classes, two_classes
from pipelines.weights import read_weights

POOLED = 4  # a side of what the dense layers see: 14 halved twice, rounded up
_PART = "autoencoder."


class CodeClassifier(nn.Module):
    """ChestCNN's variant for the codes of ``ConvAutoencoder``: two convolutions, each halved, and two dense layers.

    A 1x1 convolution to 32 channels and a 3x3 one to 64, each with ReLU, dropout (not the first), batch norm and 2x2
    max pooling. Drawn for 256x14x14; another size is averaged to the 4x4 features that the dense layers were made for.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: channels of the code.
        out_channels: logits; 1 is pneumonia or not.
        dropout: after the second convolution, 0 (none) to below 1; before the dense layers it is half as much again, at
            most 0.9.
        as_two_classes: the one logit z comes out as (-z/2, z/2), whose softmax is that of two classes.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = CODE_CHANNELS,
        out_channels: int = 1,
        dropout: float = 0.2,
        as_two_classes: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        check_two_classes(as_two_classes, out_channels)
        self.as_two_classes = as_two_classes
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 32, 1), nn.ReLU(inplace=True),
            nn.BatchNorm2d(32), nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.BatchNorm2d(64), nn.MaxPool2d(2, ceil_mode=True),
            nn.AdaptiveAvgPool2d(POOLED), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(min(1.5 * dropout, 0.9)),
            nn.Linear(64 * POOLED**2, 256), nn.ReLU(inplace=True),
            nn.Linear(256, out_channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B x out_channels, or B x 2) of codes, B x in_channels x h x w, float, any size."""
        logits = self.classifier(self.features(x))
        return two_classes(logits) if self.as_two_classes else logits


class EncodedClassifier(nn.Module):
    """From the picture to its class: an autoencoder that does not learn, and a ``CodeClassifier`` of its codes.

    The decoder comes along, so that one file of weights also gives the reconstruction, and what training's codes are
    like: their mean and precision, channel by channel (``fit_codes``), against which ``code_distance`` holds a picture.
    The autoencoder has no gradients and stays in evaluation mode, whatever ``train()`` is called: its code of a picture
    is always the same, and may be kept. 1,066,402 parameters, of which 289,569 learn.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: of the picture.
        out_channels, dropout, as_two_classes: as ``CodeClassifier``.

    Raises:
        ValueError: an argument is out of its range.
    """

    frozen_by_design = True
    encoder_prefix = "autoencoder.encoder."  # of the weights that codes depend on

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
        self.in_channels = in_channels
        self.autoencoder = ConvAutoencoder(spatial_dims, in_channels, in_channels).requires_grad_(False)
        self.classifier = CodeClassifier(spatial_dims, CODE_CHANNELS, out_channels, dropout, as_two_classes)
        self.register_buffer("mean", torch.zeros(CODE_CHANNELS))
        self.register_buffer("precision", torch.zeros(CODE_CHANNELS, CODE_CHANNELS))
        self.train()

    def prepare_encoder(
        self, pretrained: bool | str | Path = False, freeze_encoder: bool = True, hold_norm: bool = False
    ) -> EncodedClassifier:
        """Take an autoencoder's weights; returns the network.

        Args:
            pretrained: a file, of a ``ConvAutoencoder`` or of a network like this one; False is none. There are none
                to be fetched.
            freeze_encoder: True: codes that change cannot be kept. hold_norm: as they are, too.

        Raises:
            ValueError: the encoder shall learn, or ``pretrained`` is True.
            UnreadableFileError, WeightsError: the file cannot be read, or holds another network's weights.
        """
        if not freeze_encoder or pretrained is True:
            raise ValueError("the encoder does not learn here: give the file of an autoencoder's weights, or false")
        if pretrained is not False:
            load_autoencoder(self.autoencoder, read_weights(pretrained), str(pretrained))
        return self.train(self.training)

    def train(self, mode: bool = True) -> EncodedClassifier:
        """As ``nn.Module.train``, but the autoencoder stays in evaluation mode."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """The codes, B x 256 x H/16 x W/16, of B x in_channels x H x W, float, any size, 0..1."""
        return self.autoencoder.encode(x)

    def classify(self, features: Tensor) -> Tensor:
        """Logits of codes."""
        return self.classifier(features)

    def decode(self, features: Tensor) -> Tensor:
        """What the autoencoder makes of codes again: B x in_channels x 16 h x 16 w, 0..1."""
        return self.autoencoder.decode(features)

    def forward(self, x: Tensor, encoded: bool = False) -> Tensor:
        """Logits (B x out_channels, or B x 2) of B x in_channels x H x W, float, any size, 0..1; or, where they are
        ``encoded``, of their codes."""
        return self.classify(x if encoded else self.features(x))

    def fit_codes(self, mean: Tensor, precision: Tensor) -> None:
        """Keep what training's pooled codes are like: their mean (256,) and precision (256, 256), the inverse of their
        covariance."""
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("precision").copy_(precision)

    def code_distance(self, codes: Tensor) -> Tensor:
        """How far codes (B x 256 x h x w) lie from training's: Mahalanobis distances (B,) of their means over h and w.

        Source: Lee et al. 2018, https://arxiv.org/abs/1807.03888, for one class of features. 0 before ``fit_codes``.
        """
        away = (pooled(codes) - self.get_buffer("mean")).double()
        return (
            torch.einsum("bi,ij,bj->b", away, self.get_buffer("precision").double(), away).clamp(min=0).sqrt().float()
        )


def pooled(codes: Tensor) -> Tensor:
    """The mean (B x C) of codes (B x C x h x w) over h and w, float32."""
    return codes.float().mean(dim=(2, 3))


def load_autoencoder(network: ConvAutoencoder, state: Mapping[str, Tensor], where: str) -> None:
    """Load an autoencoder's weights, or the autoencoder's part of an ``EncodedClassifier``'s.

    Raises:
        WeightsError: they are another network's.
    """
    part = {key.removeprefix(_PART): value for key, value in state.items() if key.startswith(_PART)} or dict(state)
    try:
        network.load_state_dict(part)
    except RuntimeError:
        raise WeightsError(
            "the weights are not those of ConvAutoencoder",
            where=where,
            how="give what train_autoencoder.yaml wrote (model.pt), or the weights of a classifier on its codes",
        ) from None
