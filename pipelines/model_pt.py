"""``models/model.pt`` of the weights that a bundle ships: MONAI Label and the model zoo look for that file."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.bundle import ConfigParser

from pipelines.bundle import meet_demands, weights_of
from pipelines.errors import UnreadableFileError, UsageError
from pipelines.files import make_folder, write_file
from pipelines.weights import read_weights

MODEL = "model.pt"
CALIBRATION = ".calibration.json"  # in the place of the ending of weights


def default_weights(bundle: Path) -> Path:
    """The file of weights that a bundle uses for the network of its ``inference.yaml``: those it ships, or without
    such those it was trained to.

    Raises:
        UsageError: it has no such config.
        UnreadableFileError: there are none.
        UntrustedBundleError: the bundle is not what ``PIPELINES_REQUIRE`` demands.
    """
    config = bundle / "configs" / "inference.yaml"
    if not config.is_file():
        raise UsageError("this is not a bundle with configs/inference.yaml", where=bundle)
    meet_demands(bundle)
    content = ConfigParser.load_config_file(str(config))
    # of a bundle with a network a class the name follows from another knob
    network = str(ConfigParser(content).get_parsed_content("network_name") if "network_name" in content else None)
    path = Path(weights_of(bundle, network))
    if not path.is_file():
        what = f"no weights are shipped for the network {network}, and it is not trained yet"
        raise UnreadableFileError(what, where=path, how="train it first")
    return path


def write_model_pt(bundle: Path, copy: Path | None = None) -> Path:
    """Write ``models/model.pt``: the state dict of ``default_weights``, tensors alone.

    Args:
        bundle: whose weights they are.
        copy: of the bundle, which gets the file, and the calibration of weights that were trained; None for itself.

    Returns:
        The file.

    Raises:
        UsageError, UnreadableFileError, WeightsError: the weights cannot be had.
        OutputError: it cannot be written.
    """
    weights = default_weights(bundle)
    state = read_weights(weights)
    target = (copy or bundle) / "models" / MODEL
    make_folder(target.parent)
    write_file(target, lambda file: torch.save(state, file), how="free some space")
    calibration = weights.with_suffix(CALIBRATION)
    if copy is not None and weights.name == MODEL and calibration.is_file():
        content = calibration.read_bytes()
        write_file(target.with_suffix(CALIBRATION), lambda file: file.write(content))
    return target
