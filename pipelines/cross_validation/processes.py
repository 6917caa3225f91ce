"""Steps of a bundle as processes of their own, several at a time, none of which outlives the command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipelines.bundle import run_environment
from pipelines.errors import PipelinesError, UsageError

_GRACE = 60.0  # seconds that a training has to end itself after SIGTERM
_OWN_END = 5.0  # seconds that it has before, where Ctrl-C has reached it as well
_TAIL = 4000  # characters of a log that the reason of a failure is looked for in
_EPOCH = re.compile(r"Trainer: Epoch\[(\d+)\] Complete")  # ignite's
_SAID_LAST = "error: "
_ERROR = re.compile(r"^(?:[\w.]*\.)?(\w*(?:Error|Exception|Interrupt)\w*)(?:: (.*))?$")


class Stopped(PipelinesError):
    """The command is ending, and this step was not begun or was ended."""


class Processes:
    """The processes that a command has started. As a context manager it ends those that are left when it is left.

    Args:
        settings: of their environment, where it does not say otherwise.
        python: stands in for this interpreter in the commands (``pipelines.warm``); None for itself.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, python: str | None = None) -> None:
        self._settings = dict(settings or {})
        self._python = python
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop(patience=_OWN_END if kind is KeyboardInterrupt else 0.0)

    def run(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Run a command to its end, its output added to a log.

        Args:
            progress: told the number of each epoch that ends, as far as the log is looked at in time.

        Raises:
            UsageError: it failed, with the last words of its log.
            Stopped: ``stop`` was called.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            begun = file.tell()
            with self._lock:
                if self._stopped:
                    raise Stopped("not begun", where=log)
                environ = run_environment(**self._settings) | dict(environment or {})
                own = self._python is not None and command[0] == sys.executable
                words = [str(self._python), *command[1:]] if own else command
                process = subprocess.Popen(words, env=environ, stdout=file, stderr=subprocess.STDOUT)
                self._running.add(process)
        told = 0
        while process.poll() is None:
            time.sleep(0.3)
            epoch = _epoch(log, begun) if progress is not None else 0
            if progress is not None and epoch > told:
                told = epoch
                progress(epoch)
        with self._lock:
            self._running.discard(process)
            if self._stopped:
                raise Stopped("ended before its time", where=log)
        if process.returncode:
            raise UsageError(
                f"it ended with {process.returncode}: {_reason(log, begun)}",
                where=log, how="mend it and call again: what is done is kept",
            )  # fmt: skip

    def stop(self, patience: float = 0.0) -> None:
        """End all processes, and begin no more.

        Args:
            patience: seconds that they have before they are told to.
        """
        with self._lock:
            self._stopped = True
            running = list(self._running)
        _wait(running, patience)
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # the run is recorded as KILLED
        _wait(running, _GRACE)
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()


def bundle_command(bundle: Path, configs: Sequence[Path], words: Sequence[str]) -> list[str]:
    """The command that runs configs of a bundle, laid over one another."""
    files = str([str(path) for path in configs])
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files]
    return [*command, "--bundle_root", str(bundle), *words]


def _wait(processes: Sequence[subprocess.Popen], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(0.1)


def _tail(log: Path, begun: int) -> str:
    with log.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(begun, end - _TAIL))
        return file.read().decode("utf-8", errors="replace")


def _epoch(log: Path, begun: int) -> int:
    found = _EPOCH.findall(_tail(log, begun))
    return int(found[-1]) if found else 0


def _reason(log: Path, begun: int) -> str:
    """What the command says last (`say_faults_last`), else the last line that names an error, else the last line."""
    lines = [line.strip() for line in _tail(log, begun).splitlines() if line.strip()]
    if lines and lines[-1].startswith(_SAID_LAST):
        return lines[-1].removeprefix(_SAID_LAST)
    errors = [found for found in map(_ERROR.match, lines) if found]
    return (errors[-1][2] or errors[-1][1]) if errors else lines[-1] if lines else "it said nothing"
