"""The kinds of bundles that can be begun, each with a folder of templates, and the kind of a bundle that there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.bundle import MARK, bundles_in, shipped_bundles
from pipelines.errors import ConfigError, UsageError


@dataclass(frozen=True)
class Kind:
    """A kind.

    Attributes:
        name: of its templates' folder, and what ``--like`` takes.
        task: "segmentation" or "classification", which the name of a bundle says too: MONAI Label reads it there.
        layout: of raw data, as ``data prepare`` names it.
        about: what the data are, a clause.
        spatial_dims: of its networks.
        in_channels: of its images.
        network: the one of its own that is the default.
        packages: what its bundles need beside MONAI, torch and numpy.
        shared_knobs: ids whose values are taken from a bundle that it is like.
    """

    name: str
    task: str
    layout: str
    about: str
    spatial_dims: int
    in_channels: int
    network: str
    packages: tuple[str, ...]
    shared_knobs: tuple[str, ...] = ()

    @property
    def names_kind(self) -> str:
        """What a datalist calls the names: "labels" of masks, or "classes"."""
        return "labels" if self.task == "segmentation" else "classes"


_PICTURES = ("epochs", "batch_size", "learning_rate", "weight_decay", "image_size", "flips", "val_interval", "patience")
_ALWAYS = ("mlflow", "pytorch-ignite", "safetensors", "scikit-image")
KINDS: Mapping[str, Kind] = {
    each.name: each
    for each in (
        Kind(
            "picture_segmentation", "segmentation", "pairs", "pictures and their masks", 2, 3, "skips",
            (*_ALWAYS, "pillow", "torchvision"),
            (*_PICTURES, "encoder_factor", "scales", "threshold", "largest_component"),
        ),
        Kind(
            "volume_segmentation", "segmentation", "pairs", "volumes and their masks", 3, 1, "small_unet",
            (*_ALWAYS, "nibabel"),
        ),
        Kind(
            "picture_classification", "classification", "classes", "a folder of pictures a class", 2, 3, "mobilenet_v2",
            (*_ALWAYS, "matplotlib", "pillow", "scikit-learn", "torchvision"),
            (*_PICTURES, "label_smoothing", "refer_below"),
        ),
    )
}  # fmt: skip


def like(word: str, bundles: Path) -> tuple[Kind, Path | None]:
    """The kind that ``--like`` means, and the bundle where it named one.

    Args:
        word: the name of a kind, or of a bundle in ``bundles`` or among those that are shipped, or a bundle's folder.
        bundles: the folder of bundles.

    Raises:
        UsageError: there is neither; the message lists what there is.
        ConfigError: the bundle is of a kind that cannot be started.
    """
    if word in KINDS:
        return KINDS[word], None
    known = {**bundles_in(shipped_bundles()), **bundles_in(bundles)}
    folder = known.get(word) or (Path(word) if (Path(word) / MARK).is_file() else None)
    if folder is None:
        how = f"choose from the bundles {', '.join(known)}" if known else "choose a kind"
        what = f"there is no bundle and no kind {word!r} to begin like"
        raise UsageError(what, where=bundles, how=f"{how}, or the kinds {', '.join(KINDS)}")
    return _kind_of(folder), folder.absolute()


def knobs_like(bundle: Path, kind: Kind) -> dict[str, Any]:
    """What a bundle's knobs are turned to, of those that the kind has too; none of one whose networks see other things.

    Raises:
        ConfigError: its training config cannot be read.
    """
    if not kind.shared_knobs or _kind_of(bundle) != kind:
        return {}
    content = _training(bundle)
    return {
        name: content[name] for name in kind.shared_knobs if isinstance(content.get(name), bool | int | float | list)
    }


def labels_like(bundle: Path) -> list[str]:
    """The labels of a bundle, background first.

    Raises:
        ConfigError: its training config cannot be read.
    """
    names = _training(bundle).get("label_names")
    return [str(names[value]) for value in sorted(names)] if isinstance(names, dict) else []


def _training(bundle: Path) -> dict[str, Any]:
    path = bundle / "configs" / "train.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("the config cannot be read", where=path) from error
    return content if isinstance(content, dict) else {}


def _kind_of(bundle: Path) -> Kind:
    """The kind of a bundle, by its metadata: what goes in, and what comes out."""
    try:
        about = json.loads((bundle / MARK).read_text(encoding="utf-8"))
        output = about["network_data_format"]["outputs"].get("pred", {})
        task, data_type = str(about.get("kind") or output.get("format")), str(about.get("data_type", ""))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError("the bundle's metadata cannot be read", where=bundle / MARK) from error
    if task == "classification":
        return KINDS["picture_classification"]
    if task == "segmentation":
        volumes = any(word in data_type for word in ("nibabel", "NIfTI", "DICOM"))
        return KINDS["volume_segmentation" if volumes else "picture_segmentation"]
    raise ConfigError(
        f"a bundle of the kind {task!r} cannot be begun like this one",
        where=bundle,
        how=f"choose a kind: --like {' or '.join(KINDS)}",
    )
