"""The one place that imports torchvision, whose registry wheel does not load beside a CPU-only torch by itself.

That wheel is built for CUDA: its operators are missing then, and ``import torchvision`` raises "operator
torchvision::nms does not exist". With the two operators declared first, all classification models work; only
``torchvision.ops.nms`` itself does not. Where torchvision loads as it is, nothing is declared.

For one question of its ``roi_align``, whether a device can compile, torchvision imports PyTorch's compiler, which takes
three times as long as the rest of it. Here the compiler is imported when the question is asked.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import torch

_COMPILER = "torch._dynamo.utils"


def _is_compile_supported(device_type: str) -> bool:
    return importlib.import_module(_COMPILER).is_compile_supported(device_type)


@contextlib.contextmanager
def _compiler_when_asked() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    stub = ModuleType(_COMPILER)
    stub.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules[_COMPILER] = stub
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER) is stub:
            del sys.modules[_COMPILER]


with _compiler_when_asked():
    try:
        import torchvision
    except RuntimeError:
        _operators = torch.library.Library("torchvision", "DEF")  # the declaration lives as long as this object
        for _name in ("nms", "qnms"):
            _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

    from torchvision import models

__all__ = ["models", "torchvision"]
