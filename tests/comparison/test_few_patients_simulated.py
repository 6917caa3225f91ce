"""How often one of two equal networks is called the better, and how often an interval holds the truth, by patients."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def few_patients(project: Path) -> ModuleType:
    """The benchmark that prints the table of docs/reference/metrics.md."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(project / "benchmarks"), *sys.path])
        import few_patients as module
    return module


@pytest.mark.slow
@pytest.mark.parametrize("patients", [2, 3, 6, 10])
def test_few_patients_name_no_false_winners(few_patients: ModuleType, patients: int) -> None:
    """At a true rate of 5 %, more than 8 of 50 come in one of a thousand simulations."""
    found = few_patients.false_winners(patients, simulations=50)
    assert max(found[metric] for metric in ("auc", "accuracy", "lesion_dice")) <= (0 if patients < 6 else 8 / 50)
    if patients == 2:
        assert found["by_slices"] > 0.18, "the simulation must show what went wrong, or it shows nothing"


@pytest.mark.slow
@pytest.mark.parametrize("patients", [2, 3, 6, 20])
def test_intervals_of_few_patients_hold_the_truth(few_patients: ModuleType, patients: int) -> None:
    found = few_patients.coverage(patients, simulations=150)
    assert found["paired"] >= 0.88
    assert found["mean"] >= 0.88
    if patients <= 3:
        assert found["percentiles"] < 0.85


def test_the_table_of_the_docs_is_the_benchmarks(few_patients: ModuleType, project: Path) -> None:
    lines = few_patients.table([2], simulations=2)
    docs = (project / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert "\n".join(lines[:2]) in docs
    rows = [line for line in docs.partition(lines[1])[2].splitlines() if line.startswith("| ")]
    there = [line.split("|")[1].strip() for line in rows]
    assert there[: len(few_patients.PATIENTS)] == [str(number) for number in few_patients.PATIENTS]
