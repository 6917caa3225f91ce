"""The forms that a network is exported to: written, and opened again to be compared."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.errors import UsageError
from pipelines.runtimes import installed, onnx_of, open_session, signal_stack_kept

SUFFIXES = {"onnx": ".onnx", "torchscript": ".ts", "openvino": ".xml"}
Run = Callable[[NDArray[np.float32]], list[NDArray[Any]]]


def check_installed(form: str) -> None:
    """Say what is missing before anything is computed.

    Raises:
        UsageError: there is no such form, or what it takes is not installed.
    """
    if form not in SUFFIXES:
        raise UsageError(f"there is no form {form!r} to export to", how=f"choose from {', '.join(SUFFIXES)}")
    there = installed()
    if form == "openvino" and "openvino" not in there:
        raise UsageError("openvino is not installed", how="pip install -c constraints.txt '.[fast]'")
    if form == "onnx" and not there:
        what = "neither onnxruntime nor openvino is installed, to compare what is exported"
        raise UsageError(what, how="pip install -c constraints.txt '.[fast]'")


def write_network(
    network: torch.nn.Module, example: torch.Tensor, form: str, path: Path, outputs: Sequence[str]
) -> list[Path]:
    """Write a network for batches of any length and the example's other sizes.

    Args:
        network: gives as many tensors as ``outputs`` names.
        example: (B, C, …), float32 on the CPU.
        form: of ``SUFFIXES``.
        path: of the file; OpenVINO's has its weights beside it (.bin).

    Returns:
        The files.
    """
    if form == "torchscript":
        buffer = io.BytesIO()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of branches on sizes, which stay; and that torch.jit is old
            torch.jit.save(torch.jit.trace(network, example, check_trace=False), buffer)
        path.write_bytes(buffer.getvalue())
        return [path]
    graph = onnx_of(network, example, "image", outputs)
    if form == "onnx":
        path.write_bytes(graph)
        return [path]
    import openvino

    openvino.save_model(openvino.Core().read_model(graph), path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]


def open_network(form: str, path: Path) -> Run:
    """What was written, as a function from images to its outputs, in float32."""
    if form == "torchscript":
        network = torch.jit.load(path)

        def run(images: NDArray[np.float32]) -> list[NDArray[Any]]:
            with torch.no_grad():
                return [each.numpy() for each in network(torch.from_numpy(images))]

        return run
    if form == "onnx":
        return open_session("onnxruntime" if "onnxruntime" in installed() else "openvino", path.read_bytes())
    import openvino

    with signal_stack_kept():
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def infer(images: NDArray[np.float32]) -> list[NDArray[Any]]:
        with signal_stack_kept():
            return [np.array(each) for each in compiled(images).to_tuple()]

    return infer
