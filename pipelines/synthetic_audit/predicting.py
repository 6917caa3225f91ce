"""What a trained network predicts of generated pictures: the one place where any are measured, and only as a fault."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipelines.cross_validation import CrossValidation
from pipelines.files import table
from pipelines.synthetic_audit.pictures import Pictures
from pipelines.weights import load_weights

_BATCH = 64


def predict_generated(plan: CrossValidation, checkpoint: Path, pictures: Pictures) -> str:
    """A table (CSV) of the pictures of ``in_test`` as an evaluation's: case, patient, label, predicted, ``p_CLASS``.

    The likeliest class is predicted, as of the test cases, since the last weights have no calibration.

    Raises:
        ConfigError, UnreadableFileError, WeightsError: config, pictures or weights cannot be used.
    """
    parser = plan.parser()
    device = parser.get_parsed_content("device")
    network = parser.get_parsed_content("network_def").to(device)
    load_weights(network, checkpoint)
    network.eval()
    inferer = parser.get_parsed_content("validate#inferer")
    items = [(number, each.path) for number, own in pictures.in_test.items() for each in own]
    read = read_pictures([path for _, path in items], parser.get_parsed_content("validate#preprocessing"))
    names = list(pictures.names.values())
    rows = []
    with torch.no_grad():
        for start in range(0, len(items), _BATCH):
            batch = torch.stack(read[start : start + _BATCH]).to(device)
            logits = inferer(batch, network).float()
            probabilities = logits.reshape(len(batch), len(names), -1)[..., 0].softmax(dim=1).cpu()
            for (number, path), row in zip(items[start:], probabilities.tolist(), strict=False):
                rows.append((path.stem, path.stem, names[number], names[row.index(max(row))], *row))
    return table(["case", "patient", "label", "predicted", *(f"p_{name}" for name in names)], rows)


def read_pictures(paths: Sequence[Path | str], transform: object) -> list[Tensor]:
    """Pictures as a config's transform gives them, without what else it knows of them."""
    assert callable(transform)
    return [torch.as_tensor(transform({"image": str(path)})["image"]).as_subclass(Tensor) for path in paths]
