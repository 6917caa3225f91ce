"""Pages that a command serves to this machine's browser: a port on 127.0.0.1, and whether a browser may be opened."""

from __future__ import annotations

import os
import socket
import webbrowser

from pipelines.errors import UsageError

HOST = "127.0.0.1"  # nobody else's machine


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
