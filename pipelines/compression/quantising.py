"""Static int8 of an exported graph, by onnxruntime: QDQ, a scale a channel, calibrated on images that are given."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Quantised:
    """An int8 graph.

    Attributes:
        graph: ONNX, opset and input as the one that it was made of.
        weights: the numbers of it that are weights: int8, and the biases (int32).
        non_zero: those of them that are not 0.
        nodes: how many convolutions and matrix products have int8 weights, of how many that there are.
    """

    graph: bytes
    weights: int
    non_zero: int
    nodes: tuple[int, int]


_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def check_quantiser() -> None:
    """Say what is missing before anything is computed.

    Raises:
        UsageError: onnxruntime or onnx is not installed.
    """
    for package in ("onnxruntime", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"int8 needs the package {package}", how="pip install -c constraints.txt '.[fast]'")


def quantise(graph: bytes, images: NDArray[np.float32]) -> Quantised:
    """Weights and activations as 8-bit integers (``onnxruntime.quantization.quantize_static``): symmetrical int8
    weights with a scale for each output channel, uint8 activations between the least and the greatest value that the
    images bring forth, QuantizeLinear/DequantizeLinear pairs in a graph that any ONNX runtime reads. Batch norm is
    folded into the convolutions first. Names and texts are taken away from the file; those of inputs and outputs stay.

    Args:
        graph: ONNX with one input, float32.
        images: (B, …) for it, of the training part: the ranges are fitted to them.

    Raises:
        UsageError: see ``check_quantiser``.
        ConfigError: onnxruntime cannot quantise the graph.
    """
    check_quantiser()
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx.load_from_string(graph)
    name = model.graph.input[0].name

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._waiting: Iterator[NDArray[np.float32]] = (images[k : k + 1] for k in range(len(images)))

        def get_next(self) -> Any:
            image = next(self._waiting, None)
            return None if image is None else {name: image}

    level = logging.root.level
    try:
        logging.root.setLevel(logging.ERROR)  # it advises what is done here already
        with tempfile.TemporaryDirectory(prefix="int8-") as folder:
            whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
            quant_pre_process(model, whole, skip_symbolic_shape=True)
            quantize_static(
                whole, small, Images(), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
            made = onnx.load(small)
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ConfigError(f"onnxruntime cannot quantise the network ({said})", how="leave out the step int8") from error
    finally:
        logging.root.setLevel(level)
    weights, non_zero, nodes = _counted(made)
    return Quantised(_stripped(made).SerializeToString(), weights, non_zero, nodes)


def _counted(model: onnx.ModelProto) -> tuple[int, int, tuple[int, int]]:
    from onnx import numpy_helper

    stored = {each.name: each for each in model.graph.initializer}
    found = {
        node.output[0]: numpy_helper.to_array(stored[node.input[0]])
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }
    products = [node for node in model.graph.node if node.op_type in _PRODUCTS]
    quantised = sum(node.input[1] in found for node in products)
    numbers = [*found.values()]
    # what stayed in float32: weights of nodes that are not quantised
    numbers += [numpy_helper.to_array(stored[name]) for node in products for name in node.input[1:] if name in stored]
    return (
        sum(each.size for each in numbers),
        sum(int(np.count_nonzero(each)) for each in numbers),
        (quantised, len(products)),
    )


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with short names, and without texts and shapes that nothing reads: of a small network half of the
    file."""
    graph = model.graph
    kept = {each.name for each in (*graph.input, *graph.output)}
    short: dict[str, str] = {"": ""}

    def renamed(name: str) -> str:
        if name in kept:
            return name
        return short.setdefault(name, _short(len(short)))

    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
        tensor.ClearField("doc_string")
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = renamed(name)
        node.ClearField("name")
        node.ClearField("doc_string")
    graph.ClearField("value_info")
    graph.ClearField("doc_string")
    model.ClearField("doc_string")
    model.ClearField("metadata_props")
    return model


def _short(number: int) -> str:
    letters = ""
    while number:
        number, place = divmod(number, 26)
        letters = chr(ord("a") + place) + letters
    return f"_{letters}"
