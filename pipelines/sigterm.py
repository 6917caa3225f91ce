"""SIGTERM that unwinds the stack, so that what is open is closed."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType


class Terminated(SystemExit):
    """SIGTERM arrived. It unwinds the stack, so that what is open is closed, and ends with exit code 143."""


class SigtermUnwinds:
    """While entered, SIGTERM raises ``Terminated`` in place of ending the process on the spot.

    A handler that somebody else had installed is called instead, and decides. Outside the main thread, where Python
    lets nobody install a handler, this does nothing. ``received`` says whether the signal came.
    """

    def __init__(self) -> None:
        self.received = False
        self._owner = 0
        self._previous: signal._HANDLER = None
        self._installed = False

    def __enter__(self) -> SigtermUnwinds:
        if threading.current_thread() is threading.main_thread():
            self._owner = os.getpid()
            self._previous = signal.signal(signal.SIGTERM, self._handle)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._previous is None else self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a forked worker of a DataLoader has inherited this handler
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if self._previous == signal.SIG_IGN:
            return
        self.received = True
        if callable(self._previous):
            self._previous(number, frame)
            return
        raise Terminated(128 + number)
