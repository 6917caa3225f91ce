"""Networks as ONNX."""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch

from pipelines.errors import UsageError

OPSET = 18


def onnx_of(
    network: torch.nn.Module, example: torch.Tensor, inputs: str = "image", outputs: Sequence[str] = ("pred",)
) -> bytes:
    """A network as ONNX, for batches of any length and the example's other sizes.

    It is traced: torch's other way to ONNX takes four times as long and gives a graph that is no faster, and networks
    that pad by their input's size hold one size either way. What tracing cannot do (adaptive pooling to sizes that do
    not divide) goes the other way, where the package ``onnxscript`` is installed.

    Args:
        network: in evaluation mode, float32, on the CPU.
        example: (B, C, …) that it takes.
        inputs: what the graph's input is called.
        outputs: what its outputs are called, as many as the network has.

    Raises:
        UsageError: the package ``onnx`` is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise UsageError("ONNX needs the package onnx", how="pip install -c constraints.txt '.[fast]'")
    names: dict[str, Any] = {"input_names": [inputs], "output_names": list(outputs), "opset_version": OPSET}
    # two items: a graph that was made of one may hold for one alone
    example = torch.cat([example, example]) if len(example) == 1 else example.contiguous()
    with torch.no_grad(), torch.autocast(example.device.type, enabled=False), _quiet():
        file: Any = io.BytesIO()
        try:
            axes = {name: {0: "batch"} for name in (inputs, *outputs)}
            torch.onnx.export(network, (example,), file, dynamo=False, dynamic_axes=axes, **names)
        except Exception:
            if importlib.util.find_spec("onnxscript") is None:
                raise
            file = io.BytesIO()
            shapes = ({0: torch.export.Dim.DYNAMIC},)
            torch.onnx.export(
                network, (example,), file, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False,
                **names,
            )  # fmt: skip
    return file.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns of each branch on a size, and of itself; whoever asked for the graph compares its answers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # where tracing fails, it prints the graph
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
