"""An MLflow server that keeps its runs in PostgreSQL serves as the SQLite file does."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from tiny_training import artifacts, runs, tiny_training

from pipelines.comparison import Options, compare
from pipelines.comparison.runs import Store
from pipelines.evaluation import write_evaluation
from pipelines.evaluation.report import EvaluationRow, flatten
from pipelines.tracking import log_evaluation

pytestmark = pytest.mark.slow
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []


def _as_postgres(words: list[str]) -> list[str]:
    """PostgreSQL does not run as root."""
    return ["runuser", "-u", "postgres", "--", *words] if os.getuid() == 0 else words


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URI of a PostgreSQL server of our own, on a socket in a folder of its own."""
    pytest.importorskip("psycopg2", reason="the PostgreSQL driver is not installed (psycopg2-binary)")
    if not BINARIES or (os.getuid() == 0 and not shutil.which("runuser")):
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # short: a socket's path has 107 characters at most
    try:
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        data, user = folder / "data", "postgres"
        tools = BINARIES[-1]
        quiet = {"check": True, "capture_output": True, "cwd": folder}
        subprocess.run(_as_postgres([str(tools / "initdb"), "-D", str(data), "-U", user, "-A", "trust"]), **quiet)
        start = [str(tools / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
        subprocess.run(
            _as_postgres([*start, "-o", f"-k {folder} -h ''", "start"]),
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            subprocess.run(_as_postgres([str(tools / "createdb"), "-h", str(folder), "-U", user, "mlflow"]), **quiet)
            yield f"postgresql+psycopg2://{user}@/mlflow?host={folder}"
        finally:
            subprocess.run(
                _as_postgres([*start, "-m", "immediate", "stop"]), check=False, cwd=folder, capture_output=True
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server over that database."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--port", str(port)]
    command += ["--host", "127.0.0.1", "--workers", "1", "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True)
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too; it holds nothing that is not in the database
            process.wait(30)


def _wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the server did not come up\n{log.read_text()[-2000:]}")


def test_a_training_and_its_evaluation_are_recorded(server: str, tmp_path: Path) -> None:
    trainer, _ = tiny_training(tracking_uri=server, ckpt_dir=tmp_path / "ckpt", params={"seed": 3}, epochs=3)
    trainer.run()
    (tmp_path / "cases.csv").write_text("case,dice\na,0.5\n")
    assert log_evaluation(tmp_path / "ckpt" / "final.pt", {"dice": 0.5}, [tmp_path / "cases.csv"], uri=server)
    (run,) = runs(server)
    assert (run.info.status, run.data.params["seed"], run.data.metrics["test_dice"]) == ("FINISHED", "3", 0.5)
    history = MlflowClient(tracking_uri=server).get_metric_history(run.info.run_id, "val_error")
    assert [each.step for each in history] == [1, 2, 3]
    assert {"learning_curve.png", "evaluation"} <= artifacts(server, run.info.run_id)
    with Store(server) as store:
        (found,) = store.runs(["tiny_bundle"])
        assert (found.network, found.metrics["test_dice"]) == ("Linear", 0.5)
        kept = store.file(found, "evaluation/cases.csv")
        assert kept is not None
        assert kept.read_text() == "case,dice\na,0.5\n"


def test_evaluations_of_weights_are_compared_there(server: str, tmp_path: Path) -> None:
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({"name": "made", "fingerprint": "sha256:" + "2" * 64, "split": {}, "test": [1]}))
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.05, 20)
    for name, mean in (("strong", 0.85), ("weak", 0.6)):
        values = np.clip(mean + hard + rng.normal(0, 0.02, 20), 0, 1)
        rows: list[EvaluationRow] = [
            {"case": f"c{k}", "patient": f"p{k}", "metrics": {"lesion_dice": float(value)}}
            for k, value in enumerate(values)
        ]
        summary = write_evaluation(rows, tmp_path / name, n_resamples=50)
        kept = log_evaluation(
            tmp_path / f"{name}.safetensors", flatten(summary), [tmp_path / name / "cases.csv"],
            experiment="made_bundle", uri=server, network_name=name, datalist=datalist,
        )  # fmt: skip
        assert kept
    compare(server, tmp_path / "out", experiments=["made_bundle"], options=Options(timing=False))
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert "strong ranks first" in page
    assert "It beats weak" in page
