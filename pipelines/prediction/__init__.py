"""A bundle's inference from Python: opened, called with an image, or run over a folder with a manifest."""

from __future__ import annotations

from pipelines.predicted import MANIFEST, Outcome, read_outcomes
from pipelines.prediction.folder import Answer, Asked, Due, predict, predict_case
from pipelines.prediction.manifest import INTERRUPTED
from pipelines.prediction.model import Model, Result
from pipelines.prediction.opening import (
    fast_options,
    fault_behind,
    inference_overlays,
    network_overlays,
    open_inference,
)
from pipelines.prediction.running import runtime_options

__all__ = [
    "INTERRUPTED",
    "MANIFEST",
    "Answer",
    "Asked",
    "Due",
    "Model",
    "Outcome",
    "Result",
    "fast_options",
    "fault_behind",
    "inference_overlays",
    "network_overlays",
    "open_inference",
    "predict",
    "predict_case",
    "read_outcomes",
    "runtime_options",
]
