"""The audit of prepared data: patients, copies and neighbours on both sides of a split, doubtful labels, unequal
splits."""

from __future__ import annotations

from pipelines.preparation.audit.audit import Audit, Finding, audit_lists
from pipelines.preparation.audit.items import AuditedList, read_list
from pipelines.preparation.audit.page import report_lines, summary_lines, write_audit

__all__ = [
    "Audit",
    "AuditedList",
    "Finding",
    "audit_lists",
    "read_list",
    "report_lines",
    "summary_lines",
    "write_audit",
]
