"""``python WORDS`` without the seconds that importing torch, MONAI and MLflow takes: a warm process forks for each.

``WarmPython`` starts one process that imports modules and then does nothing else: it opens no file, draws no random
number. Its ``python`` is a command like another. It hands its arguments, directory, environment and standard streams to
the warm process, which forks a child that becomes what a fresh ``python WORDS`` would be. It passes SIGTERM and SIGINT
on, and ends with the child's exit code or signal. Where it is killed, the child is too. So each call is isolated, and
``subprocess`` is used as ever. The demo runs its steps so, and the tests the commands of bundles.

What differs from a cold start: the modules are there already, they are not taken apart one by one at the end, and what
a library reads from the environment as it is loaded (``OMP_NUM_THREADS``, ``MALLOC_…``) is as it was when the warm
process began. Modules must survive a fork: OpenBLAS and jemalloc make their threads anew, onnxruntime does not. Linux
only.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:  # this file runs as a script for each call, and imports little
    from collections.abc import Mapping, Sequence
    from types import FrameType
    from typing import IO, Any, NoReturn

_HEAD = 1 << 16  # bytes of a request that come with the streams' descriptors
_PASSED_ON = (signal.SIGTERM, signal.SIGINT)


class WarmPython:
    """A warm process. To be used in a ``with``, or closed.

    Args:
        modules: imported once, before the first call.
        env: the environment of the process; that of its calls should agree in what libraries read as they are loaded.
        errors: a file for what the imports have to say; None for our standard error.

    Attributes:
        python: the interpreter, an executable file.
    """

    def __init__(self, modules: Sequence[str], env: Mapping[str, str], errors: IO[bytes] | None = None) -> None:
        import shlex

        self._folder = tempfile.TemporaryDirectory(prefix="warm-")  # a socket's path must be short
        place = Path(self._folder.name) / "socket"
        client = shlex.join([sys.executable, "-S", "-E", "-P", __file__, str(place)])
        script = Path(self._folder.name) / "python"
        script.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
        script.chmod(0o755)
        self.python = str(script)
        command = [sys.executable, "-P", __file__, str(place), "serve", *modules]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=dict(env)
        )

    def __enter__(self) -> WarmPython:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self, timeout: float | None = None) -> bool:
        """Waits, at most ``timeout`` seconds, for the imports to be done; whether they are.

        Raises:
            ChildProcessError: the process ended instead; its exit code.
        """
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], timeout)[0]:
            return False
        if not self._server.stdout.read(1):
            raise ChildProcessError(self._server.wait())
        return True

    def close(self) -> None:
        """Ends the warm process, and the calls that have not ended."""
        self._server.communicate()
        self._folder.cleanup()


def _ask(place: str, words: list[str]) -> NoReturn:
    """The client: lets the warm process make the call, waits, and ends as the call ended."""
    call = json.dumps({"words": words, "cwd": str(Path.cwd()), "env": dict(os.environ)}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [call[:_HEAD]], [0, 1, 2])
        connection.sendall(call[_HEAD:])

        def pass_on(number: int, frame: FrameType | None) -> None:
            connection.sendall(bytes([number]))

        for each in _PASSED_ON:
            signal.signal(each, pass_on)
        answer = b""
        while part := connection.recv(64):
            answer += part
    code = int(answer) if answer else -signal.SIGKILL  # the warm process was killed
    if code < 0:
        if -code in _PASSED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _next_call(place: str) -> dict[str, Any] | None:
    """Serves until the tests end. Returns more than once: None at the end, and in each child the call it is to make."""
    import selectors
    from contextlib import suppress

    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the tests, which then end us
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(64)
    waiting: dict[socket.socket, int] = {}  # who asked -> the child
    selector = selectors.DefaultSelector()
    for source in (sys.stdin, wake, listener):
        selector.register(source, selectors.EVENT_READ)
    os.write(1, b".")  # ready
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        if sys.stdin in ready:  # its end: nothing is ever written to it
            for pid in waiting.values():
                _kill(pid)
            return None
        if wake in ready:
            with suppress(BlockingIOError):
                os.read(wake, 4096)
        for connection, pid in list(waiting.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done and connection in ready:
                for number in (told := connection.recv(64)):
                    os.killpg(pid, number) if number == signal.SIGINT else os.kill(pid, number)
                if not told:  # who asked is gone
                    _kill(pid)
                    done, status = os.waitpid(pid, 0)
            if done:
                with suppress(OSError):
                    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
                selector.unregister(connection)
                connection.close()
                del waiting[connection]
        if listener in ready:
            connection, _ = listener.accept()
            text, streams, _, _ = socket.recv_fds(connection, _HEAD, 3)
            while text and not text.endswith(b"\n"):
                text += (part := connection.recv(_HEAD))
                if not part:
                    break
            if len(streams) < 3 or not text.endswith(b"\n"):  # who asked was killed in the middle of it
                connection.close()
            elif pid := os.fork():
                with suppress(OSError):  # the child does so too: whoever comes first
                    os.setpgid(pid, pid)
                waiting[connection] = pid
                selector.register(connection, selectors.EVENT_READ)
            else:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                selector.close()
                for end in (wake, woken):
                    os.close(end)
                for each in (listener, connection, *waiting):
                    each.close()
                return json.loads(text) | {"streams": streams}
            for stream in streams:
                os.close(stream)


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)


def _become(call: dict[str, Any], base_path: list[str]) -> list[str]:
    """Makes this fresh child what ``python WORDS`` is before its first line; the words without ``-u``."""
    import random

    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    for number, stream in enumerate(call["streams"]):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the child lives
    sys.stdout = open(1, "w", buffering=1 if os.isatty(1) else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(call["env"])
    random.seed()  # a new process has seeds of its own: what nobody seeds must not look as if somebody did
    for module in ("numpy.random", "torch"):
        if module in sys.modules:
            sys.modules[module].seed()
    words = call["words"][1:] if call["words"][0] == "-u" else call["words"]
    first = call["cwd"] if words[0] == "-m" else "" if words[0] == "-c" else str(Path(words[0]).resolve().parent)
    given = filter(None, call["env"].get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [first, *given, *base_path]
    sys.argv = words if words[0] not in ("-m", "-c") else [words[0], *words[2:]]
    sys.orig_argv = [sys.executable, *words]
    return words


def _run(words: list[str]) -> NoReturn:
    """Runs the words, and ends as an interpreter ends, but for taking apart the modules, which takes seconds."""
    import atexit
    import runpy
    import threading

    code = 0
    try:
        if words[0] == "-m":
            if "pipelines.said_last" in sys.modules:  # whoever imports it in vain in a process that is to be another
                sys.modules["pipelines.said_last"].say_faults_last(words[1])
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})  # noqa: S102 - `python -c`
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
        if not isinstance(ending.code, int) and ending.code is not None:
            sys.stderr.write(f"{ending.code}\n")
    except BaseException as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        sys.excepthook(type(error), error, error.__traceback__)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def _serve(place: str, modules: Sequence[str]) -> None:
    import gc
    import importlib

    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    base_path = [each for each in sys.path if each not in own]
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page
    call = _next_call(place)
    if call is not None:
        _run(_become(call, base_path))


if __name__ == "__main__":
    if sys.argv[2:3] == ["serve"]:
        _serve(sys.argv[1], sys.argv[3:])
    else:
        _ask(sys.argv[1], sys.argv[2:])
