"""Commands of Python modules without their start-up: one process imports what they need, and forks for each of them.

``python -m monai.bundle run`` takes some ten seconds of processor time to import PyTorch, MONAI and MLflow. Here that
is done once; what then runs has the memory, exit code, signals and end of a process of its own. Linux and macOS only.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_READY = "ready"
# seconds that a command has to end itself: once it got the terminal's Ctrl-C too, and once it was told to
_UNTOLD, _GRACE = 3.0, 30.0


class WarmProcess:
    """Runs ``python -m MODULE ARGUMENT …`` one at a time. To be used in a ``with``: leaving it ends what still runs.

    Args:
        modules: imported once, before anything runs; they must start no thread that a fork would lose.
        environment: of all commands.
        log: a file for what the imports have to say.
    """

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.warm", *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=dict(environment),
                bufsize=0,
            )
        self._received = b""
        self._child = 0

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ready(self, timeout: float) -> bool:
        """Waits at most ``timeout`` seconds for the imports to be done; whether they are.

        Raises:
            ChildProcessError: with the exit code: they failed, and the log says why.
        """
        return self._next(timeout) == _READY

    def start(self, arguments: Sequence[str], log: Path) -> None:
        """Starts ``python -m`` with ``arguments``; both of its streams are appended to ``log``.

        Raises:
            ChildProcessError: the warm process is gone.
        """
        assert self._process.stdin is not None
        job = json.dumps({"arguments": list(arguments), "log": os.fspath(log)})
        try:
            self._process.stdin.write(job.encode() + b"\n")
        except BrokenPipeError as error:
            raise ChildProcessError(_shell_code(self._process.wait())) from error
        word = None
        while word is None:
            word = self._next(1.0)
        self._child = int(word)

    def wait(self, timeout: float) -> int | None:
        """The exit code of what was started, as a shell gives it (128 and the number of a signal); None if it still
        runs after ``timeout`` seconds.

        Raises:
            ChildProcessError: the warm process is gone.
        """
        word = self._next(timeout)
        if word is None:
            return None
        self._child = 0
        return _shell_code(int(word))

    def stop(self) -> None:
        """Ends what runs: SIGTERM, by which a training's run is recorded as killed, and SIGKILL after a while."""
        if self._child and not self._ended(_UNTOLD):
            _signal(self._child, signal.SIGTERM)
            if not self._ended(_GRACE):
                _signal(self._child, signal.SIGKILL)
        self._process.kill()  # it holds nothing but imports
        self._process.wait()

    def _ended(self, seconds: float) -> bool:
        try:
            return self.wait(seconds) is not None
        except ChildProcessError:
            return False

    def _next(self, timeout: float) -> str | None:
        """The next line from the warm process; None if there is none in time."""
        assert self._process.stdout is not None
        while b"\n" not in self._received:
            if not select.select([self._process.stdout], [], [], timeout)[0]:
                return None
            part = os.read(self._process.stdout.fileno(), 1024)
            if not part:
                raise ChildProcessError(_shell_code(self._process.wait()))
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _tell(word: str | int) -> None:
    os.write(1, f"{word}\n".encode())


def _serve(modules: Sequence[str]) -> list[str] | None:
    """Imports, then forks for each job on stdin. In a fork: the arguments to run. In the warm process: None, at the
    end."""
    for module in modules:
        importlib.import_module(module)
    # Threads that libraries start when they are imported (OpenBLAS) are made anew after a fork, by themselves.
    warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: it reaches the fork as well
    _tell(_READY)
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, interrupt)
            log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for here, there in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(here, there)
            os.close(log)
            os.close(nothing)
            return job["arguments"]
        _tell(pid)
        _tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return None


if __name__ == "__main__":
    found = _serve(sys.argv[1:])
    if found is not None:
        sys.argv = found
        runpy.run_module(found[0], run_name="__main__", alter_sys=True)
