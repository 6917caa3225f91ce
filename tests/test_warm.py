"""Commands in forks of a warm process end, answer and die as processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.warm import WarmProcess

COMMAND = """
import atexit, json, os, sys, time
atexit.register(print, "at the end")
print("warm" if "imported_once" in sys.modules else "cold", sys.argv[1:], __name__, sys.stdin.read() == "")
print("on stderr", file=sys.stderr)
if sys.argv[1] == "sleep":
    print("asleep", flush=True)
    time.sleep(60)
if sys.argv[1] == "kill":
    os.kill(os.getpid(), 9)
if sys.argv[1] == "raise":
    raise ValueError("a fault")
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def warm_with(project: Path, tmp_path: Path) -> Callable[..., WarmProcess]:
    (tmp_path / "a_command.py").write_text(COMMAND)
    (tmp_path / "imported_once.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(project)])}
    return lambda *modules: WarmProcess(modules, environment, tmp_path / "start.log")


def run(warm: WarmProcess, log: Path, word: str) -> int:
    warm.start(["a_command", word], log)
    code = warm.wait(30)
    assert code is not None
    return code


def test_codes_and_logs_are_those_of_the_command(warm_with, tmp_path: Path) -> None:
    with warm_with("imported_once") as warm:
        assert warm.ready(30)
        codes = {word: run(warm, tmp_path / word, word) for word in ("0", "3", "raise", "kill")}
    assert codes == {"0": 0, "3": 3, "raise": 1, "kill": 137}
    said = {"warm ['3'] __main__ True", "on stderr", "at the end"}
    assert set((tmp_path / "3").read_text().splitlines()) == said
    assert "ValueError: a fault" in (tmp_path / "raise").read_text()


def test_leaving_ends_what_runs(warm_with, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.warm._UNTOLD", 0.1)
    with warm_with() as warm:
        assert warm.ready(30)
        log = tmp_path / "log"
        log.touch()
        warm.start(["a_command", "sleep"], log)
        while "asleep" not in log.read_text():
            assert warm.wait(0.01) is None
        started, child = time.monotonic(), warm._child
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_an_import_that_fails_is_told_and_logged(warm_with, tmp_path: Path) -> None:
    with warm_with("no_such_module") as warm, pytest.raises(ChildProcessError):
        warm.ready(30)
    assert "no_such_module" in (tmp_path / "start.log").read_text()
