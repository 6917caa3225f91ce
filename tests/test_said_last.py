"""The last line of ``python -m monai.bundle`` is the fault of a user, cold and warm, and of no other program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import DatalistError, OutputError
from pipelines.said_last import say_faults_last, user_fault


def test_the_fault_is_found_in_what_was_raised_from_it() -> None:
    fault = DatalistError("nothing is in it", where="data", how="prepare it")
    evaluated = RuntimeError("Failed to evaluate ConfigExpression")
    evaluated.__cause__ = fault
    assert user_fault(evaluated) is fault
    assert user_fault(ValueError("ours")) is None
    outer = OutputError("the file cannot be written")
    outer.__cause__ = fault
    assert user_fault(outer) is outer, "what is said of a fault by whoever met it"
    fault.__context__ = outer
    assert user_fault(fault) is fault, "and round in a circle it ends"


def test_other_programs_keep_their_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    say_faults_last()
    assert sys.excepthook is sys.__excepthook__


def test_it_is_said_after_the_trace_and_all_else(tmp_path: Path) -> None:
    script = (
        "import atexit, sys\n"
        "from pipelines.errors import DatalistError\n"
        "from pipelines.said_last import say_faults_last\n"
        "say_faults_last('monai.bundle'); say_faults_last('monai.bundle')\n"
        "atexit.register(sys.stderr.write, 'a library says goodbye\\n')\n"
        "raise RuntimeError('Failed') from DatalistError('nothing is in it', where='data', how='prepare it')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "RuntimeError: Failed" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: data: nothing is in it; prepare it"
    assert done.stderr.count("nothing is in it") == 2
