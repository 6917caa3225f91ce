"""What MONAI Label is told about a bundle, out of its ``configs/metadata.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.bundle import MARK, description
from pipelines.errors import ConfigError, UsageError
from pipelines.model_pt import MODEL

TRAINED = "trained.pt"  # in models/: what a training through the server made
_BACKGROUND = "background"


@dataclass(frozen=True)
class AboutBundle:
    """A bundle as MONAI Label shows it.

    Attributes:
        folder: in the app folder.
        type: "segmentation" or "classification".
        labels: value of a mask, or number of a class, by its name; without the background.
        dimension: of what the network looks at.
        description, version: in words.
    """

    folder: Path
    type: str
    labels: dict[str, int]
    dimension: int
    description: str
    version: str

    @property
    def ships_weights(self) -> bool:
        """Whether the config finds weights by itself, with their calibration; else they are ``models/model.pt``."""
        return any((self.folder / "models").glob("*.safetensors"))

    @property
    def weights(self) -> dict[str, Path]:
        """The files of weights that can be chosen, the default first: what was trained here goes before what came."""
        models = self.folder / "models"
        return {name: models / name for name in (TRAINED, MODEL) if (models / name).is_file()}


def about_bundle(folder: Path) -> AboutBundle:
    """Read it.

    Raises:
        ConfigError: the metadata cannot be read, or the output is neither a segmentation nor a classification.
    """
    path = folder / MARK
    words = description(folder)
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        pred = about["network_data_format"]["outputs"]["pred"]
        image = about["network_data_format"]["inputs"]["image"]
        kind, names = str(pred["format"]), {str(name): int(value) for value, name in pred["channel_def"].items()}
        dimension, version = len(image["spatial_shape"]), str(about["version"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("the metadata do not say what the bundle finds", where=path) from error
    if kind not in ("segmentation", "classification"):
        raise ConfigError(
            f"MONAI Label shows segmentations and classifications; this bundle's output is {kind!r}", where=path
        )
    labels = {name: value for name, value in names.items() if kind == "classification" or name != _BACKGROUND}
    return AboutBundle(folder, kind, labels, dimension, words, version)


def weights_file(about: AboutBundle, chosen: Any) -> Path:
    """The file of weights that a request chose: a name, or all of them, as clients send back what they were offered.

    Raises:
        UsageError: there is no such file.
    """
    name, known = first(chosen), about.weights
    if name not in known:
        how = f"choose from {', '.join(known)}" if known else "start the server again"
        raise UsageError(f"there are no weights {name!r}", where=about.folder / "models", how=how)
    return known[name]


def first(value: Any) -> Any:
    """Of a list of choices, as clients send it back unchanged, the first."""
    return (value[0] if value else None) if isinstance(value, (list, tuple)) else value


def true(value: Any) -> bool:
    """A choice of yes or no: clients send it as JSON's, or as a word."""
    return value if isinstance(value, bool) else str(value).lower() in ("true", "1", "yes", "on")
