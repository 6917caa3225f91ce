"""A segmentation network on MobileNetV2's features, with the decoders of the ISIC 2016 study."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.networks.blocks import ResidualUnit
from torch import Tensor, nn

from pipelines.errors import WeightsError
from pipelines.networks.pretrained import add_statistics, hold_still, pretrained_state
from pipelines.networks.sizes import check_arguments, crop_to, pad_to_multiple
from pipelines.networks.torchvision_import import models

# Where torchvision keeps the weights of `mobilenet_v2`; a name, so that a mirror can take its place.
ENCODER_URL = models.MobileNet_V2_Weights.IMAGENET1K_V2.url
# MobileNetV2's 19 layers, cut after each last one of a size: 1/2, 1/4, 1/8, 1/16, 1/32 of the input.
_STAGES = ((0, 2), (2, 4), (4, 7), (7, 14), (14, 19))
_STAGE_CHANNELS = (16, 24, 32, 96, 1280)
TRANSPOSED_FEATURES = (512, 256, 128, 64, 32)
INTERPOLATING_FEATURES = (256, 128, 64, 32)
DECODERS = ("transposed", "interpolating")


class MobileNetV2UNet(nn.Module):
    """MobileNetV2 x1.0 as the encoder, and one of two decoders; docs/reference/networks.md.

    Encoder: Sandler et al., MobileNetV2 (https://arxiv.org/abs/1801.04381), torchvision's, 1280 channels at 1/32.
    ``transposed``: five transposed convolutions to 512, 256, 128, 64 and 32 channels, each with batch norm and ReLU,
    then a residual unit with dropout; fed by the last feature alone, or also, concatenated, by the encoder's feature of
    that size. ``interpolating``: four transposed convolutions with batch norm, ReLU and dropout, then bilinear
    interpolation to the input's size. (The study names no norm; without one, this decoder called nothing a lesion after
    12 epochs on 84 pictures.)
    Pixels are normalised with ImageNet's statistics in here (three channels only), so that whoever holds the weights
    cannot forget it. Odd sizes are padded inside and cropped back.

    A frozen encoder has no gradients and stays in evaluation mode, its norm layers too, whatever ``train()`` is called.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: channels of the input.
        out_channels: channels of the logits; 1 is lesion or not.
        decoder: "transposed" or "interpolating".
        skips: the decoder also sees the intermediate features ("transposed" only).
        dropout: in the decoder ("transposed": of whole channels), 0 (none) to below 1.
        pretrained: ImageNet weights of the encoder: True fetches torchvision's, False is random, or the path of a file
            with torchvision's keys (its classifier is not used).
        freeze_encoder: the encoder does not learn.
        hold_norm: the encoder's norm layers keep their statistics while the rest of it learns.

    Raises:
        ValueError: an argument is out of its range.
        UnreadableFileError, WeightsError: the pretrained weights cannot be had, or are another network's.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        decoder: str = "transposed",
        skips: bool = True,
        dropout: float = 0.2,
        pretrained: bool | str | Path = False,
        freeze_encoder: bool = False,
        hold_norm: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        if decoder not in DECODERS:
            raise ValueError(f"decoder must be one of {', '.join(DECODERS)}, got {decoder!r}")
        layers = models.mobilenet_v2(weights=None).features
        if in_channels != 3:
            layers[0][0] = nn.Conv2d(in_channels, 32, 3, stride=2, padding=1, bias=False)
        self.encoder = nn.ModuleList([nn.Sequential(*layers[start:end]) for start, end in _STAGES])
        add_statistics(self, coloured=in_channels == 3)
        if decoder == "transposed":
            self.decoder: nn.Module = _TransposedDecoder(skips, dropout)
            last = TRANSPOSED_FEATURES[-1]
        else:
            self.decoder = _InterpolatingDecoder(dropout)
            last = INTERPOLATING_FEATURES[-1]
        self.final = nn.Conv2d(last, out_channels, 1 if decoder == "interpolating" else 3, padding="same")
        self.freeze_encoder = False
        self.hold_norm = False
        self.prepare_encoder(pretrained, freeze_encoder, hold_norm)

    def prepare_encoder(
        self, pretrained: bool | str | Path = False, freeze_encoder: bool = False, hold_norm: bool = False
    ) -> MobileNetV2UNet:
        """Set what the constructor's arguments of these names say, on a network that is there; returns it."""
        state = pretrained_state(pretrained, ENCODER_URL)
        if state is not None:
            self._load_encoder(state, str(ENCODER_URL if pretrained is True else pretrained))
        self.freeze_encoder = freeze_encoder
        self.hold_norm = hold_norm
        self.encoder.requires_grad_(not freeze_encoder)
        return self.train(self.training)

    def train(self, mode: bool = True) -> MobileNetV2UNet:
        """As ``nn.Module.train``, but what is frozen or held stays in evaluation mode."""
        super().train(mode)
        hold_still(self.encoder, self.freeze_encoder, self.hold_norm)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the input's spatial shape.

        Args:
            x: B x in_channels x H x W, float, any size; RGB 0..1.

        Returns:
            B x out_channels x H x W.
        """
        features: list[Tensor] = []
        feature = (pad_to_multiple(x, 32) - self.mean) / self.std  # type: ignore[operator]
        for stage in self.encoder:
            feature = stage(feature)
            features.append(feature)
        return crop_to(self.final(self.decoder(features)), x)

    def _load_encoder(self, state: dict[str, Tensor], where: str) -> None:
        """Take torchvision's keys, ``features.N…``, apart into stages."""
        own: dict[str, Tensor] = {}
        for stage, (start, end) in enumerate(_STAGES):
            for layer in range(start, end):
                head = f"features.{layer}."
                found = {key.removeprefix(head): value for key, value in state.items() if key.startswith(head)}
                own |= {f"{stage}.{layer - start}.{key}": value for key, value in found.items()}
        try:
            self.encoder.load_state_dict(own)
        except RuntimeError as error:
            raise WeightsError(
                f"the weights are not those of MobileNetV2 ({str(error).splitlines()[1].strip()})",
                where=where,
                how="give a file with torchvision's keys of mobilenet_v2",
            ) from error


class _TransposedDecoder(nn.Module):
    """Features of five sizes (or the smallest alone) to 32 channels at the input's size."""

    def __init__(self, skips: bool, dropout: float) -> None:
        super().__init__()
        self.skips = skips
        inner = (*reversed(_STAGE_CHANNELS[:-1]), 0) if skips else (0,) * 5
        steps, channels = [], _STAGE_CHANNELS[-1]
        for width, joined in zip(TRANSPOSED_FEATURES, inner, strict=True):
            up = nn.Sequential(
                nn.ConvTranspose2d(channels, width, 2, stride=2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            residual = ResidualUnit(
                2, width + joined, width, subunits=1, act="relu", norm="batch", dropout=dropout, dropout_dim=2
            )
            steps.append(_Step(up, residual))
            channels = width
        self.steps = nn.ModuleList(steps)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        at = len(features) - 1
        for step in self.steps:
            at -= 1
            x = step(x, features[at] if self.skips and at >= 0 else None)
        return x


class _Step(nn.Module):
    """Twice the size, joined with a feature of that size where there is one, refined."""

    def __init__(self, up: nn.Module, residual: nn.Module) -> None:
        super().__init__()
        self.up = up
        self.residual = residual

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.up(x)
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.residual(x)


class _InterpolatingDecoder(nn.Module):
    """The smallest feature to 32 channels, four doublings and a bilinear one."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = _STAGE_CHANNELS[-1]
        for width in INTERPOLATING_FEATURES:
            layers += [nn.ConvTranspose2d(channels, width, 2, stride=2, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(inplace=True), nn.Dropout(dropout)]  # also one of 0: keys do not depend on it
            channels = width
        self.layers = nn.ModuleList(layers)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for layer in self.layers:
            x = layer(x)
        return nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
