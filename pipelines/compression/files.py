"""The files of the steps: weights, and the int8 graph with its JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from pipelines.compression.quantising import Quantised
from pipelines.files import write_file
from pipelines.handlers import publish
from pipelines.runtimes import Agreement, open_session
from pipelines.weights import save_weights


def write_network(network: torch.nn.Module, path: Path, *, half: bool = False) -> Path:
    """A network's weights as ``.safetensors``, whole or not at all; ``half``: floats in half precision.

    Raises:
        OutputError: the file cannot be written.
    """

    def fill(folder: Path) -> dict[str, Path]:
        state = network.state_dict()
        if half:
            state = {key: each.half() if each.is_floating_point() else each for key, each in state.items()}
        save_weights(state, folder / path.name)
        return {"weights": folder / path.name}

    return publish(path.parent, fill)["weights"]


def write_graph(graph: bytes, out: Path, name: str, describe: Callable[[Path], Mapping[str, Any]]) -> Path:
    """``NAME.onnx`` and ``NAME.json``, both or neither.

    Args:
        describe: the JSON's content, given the graph's file.

    Raises:
        OutputError: they cannot be written.
    """

    def fill(folder: Path) -> dict[str, Path]:
        path, about = folder / f"{name}.onnx", folder / f"{name}.json"
        write_file(path, lambda file: file.write(graph))
        about.write_text(json.dumps(describe(path), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return {"graph": path, "about": about}

    return publish(out, fill)["graph"]


def int8_description(
    about: Mapping[str, Any],
    path: Path,
    found: Quantised,
    network: torch.nn.Module,
    images: torch.Tensor,
    calibrated_on: int,
) -> dict[str, Any]:
    """The JSON of an int8 graph: that of the fp32 one that it was made of, with what differs.

    Args:
        about: that one's.
        path: the int8 file.
        network: in float32. images: (B, C, …) of the test part, on which the two are compared.
        calibrated_on: how many images of the training part.
    """
    with torch.no_grad():
        due = network(images)
    given = torch.from_numpy(open_session("onnxruntime", found.graph)(images.numpy())[1])
    agreement = Agreement.of(due, given)
    compared: dict[str, Any] = {
        "items": len(images),
        "with": "PyTorch, eager, float32",
        "logits_max_difference": agreement.logits_max,
        "logits_mean_difference": agreement.logits_mean,
        "probabilities_max_difference": agreement.probabilities_max,
        "same_class": agreement.same_labels,
    }
    if agreement.dice is not None:
        compared["dice"] = agreement.dice
    return {
        **about,
        "files": {path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"},
        "quantised": {
            "weights": "int8, symmetrical, a scale a channel",
            "activations": "uint8",
            "products": f"{found.nodes[0]} of {found.nodes[1]}",
            "calibrated_on": calibrated_on,
        },
        "compared": compared,
    }
