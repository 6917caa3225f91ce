"""``python WORDS`` without the seconds that importing torch, MONAI and MLflow takes: a warm process forks for each.

``WarmPython`` starts one process that imports everything and then does nothing else: it opens no file of a test, draws
no random number, starts no thread. Its ``python`` is a command like another. It hands its arguments, directory,
environment and standard streams to the warm process, which forks a child that becomes what a fresh ``python WORDS``
would be, and it ends with the child's exit code or signal. Where it is killed, the child is too. So every call is
isolated as before, and ``subprocess`` works as before.

What differs from a cold start: the modules are there already (tests of imports, of start-up time and of memory start
``sys.executable``), they are not taken apart one by one at the end, and what a library reads from the environment as it
is loaded (``OMP_NUM_THREADS``, ``MALLOC_…``) is as it was when the warm process began.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:  # the client runs for each call: it imports little
    from collections.abc import Mapping
    from typing import Any, NoReturn

_HEAD = 1 << 16  # bytes of a request that come with the streams' descriptors


class WarmPython:
    """The warm process, as the tests see it.

    Args:
        env: its environment; those of its calls should agree with it in what libraries read as they are loaded.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")  # a socket's path must be short
        place = Path(self._folder.name) / "socket"
        self.bin = Path(self._folder.name) / "bin"  # for PATH
        self.bin.mkdir()
        client = f"{sys.executable} -S -E -P {__file__} {place}"
        for name, first in {"python": "", "torchrun": "-m torch.distributed.run"}.items():
            (self.bin / name).write_text(f'#!/bin/sh\nexec {client} {first} "$@"\n')
            (self.bin / name).chmod(0o755)
        self.python = str(self.bin / "python")
        command = [sys.executable, __file__, str(place), "serve"]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(env))
        assert self._server.stdout is not None
        assert self._server.stdout.readline(), "the warm process does not start"

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
        answer = b""
        while part := connection.recv(64):
            answer += part
    code = int(answer) if answer else -signal.SIGKILL  # the warm process was killed
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code)


def _import_everything() -> None:
    """What commands import, early or late; the late and heavy imports of MONAI, ignite and MLflow are named.

    Not onnxruntime: it starts a thread as it is imported, and a forked child of a process with threads may stand still.
    """
    import importlib
    import pkgutil
    from contextlib import suppress

    import pipelines

    names = ["fire", "monai.bundle", "torch._dynamo", "torch.distributed.run", "torch.onnx", "onnxscript"]
    names += [
        "mlflow.pytorch",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.system_metrics.system_metrics_monitor",
    ]
    names += ["ignite.distributed", "matplotlib.pyplot", "sklearn.metrics", "scipy.stats", "nibabel"]
    names += ["skimage.measure"]
    names += [each.name for each in pkgutil.walk_packages(pipelines.__path__, "pipelines.")]
    for name in names:
        if not name.endswith("__main__"):
            with suppress(ImportError):  # an extra that is not installed: the call that needs it says so
                importlib.import_module(name)


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
    sys.stdout.write("ready\n")
    sys.stdout.flush()
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
            if not done and connection in ready:  # who asked is gone
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

    import numpy as np
    import torch

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
    random.seed()  # a new process has seeds of its own: what is not seeded by a test must not look as if it were
    np.random.seed()  # noqa: NPY002 - the global one is meant
    torch.seed()
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
    import traceback

    code = 0
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
        if not isinstance(ending.code, int) and ending.code is not None:
            sys.stderr.write(f"{ending.code}\n")
    except BaseException as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        traceback.print_exception(error)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def _serve(place: str) -> None:
    import gc

    own = {str(Path(__file__).resolve().parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    base_path = [each for each in sys.path if each not in own]
    _import_everything()
    tasks = [each.read_text().strip() for each in Path("/proc/self/task").glob("*/comm")]
    assert tasks.count("jemalloc_bg_thd") == len(tasks) - 1, f"no child may be forked beside threads: {tasks}"
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page
    call = _next_call(place)
    if call is not None:
        _run(_become(call, base_path))


if __name__ == "__main__":
    if sys.argv[2:] == ["serve"]:
        _serve(sys.argv[1])
    else:
        _ask(sys.argv[1], sys.argv[2:])
