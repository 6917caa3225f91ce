"""Where runs go (one MLflow store for every bundle) and what a run records.

A training is one run, from the first call of ``trainer.run()`` to its end, however it ends. ``RunTracker`` records it,
``EvaluationTracker`` or ``log_evaluation`` add the test metrics of the checkpoint that it made.
"""

from __future__ import annotations

import os

# Set before MLflow is imported below: names and counts of somebody's runs are not for MLflow's makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from pipelines.tracking.evaluation_handler import EvaluationTracker, log_evaluation
from pipelines.tracking.run_handler import PARENT_RUN, RunTracker
from pipelines.tracking.store import tracking_uri, ui_address, ui_command

__all__ = [
    "PARENT_RUN",
    "EvaluationTracker",
    "RunTracker",
    "log_evaluation",
    "tracking_uri",
    "ui_address",
    "ui_command",
]
