"""Pages that a command serves to this machine's browser: a port on 127.0.0.1, and whether a browser may be opened."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress

import psutil

from pipelines.errors import UsageError

HOST = "127.0.0.1"  # nobody else's machine
_GRACE = 5.0  # seconds that a server has to end itself


def bound(port: int) -> socket.socket:
    """A socket on a port of this machine alone; 0 is any free one.

    Raises:
        UsageError: the port is taken, or may not be used.
    """
    tried = socket.socket()
    tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        tried.bind((HOST, port))
    except (OSError, OverflowError) as error:
        tried.close()
        raise UsageError(f"port {port} cannot be used ({error})", how="choose another --port") from error
    return tried


def has_window() -> bool:
    """Whether a browser may be opened: one that runs in the terminal would take the terminal from the server."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return True  # there is none, and `open` says so
    return "BROWSER" in os.environ or type(browser) is not webbrowser.GenericBrowser


def answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server takes connections; False if it ends before."""
    while server.poll() is None:
        with socket.socket() as tried:
            if tried.connect_ex((HOST, port)) == 0:
                return True
        time.sleep(0.2)
    return False


def end(server: subprocess.Popen[bytes]) -> None:
    """End the server with the processes that it started, which outlive it if it is ended alone."""
    try:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        _ask(process.terminate)
    _, left = psutil.wait_procs(family, timeout=_GRACE)
    for process in left:
        _ask(process.kill)
    server.wait()


def _ask(end: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        end()
