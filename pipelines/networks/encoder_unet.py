"""A U-Net on EfficientNet-Lite0's features, with MONAI's U-Net decoder."""

from __future__ import annotations

from pathlib import Path

from monai.networks.nets.flexible_unet import UNetDecoder
from torch import Tensor, nn

from pipelines.networks.efficientnet_lite import CHANNELS, EfficientNetLite0, packaged_weights
from pipelines.networks.pretrained import hold_still
from pipelines.networks.sizes import check_arguments, crop_to, pad_to_multiple
from pipelines.weights import read_weights

DECODER_CHANNELS = (256, 128, 64, 32, 16)


class EncoderUNet(nn.Module):
    """EfficientNet-Lite0 as the encoder, MONAI's UNetDecoder as the decoder; docs/reference/networks.md.

    The decoder doubles the size by bilinear interpolation, five times; each is followed by two 3x3 convolutions with
    batch norm and ReLU, of 256, 128, 64, 32 and 16 channels.

    Grey pictures are repeated to three channels and pixels brought from 0..1 to -1..1 in here, so that whoever holds
    the weights cannot forget it. Odd sizes are padded inside and cropped back. A frozen encoder has no gradients and
    stays in evaluation mode, its norm layers too, whatever ``train()`` is called.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: channels of the input: 1 (grey) and 3 (RGB) can start from ImageNet's weights, others cannot.
        out_channels: channels of the logits.
        dropout: in the decoder's convolutions, 0 (none) to below 1.
        pretrained: ImageNet weights of the encoder: True reads them from the package that brings them
            (`packaged_weights`), False is random, or the path of a file with EfficientNet-PyTorch's keys (its head is
            not used).
        freeze_encoder: the encoder does not learn.
        hold_norm: the encoder's norm layers keep their statistics while the rest of it learns.

    Raises:
        ValueError: an argument is out of its range, or weights are asked for other than grey or colour pictures.
        UnreadableFileError, WeightsError: the pretrained weights cannot be had, or are another network's.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 3,
        dropout: float = 0.0,
        pretrained: bool | str | Path = False,
        freeze_encoder: bool = False,
        hold_norm: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        self.in_channels = in_channels
        self.encoder = EfficientNetLite0(3 if in_channels == 1 else in_channels)
        self.decoder = UNetDecoder(
            spatial_dims=2,
            encoder_channels=(in_channels, *CHANNELS),
            decoder_channels=DECODER_CHANNELS,
            act=("relu", {"inplace": True}),
            norm="batch",
            dropout=dropout,
            bias=False,
            upsample="nontrainable",
            pre_conv="default",
            interp_mode="bilinear",
            align_corners=False,
            is_pad=False,
        )
        self.final = nn.Conv2d(DECODER_CHANNELS[-1], out_channels, 3, padding=1)
        self.freeze_encoder = False
        self.hold_norm = False
        self.prepare_encoder(pretrained, freeze_encoder, hold_norm)

    def prepare_encoder(
        self, pretrained: bool | str | Path = False, freeze_encoder: bool = False, hold_norm: bool = False
    ) -> EncoderUNet:
        """Set what the constructor's arguments of these names say, on a network that is there; returns it."""
        if pretrained is not False and self.in_channels not in (1, 3):
            raise ValueError(f"ImageNet's weights are for 1 or 3 channels, in_channels is {self.in_channels}")
        if pretrained is not False:
            path = packaged_weights() if pretrained is True else Path(pretrained)
            self.encoder.load_imagenet(read_weights(path), str(path))
        self.freeze_encoder = freeze_encoder
        self.hold_norm = hold_norm
        self.encoder.requires_grad_(not freeze_encoder)
        return self.train(self.training)

    def train(self, mode: bool = True) -> EncoderUNet:
        """As ``nn.Module.train``, but what is frozen or held stays in evaluation mode."""
        super().train(mode)
        hold_still(self.encoder, self.freeze_encoder, self.hold_norm)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the input's spatial shape.

        Args:
            x: B x in_channels x H x W, float, any size; 0..1.

        Returns:
            B x out_channels x H x W.
        """
        pixels = pad_to_multiple(x, 32) * 2 - 1
        if self.in_channels == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        features = [pixels] + self.encoder(pixels)  # noqa: RUF005  (TorchScript unpacks nothing)
        return crop_to(self.final(self.decoder(features)), x)
