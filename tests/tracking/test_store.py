from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.errors import TrackingError
from pipelines.tracking.store import experiment_id, open_store, redact, sqlite_path, tracking_uri, ui_command

FIRST_USE = """
import sys
from pipelines.tracking.run_writer import RunWriter
from pipelines.tracking.store import tracking_uri
writer = RunWriter(tracking_uri(sys.argv[1]))
assert writer.start("tiny_bundle", "first", {})
writer.end("FINISHED")
assert not writer.lost
"""


def test_the_store_is_the_environments_or_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://host:5000")
    assert tracking_uri(tmp_path) == "https://host:5000"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///here.db")
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/here.db"  # it must mean the same in any directory
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking_uri("sub") == f"sqlite:///{tmp_path}/sub/mlruns/mlflow.db"
    assert sqlite_path(tracking_uri(tmp_path / "a b#c")) == tmp_path / "a b#c" / "mlruns" / "mlflow.db"


@pytest.mark.parametrize("uri", ["mlruns", "/tmp/mlruns", "file:///tmp/mlruns"])
def test_a_folder_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError) as error:
        tracking_uri()
    assert error.value.where == "MLFLOW_TRACKING_URI"
    assert "sqlite:////" in error.value.how


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://anna:se@cret@host/x", "https://host/x"),
        ("postgresql://anna:secret@db/mlflow, later", "postgresql://db/mlflow, later"),
        ("https://host/x?token=secret&page=2", "https://host/x?token=***&page=2"),
        ("mail anna@host", "mail anna@host"),
    ],
)
def test_passwords_are_taken_out(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_deleted_experiment_is_restored(store: str, tmp_path: Path) -> None:
    client = open_store(store)
    first = experiment_id(client, store, "tiny_bundle")
    client.delete_experiment(first)
    assert experiment_id(client, store, "tiny_bundle") == first
    experiment = client.get_experiment(first)
    assert experiment.lifecycle_stage == "active"
    assert experiment.artifact_location == (tmp_path / "mlruns" / "artifacts").as_uri()


def test_the_ui_shows_the_store_on_this_machine_only(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ui_command(tmp_path, port=5001)
    assert command[command.index("--backend-store-uri") + 1] == store
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5001"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://anna:secret@host")
    with pytest.raises(TrackingError, match="https://host: "):
        ui_command(tmp_path)


@pytest.mark.slow
def test_two_processes_may_be_the_first_users(tmp_path: Path) -> None:
    (tmp_path / "cwd").mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FIRST_USE, str(tmp_path)]
    both = [subprocess.Popen(command, env=environment, cwd=tmp_path / "cwd", stderr=subprocess.PIPE) for _ in range(2)]
    ends = [(each.communicate()[1].decode(), each.returncode) for each in both]
    assert [code for _, code in ends] == [0, 0], ends
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("tiny_bundle")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED", "FINISHED"]
    assert list((tmp_path / "cwd").iterdir()) == []


DIES = """
import os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from pipelines.tracking.store import open_store
@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.startswith("CREATE INDEX"):
        os._exit(9)
open_store(sys.argv[1])
"""


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_makes_the_store_leaves_no_half_of_one(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'a%20b' / 'mlflow.db'}"
    assert subprocess.run([sys.executable, "-c", DIES, uri]).returncode == 9
    place = tmp_path / "a b" / "mlflow.db"
    assert sqlite_path(uri) == place
    assert not place.exists(), "a store that is there is whole"
    client = open_store(uri)
    run = client.create_run(experiment_id(client, uri, "tiny_bundle"))
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
    assert sorted(each.name for each in place.parent.iterdir()) == ["mlflow.db", "mlflow.db.lock"]
