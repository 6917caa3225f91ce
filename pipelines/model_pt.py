"""``models/model.pt`` of the weights that a bundle ships: MONAI Label and the model zoo look for that file."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.bundle import ConfigParser

from pipelines.errors import UnreadableFileError, UsageError
from pipelines.files import write_file
from pipelines.weights import read_weights

MODEL = "model.pt"


def default_weights(bundle: Path) -> Path:
    """The file of weights that a bundle ships for the network of its ``inference.yaml``.

    Raises:
        UsageError: it has no such config.
        UnreadableFileError: it ships none.
    """
    config = bundle / "configs" / "inference.yaml"
    if not config.is_file():
        raise UsageError("this is not a bundle with configs/inference.yaml", where=bundle)
    network = ConfigParser.load_config_file(str(config)).get("network_name")
    path = bundle / "models" / f"{network}.safetensors"
    if not path.is_file():
        how = f"train it, and copy its weights there as {path.name} (safetensors)"
        raise UnreadableFileError(f"no weights are shipped for the network {network}", where=path, how=how)
    return path


def write_model_pt(bundle: Path) -> Path:
    """Write ``models/model.pt``: the state dict of ``default_weights``, tensors alone.

    Returns:
        The file.

    Raises:
        UsageError, UnreadableFileError, WeightsError: the weights cannot be had.
        OutputError: it cannot be written.
    """
    state = read_weights(default_weights(bundle))
    target = bundle / "models" / MODEL
    write_file(target, lambda file: torch.save(state, file), how="free some space")
    return target
