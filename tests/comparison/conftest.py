"""A migrated store to copy: making the tables takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_runs import Made

from pipelines.tracking.store import open_store, tracking_uri

MLFLOW_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        for name in MLFLOW_VARIABLES:
            patch.delenv(name, raising=False)
        open_store(tracking_uri(root))
    return root / "mlruns" / "mlflow.db"


@pytest.fixture
def made(tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """An empty store of the test's own, to which runs are added; the current directory is an empty folder."""
    for name in MLFLOW_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    (tmp_path / "mlruns").mkdir()
    shutil.copy(tables, tmp_path / "mlruns" / "mlflow.db")
    return Made(tracking_uri(tmp_path), tmp_path)
