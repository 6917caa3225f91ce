"""What a picture looks like, in numbers that no task was trained on: ImageNet's features of MobileNetV2."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate

from pipelines.networks.pretrained import add_statistics
from pipelines.weights import read_weights

WEIGHTS = Path(__file__).with_name("picture_features.safetensors")  # benchmarks/picture_features.py makes them
SIDE = 128
# of each layer but the first: how many times as many channels there are within it, channels, stride
_LAYERS = (
    (1, 16, 1), (6, 24, 2), (6, 24, 1), (6, 32, 2), (6, 32, 1), (6, 32, 1), (6, 64, 2), (6, 64, 1), (6, 64, 1),
    (6, 64, 1), (6, 96, 1), (6, 96, 1), (6, 96, 1), (6, 160, 2), (6, 160, 1), (6, 160, 1),
)  # fmt: skip
_TAKEN = (10, 16)  # the layers whose channels' means are the features: 64 and 160


class PictureFeatures(nn.Module):
    """(B, 224) of pictures (B, 1 or 3, W, H), 0..1: the means of the channels of MobileNetV2's layers 10 and 16.

    Sandler et al. (https://arxiv.org/abs/1801.04381), torchvision's weights of ImageNet (IMAGENET1K_V2), norms folded
    into the convolutions; they stay as they are. Pictures of any size are resampled to 128 x 128 in here. Layers in the
    middle say what a picture is made of (tissue, skin, a scene) and not yet which thing is in it.

    Raises:
        UnreadableFileError, WeightsError: the weights that come with the package are damaged.
    """

    channels = 224
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        add_statistics(self)
        for name, value in read_weights(WEIGHTS).items():
            self.register_buffer(name.replace(".", "_"), value.float(), persistent=False)
        self.eval()

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures.as_subclass(Tensor).float().clamp(0, 1)
        if x.shape[-2:] != (SIDE, SIDE):
            x = interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
        x = (x.expand(-1, 3, -1, -1) - self.mean) / self.std
        x = self._convolved(x, "0_0", stride=2)
        taken = []
        for number, (times, channels, stride) in enumerate(_LAYERS, 1):
            given, step = x, 0
            if times > 1:
                x, step = self._convolved(x, f"{number}_0"), 1
            x = self._convolved(x, f"{number}_{step}", stride=stride, groups=x.shape[1])
            x = self._convolved(x, f"{number}_{step + 1}", active=False)
            x = x + given if stride == 1 and given.shape[1] == channels else x
            if number in _TAKEN:
                taken.append(x.mean(dim=(2, 3)))
        return torch.cat(taken, dim=1)

    def _convolved(self, x: Tensor, name: str, stride: int = 1, groups: int = 1, active: bool = True) -> Tensor:
        weight, bias = getattr(self, f"weight_{name}"), getattr(self, f"bias_{name}")
        x = conv2d(x, weight, bias, stride, padding=weight.shape[-1] // 2, groups=groups)
        return x.clamp(0, 6) if active else x
