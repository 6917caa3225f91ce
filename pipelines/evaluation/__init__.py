"""Metrics on the original grid, intervals over patients, and the report of an evaluation."""

from __future__ import annotations

from pipelines.evaluation.handler import EvaluationReport
from pipelines.evaluation.intervals import Interval, bootstrap_interval
from pipelines.evaluation.label_metrics import LabelDice
from pipelines.evaluation.report import EvaluationRow, write_evaluation
from pipelines.evaluation.segmentation import CLASSES, NSD_TOLERANCE, case_metrics

__all__ = [
    "CLASSES",
    "NSD_TOLERANCE",
    "EvaluationReport",
    "EvaluationRow",
    "Interval",
    "LabelDice",
    "bootstrap_interval",
    "case_metrics",
    "write_evaluation",
]
