"""From the runs of a store to a page that says which network to use, and why: rankings, paired tests, costs, plots."""

from __future__ import annotations

from pipelines.comparison.report import Written, compare
from pipelines.comparison.sections import Options

__all__ = ["Options", "Written", "compare"]
