"""``pipelines ui``: the address it prints and opens, and the server it ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import webbrowser
from pathlib import Path

import psutil
import pytest

import pipelines.tracking
from pipelines import browser
from pipelines.__main__ import main

# Stands in for MLflow's server, which is a process with children of its own.
SERVER = """
import socket, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
open(sys.argv[2], "w").write(str(child.pid))
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(float(sys.argv[3]))
child.kill()
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setenv("BROWSER", "some-browser")
    monkeypatch.setattr(webbrowser, "open", lambda url: found.append(url))
    return found


def serve_with(monkeypatch: pytest.MonkeyPatch, child: Path, seconds: float) -> None:
    def command(root: Path, *, host: str, port: int) -> list[str]:
        return [sys.executable, "-c", SERVER, str(port), str(child), str(seconds)]

    monkeypatch.setattr(pipelines.tracking, "ui_command", command)


def test_it_opens_where_trainings_and_the_registry_are_and_ends_its_children(
    tmp_path: Path,
    port: int,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve_with(monkeypatch, tmp_path / "pid", 300)
    before = psutil.Process().children()

    def terminated(url: str) -> None:
        opened.append(url)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(webbrowser, "open", terminated)
    with pytest.raises(SystemExit) as ended:
        main(["ui", "--port", str(port)])
    assert ended.value.code == 128 + signal.SIGTERM
    address = f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"
    assert opened == [address]
    assert capsys.readouterr().out == f"{address}\n"
    child = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert psutil.Process().children() == before


def test_no_browser_is_opened_where_none_is_wanted(
    tmp_path: Path, port: int, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_with(monkeypatch, tmp_path / "pid", 2)
    asked: list[bool] = []
    monkeypatch.setattr(browser, "has_window", lambda: asked.append(True))
    assert main(["ui", "--port", str(port), "--no-browser"]) == 0
    assert asked == []
    assert main(["ui", "--port", str(port)]) == 0
    assert asked == [True], "a server that answers"
    assert opened == []


def test_a_browser_in_the_terminal_would_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROWSER", raising=False)
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("w3m"))
    assert not browser.has_window()
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.Mozilla("firefox"))
    assert browser.has_window()


def test_a_port_that_is_taken_is_said(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_with(monkeypatch, tmp_path / "pid", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["ui", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err
    assert main(["ui", "--port", "99999"]) == 2
    assert opened == []
    assert not (tmp_path / "pid").exists()
