"""Whether training steps can be compiled on this machine."""

from __future__ import annotations

import importlib.util

import torch

from pipelines.errors import ConfigError


def can_compile(wanted: bool, device: torch.device | str) -> bool:
    """Whether ``torch.compile`` is wanted, and what it needs is there: of a CPU a C++ compiler, of a GPU Triton.

    Raises:
        ConfigError: it is wanted, and that is missing.
    """
    if not wanted:
        return False
    if torch.device(device).type == "cuda":
        missing = None if importlib.util.find_spec("triton") else "Triton"
    else:
        from torch._inductor import cpp_builder, exc  # here: they take seconds to import

        try:
            cpp_builder.get_cpp_compiler()
            missing = None
        except exc.InvalidCxxCompiler:
            missing = "a C++ compiler"
    if missing:
        raise ConfigError(
            f"torch.compile needs {missing}, and there is none", how="install it, or leave compile at false"
        )
    return True
