"""Cross-validation of a supervised bundle: each fold of a prepared folder is left out once, and measured."""

from __future__ import annotations

from pipelines.cross_validation.folds import Extra, Fold, near_duplicates, read_extras, read_folds, write_fold
from pipelines.cross_validation.processes import Processes, bundle_command
from pipelines.cross_validation.shipping import ship
from pipelines.cross_validation.validation import CrossValidation, cross_validate

__all__ = [
    "CrossValidation",
    "Extra",
    "Fold",
    "Processes",
    "bundle_command",
    "cross_validate",
    "near_duplicates",
    "read_extras",
    "read_folds",
    "ship",
    "write_fold",
]
