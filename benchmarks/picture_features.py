"""Makes the weights of `PictureFeatures`: MobileNetV2's first 17 layers, norms folded into the convolutions.

    python benchmarks/picture_features.py mobilenet_v2_imagenet.pth

The file is torchvision's `MobileNet_V2_Weights.IMAGENET1K_V2` (BSD-3-Clause). Written to pipelines/transforms, in half
precision but for the biases.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipelines.networks.torchvision_import import models
from pipelines.transforms.picture_features import WEIGHTS
from pipelines.weights import read_weights, save_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("imagenet", type=Path, help="torchvision's weights of mobilenet_v2")
    args = parser.parse_args()
    network = models.mobilenet_v2()
    network.load_state_dict(read_weights(args.imagenet))
    network.eval()
    state = {}
    for number, layer in enumerate(network.features[:17]):
        parts = [each for each in layer.modules() if isinstance(each, nn.Conv2d | nn.BatchNorm2d)]
        for step, (convolution, norm) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
            folded = fuse_conv_bn_eval(convolution, norm)
            state[f"weight.{number}.{step}"] = folded.weight.half()
            state[f"bias.{number}.{step}"] = folded.bias
    save_weights(state, WEIGHTS, {"from": "torchvision, MobileNet_V2_Weights.IMAGENET1K_V2", "license": "BSD-3-Clause"})
    print(f"{WEIGHTS}: {len(state) // 2} convolutions, {sum(each.numel() for each in state.values()):,} numbers")


if __name__ == "__main__":
    main()
