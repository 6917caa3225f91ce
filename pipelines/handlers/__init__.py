"""Ignite handlers for MONAI's engines: reproducible epochs, checkpoints that survive a kill, fitted calibrations,
written predictions."""

from pipelines.handlers.calibration import CalibrationFit
from pipelines.handlers.case_writer import WRITING, CaseWriter, Finding, publish
from pipelines.handlers.checkpoint import TrainingCheckpoint, WeightsLoader
from pipelines.handlers.class_writer import ClassWriter
from pipelines.handlers.determinism import EpochSeed
from pipelines.handlers.early_stop import ResumableEarlyStop
from pipelines.handlers.lesion_writer import LesionWriter
from pipelines.handlers.mask_writer import MaskWriter
from pipelines.handlers.picture_class_writer import PictureClassWriter
from pipelines.handlers.prediction_writer import PredictionWriter
from pipelines.handlers.severity_writer import SeverityWriter

__all__ = [
    "WRITING",
    "CalibrationFit",
    "CaseWriter",
    "ClassWriter",
    "EpochSeed",
    "Finding",
    "LesionWriter",
    "MaskWriter",
    "PictureClassWriter",
    "PredictionWriter",
    "ResumableEarlyStop",
    "SeverityWriter",
    "TrainingCheckpoint",
    "WeightsLoader",
    "publish",
]
