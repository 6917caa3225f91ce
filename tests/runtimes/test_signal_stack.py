"""A library that leaves another stack for signals behind does not make the next Ctrl-C end the process."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest
import torch

from pipelines.networks import TinyUNet
from pipelines.runtimes import onnx_of, open_session
from pipelines.runtimes.signal_stack import SignalStack, signal_stack_kept

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sigaltstack as Linux has it")


def now() -> tuple[int | None, int, int]:
    stack = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack.ss_sp, stack.ss_flags, stack.ss_size


def test_another_stack_goes_and_the_first_comes_back() -> None:
    room = ctypes.create_string_buffer(1 << 16)
    before = now()
    with signal_stack_kept():
        another = SignalStack(ctypes.addressof(room), 0, 1 << 16)
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(another), None) == 0
        assert now() != before
    assert now() == before


def test_openvino_leaves_the_stack_as_it_was() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (the fast extra)")
    before = now()
    graph = onnx_of(TinyUNet().eval(), torch.zeros(1, 1, 32, 32))
    session = open_session("openvino", graph)
    for number in (1, 3):
        session(np.zeros((number, 1, 32, 32), np.float32))
        assert now() == before
