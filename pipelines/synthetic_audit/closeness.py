"""How close generated pictures come to real ones of patients whom the generator did not learn from, class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics import FIDMetric, MMDMetric
from numpy.typing import NDArray
from torch import Tensor

from pipelines.cross_validation import CrossValidation
from pipelines.datasets.classified_pictures import encoded
from pipelines.errors import ConfigError, WeightsError
from pipelines.generation import memorisation, neighbour_picture
from pipelines.generation.grids import grey_pictures, grid
from pipelines.synthetic_audit.pictures import Pictures
from pipelines.synthetic_audit.predicting import read_pictures
from pipelines.weights import load_weights

FEWEST = 16  # pictures on a side: distances of fewer are left out
MOST = 256  # pictures of a kind and class that distances are computed of
COMPONENTS = 64  # principal components of the features, at most
_SHOWN = 32


@dataclass(frozen=True)
class ClassCloseness:
    """Of one class.

    Attributes:
        number: of pictures on each side of a distance; of fewer than ``FEWEST`` there is none (NaN).
        fid, mmd: generated against real held-out pictures.
        fid_floor, mmd_floor: as many other real held-out pictures against the same ones; no generator is expected to
            come below.
        memorised: see ``memorisation``.
        samples, neighbours: pictures to look at, uint8 (rows, columns): the first samples, and the samples nearest to a
            training picture above these.
    """

    name: str
    number: int
    fid: float
    fid_floor: float
    mmd: float
    mmd_floor: float
    memorised: dict[str, float | int]
    samples: NDArray[np.uint8]
    neighbours: NDArray[np.uint8]


@dataclass(frozen=True)
class Closeness:
    """Of all classes.

    Attributes:
        space: where distances are measured, in words.
    """

    space: str
    classes: Sequence[ClassCloseness]


def closeness(plan: CrossValidation, weights: Path, pictures: Pictures) -> Closeness:
    """Compare all generated pictures with real ones, both at the size of the generated.

    The features of real training pictures say which principal components are looked at: FID in all features of few
    pictures is that of a singular covariance, and mostly bias.

    Args:
        plan: of the bundle's own network, whose config reads pictures.
        weights: of it, or of its encoder alone.

    Raises:
        ConfigError: the network gives no features. UnreadableFileError, WeightsError: the weights cannot be used.
    """
    parser = plan.parser()
    size = pictures.size[::-1]  # columns, rows: MONAI's X, Y
    parser["image_size"] = list(size)
    load = parser.get_parsed_content("train#deterministic_transforms")

    def transform(item: Any) -> Any:
        for each in load:
            item = each(item)
        return item

    network, how = _features_of(parser.get_parsed_content("network_def"), weights)
    shown_at = plan.config.get("image_size")
    wide = [int(each) for each in shown_at] if isinstance(shown_at, list) else list(size)
    by_class = {number: _real(pictures, number) for number in pictures.names}
    read = {number: [read_pictures(paths, transform) for paths in parts] for number, parts in by_class.items()}
    generated = {
        number: read_pictures([e.path for e in (*own, *pictures.in_test[number])], transform)
        for number, own in pictures.generated.items()
    }

    def features(images: Sequence[Tensor]) -> Tensor:
        items = [{"image": each} for each in images[:MOST]]
        return torch.cat(list(encoded(items, network, size=wide))).double()

    of_training = torch.cat([features(read[number][0]) for number in read])
    middle = of_training.mean(dim=0)
    _, spread, axes = torch.linalg.svd(of_training - middle, full_matrices=False)
    halves = [min(len(part[1]), len(part[2]), len(generated[k]), MOST) for k, part in read.items()]
    kept = min(COMPONENTS, len(axes), max(2, min(halves) // 4))
    explained = float((spread[:kept] ** 2).sum() / (spread**2).sum().clamp_min(1e-12))

    def projected(images: Sequence[Tensor]) -> Tensor:
        return (features(images) - middle) @ axes[:kept].T

    classes = []
    for (number, name), n in zip(pictures.names.items(), halves, strict=True):
        training, one, other = read[number]
        near, far, made = (projected(each[:n]) for each in (one, other, generated[number]))
        fid, mmd = (lambda *_: math.nan,) * 2 if n < FEWEST else (FIDMetric(), MMDMetric())
        grey = [grey_pictures(torch.stack(each) * 2 - 1) for each in (generated[number], training, [*one, *other])]
        classes.append(
            ClassCloseness(
                name,
                n,
                float(fid(made, near)),
                float(fid(far, near)),
                float(mmd(near, made)),
                float(mmd(near, far)),
                memorisation(*grey),
                grid(grey[0][:_SHOWN], 8),
                neighbour_picture(grey[0], grey[1], rows=2),
            )
        )
    name = plan.config.get("network_name", "the network")
    space = (
        f"the {of_training.shape[1]} features before the classifier of {name}, {how} {weights.name}, of pictures of "
        f"{size[0]}x{size[1]} pixels, enlarged to {wide[0]}x{wide[1]}; projected on the first {kept} principal "
        f"components of real training pictures ({100 * explained:.0f} % of their variance)"
    )
    return Closeness(space, classes)


def _features_of(network: torch.nn.Module, weights: Path) -> tuple[torch.nn.Module, str]:
    """The network with weights of it all, or of its encoder."""
    if not hasattr(network, "features"):
        raise ConfigError(
            f"{type(network).__name__} gives no features", how="name a bundle whose network has an encoder"
        )
    try:
        load_weights(network, weights)
        return network, "with its weights in"
    except WeightsError:
        if not hasattr(network, "prepare_encoder"):
            raise
    network.prepare_encoder(str(weights))  # type: ignore[operator]
    return network, "with the encoder weights in"


def _real(pictures: Pictures, number: int) -> tuple[list[str], list[str], list[str]]:
    """Paths of a class: of training, and of each half of the patients of validation and test."""

    def of(section: str) -> list[dict[str, Any]]:
        return [item for item in pictures.content[section] if item["label"] == number]

    held = [*of("validation"), *of("test")]
    patients = sorted({item["patient"] for item in held})
    order = np.random.default_rng((0, number)).permutation(len(patients))
    first = {patients[k] for k in order[: len(order) // 2]}
    one = [item["image"] for item in held if item["patient"] in first]
    other = [item["image"] for item in held if item["patient"] not in first]
    return [item["image"] for item in of("training")], one, other
