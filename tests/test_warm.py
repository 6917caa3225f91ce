"""The warm interpreter does what a cold one does; bundles are tested through it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.warm import WarmPython

SHOW = """
import json, os, sys, __main__
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ["GIVEN"], sys.path[0], __name__, sys.stdin.read()]))
"""


def run(words: list[str], cwd: Path, python: str, **more: object) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "timeout": 60, "check": False} | more
    return subprocess.run([python, *words], cwd=cwd, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", ["code", "script", "module"])
def test_arguments_directory_environment_and_streams_are_the_callers(
    warm: WarmPython, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "shown.py").write_text(SHOW)
    words = {"code": ["-c", SHOW], "script": ["shown.py"], "module": ["-m", "shown"]}[kind]
    warmly, coldly = (
        run([*words, "a b", "--c"], tmp_path, python, input="typed", env={**os.environ, "GIVEN": "é"})
        for python in (warm.python, sys.executable)
    )
    assert json.loads(warmly.stdout) == json.loads(coldly.stdout)
    assert (warmly.returncode, warmly.stderr) == (0, "")


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("raise SystemExit", 0), ("raise SystemExit(7)", 7), ("raise SystemExit('why')", 1), ("1 / 0", 1), ("", 0),
        ("import os; os.kill(os.getpid(), 9)", -9), ("import os; os.kill(os.getpid(), 15)", -15),
        ("import os; os._exit(3)", 3), ("import atexit; atexit.register(print, 'late')", 0),
        ("import threading; threading.Timer(0.2, print, ['late']).start()", 0),
    ],
)  # fmt: skip
def test_it_ends_as_an_interpreter_ends(warm: WarmPython, tmp_path: Path, code: str, ends: int) -> None:
    done = run(["-c", code], tmp_path, warm.python)
    assert done.returncode == ends
    assert done.stdout == ("late\n" if "late" in code else "")
    said = {"1 / 0": "ZeroDivisionError: division by zero", "raise SystemExit('why')": "why"}
    assert done.stderr.strip().rpartition("\n")[2] == said.get(code, "")


def test_nothing_is_handed_from_call_to_call(warm: WarmPython, tmp_path: Path) -> None:
    dirty = "import os, torch, random, pipelines; torch.manual_seed(3); pipelines.left = os.environ['LEFT'] = '1'"
    assert run(["-c", dirty], tmp_path, warm.python).returncode == 0
    look = "import os, torch, random, pipelines; print(hasattr(pipelines, 'left'), 'LEFT' in os.environ, "
    look += "torch.initial_seed(), random.random())"
    pythons = (warm.python, warm.python, sys.executable)
    first, second, cold = (run(["-c", look], tmp_path, each).stdout.split() for each in pythons)
    assert first[:2] == second[:2] == cold[:2] == ["False", "False"]
    for place in (2, 3):
        assert len({first[place], second[place], cold[place]}) == 3, "every process has random numbers of its own"


def test_who_is_killed_takes_the_call_along(warm: WarmPython, tmp_path: Path) -> None:
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(100)"
    caller = subprocess.Popen([warm.python, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    caller.send_signal(signal.SIGKILL)
    caller.communicate()
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_call(warm: WarmPython, tmp_path: Path, number: signal.Signals) -> None:
    code = "import signal, sys, time\nfor s in (2, 15): signal.signal(s, lambda n, _: sys.exit(n))\n"
    code += "print('here', flush=True)\ntime.sleep(100)"
    caller = subprocess.Popen([warm.python, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    assert caller.stdout.readline() == "here\n"
    caller.send_signal(number)
    caller.communicate()
    assert caller.returncode == number


def test_paths_may_have_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a b"))
    with WarmPython([], os.environ) as warm:
        assert warm.ready()
        assert " " in warm.python
        assert run(["-c", "print(1)"], tmp_path, warm.python).stdout == "1\n"


def test_a_module_that_fails_to_import_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(5)")
    with WarmPython(["broken"], {**os.environ, "PYTHONPATH": str(tmp_path)}) as warm, pytest.raises(ChildProcessError):
        warm.ready()
