"""An empty store that runs are added to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import Made

MLFLOW_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")


@pytest.fixture
def made(tmp_path: Path, new_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch) -> Made:
    """An empty store of the test's own, to which runs are added; the current directory is an empty folder."""
    for name in MLFLOW_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return Made(new_store(tmp_path / "mlruns"), tmp_path)
