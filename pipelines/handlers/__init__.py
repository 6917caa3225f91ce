"""Ignite handlers for MONAI's engines: reproducible epochs, checkpoints that survive a kill, written predictions."""

from pipelines.handlers.checkpoint import TrainingCheckpoint, WeightsLoader
from pipelines.handlers.determinism import EpochSeed
from pipelines.handlers.early_stop import ResumableEarlyStop
from pipelines.handlers.prediction_writer import PredictionWriter

__all__ = ["EpochSeed", "PredictionWriter", "ResumableEarlyStop", "TrainingCheckpoint", "WeightsLoader"]
