"""Ignite handlers for MONAI's engines: reproducible epochs, checkpoints that survive a kill, fitted calibrations,
written predictions."""

from pipelines.handlers.accumulation import AccumulatedMean, StepSchedule
from pipelines.handlers.averaging import AveragedWeights
from pipelines.handlers.calibration import CalibrationFit, calibrated
from pipelines.handlers.case_writer import NOT_FOR_CARE, CaseWriter, Finding, publish, sweep_writing
from pipelines.handlers.checkpoint import TrainingCheckpoint, WeightsLoader
from pipelines.handlers.determinism import EpochSeed
from pipelines.handlers.early_stop import ResumableEarlyStop
from pipelines.handlers.familiarity import CodeStatistics, FamiliarityFit
from pipelines.handlers.held_zeros import HeldZeros
from pipelines.handlers.mask_writer import MaskWriter
from pipelines.handlers.picture_class_writer import PictureClassWriter
from pipelines.handlers.reconstructions import ReconstructionPicture

__all__ = [
    "NOT_FOR_CARE",
    "AccumulatedMean",
    "AveragedWeights",
    "CalibrationFit",
    "CaseWriter",
    "CodeStatistics",
    "EpochSeed",
    "FamiliarityFit",
    "Finding",
    "HeldZeros",
    "MaskWriter",
    "PictureClassWriter",
    "ReconstructionPicture",
    "ResumableEarlyStop",
    "StepSchedule",
    "TrainingCheckpoint",
    "WeightsLoader",
    "calibrated",
    "publish",
    "sweep_writing",
]
