"""Networks run by something faster than eager PyTorch: ONNX graphs, sessions, and which one this machine takes."""

from __future__ import annotations

from pipelines.runtimes.agreement import Agreement, Tolerance, dice
from pipelines.runtimes.graphs import onnx_of
from pipelines.runtimes.network import PRECISIONS, RUNTIMES, RuntimeNetwork, enough_work
from pipelines.runtimes.sessions import installed, open_session
from pipelines.runtimes.signal_stack import signal_stack_kept

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "Agreement",
    "RuntimeNetwork",
    "Tolerance",
    "dice",
    "enough_work",
    "installed",
    "onnx_of",
    "open_session",
    "signal_stack_kept",
]
