"""A raw folder with one spelling a patient."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.raw_case import RawFolder
from pipelines.preparation.report import plain

F = TypeVar("F", bound=RawFolder)


def one_spelling(found: F) -> F:
    """The folder with one name a patient, and a note of those that were written in several ways."""
    spellings = Spellings()
    cases = [replace(raw, patient=spellings(raw.patient)) for raw in found.cases]
    notes = [
        f"{plain(first)} and {', '.join(map(plain, others))} are taken as one patient: the names differ only in case, "
        "spaces or Unicode form. Rename them if they are not."
        for first, others in spellings.joined.items()
    ]
    return replace(found, cases=cases, notes=[*found.notes, *notes])
