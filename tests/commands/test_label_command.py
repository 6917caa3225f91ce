"""``pipelines label``: what it refuses before it starts anything, the address it prints, and the server it ends."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import psutil
import pytest

from pipelines.__main__ import main
from pipelines.labelling.environment import PYTHON

SEVERITY = "covid_ct_severity_classification"
# Stands in for the Python of MONAI Label's environment: it takes the server's words.
SERVES = """#!{python}
import socket, sys, time
port = int(sys.argv[sys.argv.index("--port") + 1])
print("words:", " ".join(sys.argv[1:]), flush=True)
with socket.create_server(("127.0.0.1", port)) as server:
    server.accept()
    time.sleep(0.5)
"""
DIES = """#!{python}
print("no such thing: torch")
raise SystemExit(1)
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    (tmp_path / "studies").mkdir()
    return tmp_path / "studies"


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    path = folder / "python"
    path.write_text(code.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv(PYTHON, str(path))


@pytest.fixture(autouse=True)
def _no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, str(tmp_path / "missing"))


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["label", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_faults_are_named_before_anything_is_made(
    tmp_path: Path, studies: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    app = tmp_path / "app"
    more = ("--app", app, "--port", port)
    assert "there is no bundle 'nothing'" in refused(capsys, "nothing", "--studies", studies, *more)
    assert "no such folder of studies" in refused(capsys, SEVERITY, "--studies", tmp_path / "none", *more)
    said = refused(capsys, SEVERITY, "--studies", studies, "--dicomweb", "pacs:8042", *more)
    assert "no address of a DICOMweb server" in said
    assert "make label-env" in refused(capsys, SEVERITY, "--studies", studies, *more)
    with socket.create_server(("127.0.0.1", port)):
        assert f"port {port} cannot be used" in refused(capsys, SEVERITY, "--studies", studies, *more)
    assert not app.exists()


def test_two_folders_of_one_name_are_refused(tmp_path: Path, studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        configs = tmp_path / folder / "same" / "configs"
        configs.mkdir(parents=True)
        (configs / "metadata.json").write_text("{}")
    words = (tmp_path / "a" / "same", tmp_path / "b" / "same", "--studies", studies)
    assert "two bundles are called same" in refused(capsys, *words)


def test_it_prints_the_address_and_ends_with_the_server(
    tmp_path: Path, studies: Path, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(tmp_path, monkeypatch, SERVES)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    before = psutil.Process().children()
    assert (
        main(["label", SEVERITY, "--studies", str(studies), "--app", str(tmp_path / "app"), "--port", str(port)]) == 0
    )
    assert psutil.Process().children() == before
    assert f"http://127.0.0.1:{port}/" in capsys.readouterr().out
    given = (tmp_path / "app" / "logs" / "server.log").read_text()
    assert f"--app {tmp_path / 'app'} --studies {studies} --conf models {SEVERITY}" in given
    assert f"--conf tracking_uri sqlite:///{tmp_path / 'mlflow.db'}" in given
    assert "--host 127.0.0.1" in given


def test_a_server_that_does_not_start_is_an_error_with_its_last_line(
    tmp_path: Path, studies: Path, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(tmp_path, monkeypatch, DIES)
    code = main(["label", SEVERITY, "--studies", str(studies), "--app", str(tmp_path / "app"), "--port", str(port)])
    assert code not in (0, 1, 2)
    assert "MONAI Label did not start (no such thing: torch)" in capsys.readouterr().err
