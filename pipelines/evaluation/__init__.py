"""Metrics on the original grid, scores of classes, intervals over patients, paired tests, shortcut
controls, and the reports of an evaluation."""

from __future__ import annotations

from pipelines.evaluation.class_report import ClassificationReport
from pipelines.evaluation.class_score import ClassScore
from pipelines.evaluation.classification import class_scores
from pipelines.evaluation.collecting import Report
from pipelines.evaluation.cost import NetworkCost, network_cost
from pipelines.evaluation.handler import EvaluationReport
from pipelines.evaluation.intervals import Interval, bootstrap_interval, bootstrap_scores
from pipelines.evaluation.label_metrics import LabelDice, LabelIoU
from pipelines.evaluation.paired import McNemar, PairedDifference, mcnemar, paired_difference
from pipelines.evaluation.rated_items import RatedItem
from pipelines.evaluation.report import EvaluationRow, write_evaluation
from pipelines.evaluation.segmentation import Measure, case_metrics
from pipelines.evaluation.shortcut_controls import ShortcutControls

__all__ = [
    "ClassScore",
    "ClassificationReport",
    "EvaluationReport",
    "EvaluationRow",
    "Interval",
    "LabelDice",
    "LabelIoU",
    "McNemar",
    "Measure",
    "NetworkCost",
    "PairedDifference",
    "RatedItem",
    "Report",
    "ShortcutControls",
    "bootstrap_interval",
    "bootstrap_scores",
    "case_metrics",
    "class_scores",
    "mcnemar",
    "network_cost",
    "paired_difference",
    "write_evaluation",
]
