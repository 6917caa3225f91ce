"""A generator of random weights, with the record that a training would leave beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipelines.generation.record import write_record
from pipelines.networks import DCGANGenerator
from pipelines.weights import save_weights


@pytest.fixture
def generator(tmp_path: Path) -> Callable[..., Path]:
    """Writes the weights of a generator of a class, and their record."""

    def write(class_name: str = "normal", seed: int = 0, collapsed: bool = False) -> Path:
        torch.manual_seed(seed)
        network = DCGANGenerator(in_channels=10, features=4)
        for layer in network.layers:
            if isinstance(layer, torch.nn.ConvTranspose2d):
                layer.weight.data.mul_(12)  # pictures of contrast
        path = tmp_path / f"{class_name}_{seed}.safetensors"
        save_weights(network, path)
        data = {"name": "drawn", "fingerprint": "sha256:0", "held_out": "sha256:1"}
        write_record(path, {"class": class_name, "data": data, "epochs": 1, "diversity": {}, "collapsed": collapsed})
        return path

    return write
