"""Mixed precision on any device. MONAI's engines autocast for CUDA only; an inferer does it for the CPU too."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def supports_bfloat16(device: torch.device | str) -> bool:
    """Whether the device is faster in bfloat16 than in float32 (CPU: AVX512-BF16 or AMX; CUDA: Ampere and later).

    A CPU that was told to do less than it can (``ATEN_CPU_CAPABILITY=avx2``) is not: it would emulate bfloat16.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return able and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return False


class MixedPrecisionInferer(Inferer):
    """Runs the network under bfloat16 autocast and returns float32, for training and plain inference.

    bfloat16 has float32's range, so no gradient scaler is needed and a checkpoint has none to restore.

    Args:
        amp: False runs in float32.
        channels_last: lay pictures and volumes out so, as the network's weights are; False leaves them as they come.
    """

    def __init__(self, amp: bool = True, channels_last: bool = True) -> None:
        super().__init__()
        self.amp = amp
        self.channels_last = channels_last

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """``inputs`` (B, C, ...) float32; returns the network's output as float32."""
        inputs = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        if self.channels_last and inputs.ndim in _CHANNELS_LAST:
            inputs = inputs.contiguous(memory_format=_CHANNELS_LAST[inputs.ndim])
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp):
            output = network(inputs, *args, **kwargs)
        return output.float()
