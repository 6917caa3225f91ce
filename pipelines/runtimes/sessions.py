"""Sessions: an ONNX graph, opened by onnxruntime or OpenVINO, as something to call with arrays."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.errors import UsageError
from pipelines.runtimes.signal_stack import signal_stack_kept

Session = Callable[[NDArray[np.float32]], list[NDArray[Any]]]
PACKAGES = ("onnxruntime", "openvino")
_OPENVINO_PRECISION = {"fp32": "f32", "bf16": "bf16"}


def installed() -> dict[str, str]:
    """The runtimes that are installed, and their versions. None of them is imported."""
    return {name: version(name) for name in PACKAGES if importlib.util.find_spec(name) is not None}


def open_session(runtime: str, graph: bytes, precision: str = "fp32", threads: int | None = None) -> Session:
    """A graph with one input as a function from an array to the list of its outputs, on the CPU.

    Args:
        runtime: "onnxruntime" or "openvino".
        graph: ONNX.
        precision: "fp32" or, of OpenVINO, "bf16".
        threads: None for torch's number.

    Raises:
        UsageError: the runtime is not installed, or has no such precision.
    """
    if runtime not in installed():
        raise UsageError(
            f"{runtime} is not installed", how="pip install -c constraints.txt '.[fast]', or --runtime eager"
        )
    threads = threads or torch.get_num_threads()
    if runtime == "openvino":
        return _OpenVINO(graph, precision, threads)
    if precision != "fp32":
        raise UsageError(f"onnxruntime has no {precision} on a CPU", how="choose --precision fp32, or openvino")
    return _onnxruntime(graph, threads)


def _onnxruntime(graph: bytes, threads: int) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: np.ascontiguousarray(inputs)})


class _OpenVINO:
    """OpenVINO compiles for one length of a batch: that of the longest that was met; shorter ones are filled up, and
    those of half of it or less run one by one."""

    def __init__(self, graph: bytes, precision: str, threads: int) -> None:
        import openvino

        self._core = openvino.Core()
        self._model = self._core.read_model(graph)
        self._properties = {
            "INFERENCE_PRECISION_HINT": _OPENVINO_PRECISION[precision],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # or two processes would wait for the same cores
        }
        self._requests: dict[int, Any] = {}  # by the length of the batch; two at most, 1 and the longest

    def __call__(self, inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
        with signal_stack_kept():
            return self._run(inputs)

    def _run(self, inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
        given, longest = len(inputs), max(self._requests, default=0)
        if given > longest:
            self._requests.pop(longest if longest > 1 else 0, None)
            return self._infer(inputs, given)
        if 1 < given <= longest // 2:
            parts = [self._infer(inputs[number : number + 1], 1) for number in range(given)]
            return [np.concatenate(each) for each in zip(*parts, strict=True)]
        return self._infer(inputs, 1 if given <= longest // 2 else longest)

    def _infer(self, inputs: NDArray[np.float32], length: int) -> list[NDArray[Any]]:
        """Outputs of a batch that is filled up to a length."""
        if length not in self._requests:
            self._model.reshape([length, *inputs.shape[1:]])
            self._requests[length] = self._core.compile_model(
                self._model, "CPU", self._properties
            ).create_infer_request()
        given = len(inputs)
        if given < length:
            filling = np.zeros((length - given, *inputs.shape[1:]), np.float32)
            inputs = np.concatenate([inputs, filling])
        found = self._requests[length].infer([np.ascontiguousarray(inputs)], share_inputs=True)
        return [np.array(each[:given]) for each in found.to_tuple()]
