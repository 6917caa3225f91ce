"""What a network costs, whatever it is worth: parameters, multiplications, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

MIB = 2**20
_BYTES = 4  # of a float32
_NOT_COUNTED = (nn.Sequential, nn.ModuleList, nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one forward pass, float32.

    Attributes:
        parameters: numbers that are trained or could be; buffers left out.
        macs: multiplications with addition, in convolutions and linear layers.
        activation_mb: MiB of the outputs of all layers and blocks, twice (forward and backward), as torchsummary counts
            the "forward/backward pass size" that reports of networks print.
        parameter_mb: MiB of the parameters.
    """

    parameters: int
    macs: int
    activation_mb: float
    parameter_mb: float


def network_cost(network: nn.Module, input_shape: Sequence[int]) -> NetworkCost:
    """Run the network once on zeros and count.

    Args:
        network: it is put into eval mode for that, and back.
        input_shape: (B, C, H, W).
    """
    numbers = 0

    def count(_: nn.Module, __: object, output: object) -> None:
        nonlocal numbers
        numbers += output.numel() if isinstance(output, torch.Tensor) else 0

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if module is not network and not isinstance(module, _NOT_COUNTED)
    ]
    training = network.training
    network.eval()
    try:
        device = next(network.parameters()).device
        with torch.no_grad(), FlopCounterMode(display=False) as flops:
            network(torch.zeros(tuple(input_shape), device=device))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    parameters = sum(each.numel() for each in network.parameters())
    return NetworkCost(
        parameters,
        flops.get_total_flops() // 2,
        2 * numbers * _BYTES / MIB,
        parameters * _BYTES / MIB,
    )
