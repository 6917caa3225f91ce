"""An empty store and an empty directory for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MLFLOW_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "RANK")


@pytest.fixture
def store(tmp_path: Path, new_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty store of the test's own; the current directory is an empty folder of its own too."""
    for name in MLFLOW_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return new_store(tmp_path / "mlruns")
