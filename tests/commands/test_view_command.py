"""``pipelines view``: the address it prints, what it refuses in one sentence, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from pipelines.__main__ import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    line = {"input": "/nowhere/scan.nii.gz", "status": "refused", "error": "empty; copy it again"}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line))
    return tmp_path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_it_serves_this_machine_and_ends_quietly(folder: Path, project: Path, number: int, code: int) -> None:
    cache = folder / "tmp"
    cache.mkdir()
    command = [sys.executable, "-m", "pipelines", "view", str(folder), "--no-browser"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    server = subprocess.Popen(command, cwd=project, env={"TMPDIR": str(cache), "PATH": "/usr/bin"}, **streams)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1"
    assert len(parts.path) > 30, "the token"
    with urllib.request.urlopen(f"{address}cases") as answer:
        assert json.load(answer)["cases"][0]["error"] == "empty; copy it again"
    listening = [each for each in psutil.Process(server.pid).net_connections() if each.status == psutil.CONN_LISTEN]
    assert [each.laddr.ip for each in listening] == ["127.0.0.1"], "nobody else's machine"
    server.send_signal(number)
    out, err = server.communicate(timeout=20)
    assert (server.returncode, out, err) == (code, "", "")
    assert list(cache.glob("view-*")) == []


def test_a_fault_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["view", str(folder), "--no-browser", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be used" in capsys.readouterr().err
    assert main(["view", str(folder / "none")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    with tempfile.TemporaryDirectory() as empty:
        assert main(["view", str(folder), empty]) == 2
    assert "neither manifest.jsonl nor datalist.json" in capsys.readouterr().err
