"""The one place that imports torchvision, whose registry wheel does not load beside a CPU-only torch by itself.

That wheel is built for CUDA: its operators are missing then, and ``import torchvision`` raises "operator
torchvision::nms does not exist". With the two operators declared first, all classification models work; only
``torchvision.ops.nms`` itself does not. Where torchvision loads as it is, nothing is declared.
"""

from __future__ import annotations

import torch

try:
    import torchvision
except RuntimeError:
    _operators = torch.library.Library("torchvision", "DEF")  # the declaration lives as long as this object
    for _name in ("nms", "qnms"):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

from torchvision import models

__all__ = ["models", "torchvision"]
