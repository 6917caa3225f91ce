"""Whether generated pictures help a classifier: trained with and without them, measured on real ones"""

from __future__ import annotations

from pipelines.synthetic_audit.audit import Done, run_audit
from pipelines.synthetic_audit.plan import Arm, Audit

__all__ = ["Arm", "Audit", "Done", "run_audit"]
