"""The stack that signals are handled on, kept while a library runs that puts another in its place."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class SignalStack(ctypes.Structure):
    """``stack_t`` of Linux, as sigaltstack(2) has it."""

    _fields_ = (("ss_sp", ctypes.c_void_p), ("ss_flags", ctypes.c_int), ("ss_size", ctypes.c_size_t))


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """This thread's signal stack, or that it has none, is afterwards what it was before.

    OpenVINO's ``compile_model`` (2026.4, through oneTBB) leaves the calling thread with a stack for signals that it
    unmaps later. The next signal that Python handles, a Ctrl-C or SIGTERM, then ends the process by a segmentation
    fault in place of unwinding it. Elsewhere than on Linux this does nothing.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    before = SignalStack()
    _sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        _sigaltstack(ctypes.byref(before), None)


def _sigaltstack(new: object, old: object) -> None:
    ctypes.CDLL(None).sigaltstack(new, old)
