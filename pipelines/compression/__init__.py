"""A bundle's network made smaller: int8, half precision, pruning, distillation; each file measured against fp32."""

from __future__ import annotations

from pipelines.compression.compressing import compress
from pipelines.compression.distillation import DistillationLoss
from pipelines.compression.plan import DEFAULT_STEPS, STEPS, Compression

__all__ = ["DEFAULT_STEPS", "STEPS", "Compression", "DistillationLoss", "compress"]
