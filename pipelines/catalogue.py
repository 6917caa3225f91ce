"""What there is: bundles with their networks and weights, and the datasets that are read. PyTorch is not needed.

Everything comes from where it is kept for other ends too: a bundle's ``configs/`` and ``models/``, its model card
(``docs/model_card.json`` and ``.yaml``), and the datasets' cards (``data/*.yaml``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import yaml

from pipelines.bundle import GENERATION, MARK, bundle_kind, bundles_in
from pipelines.errors import UnreadableFileError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT, _SHIPPED = _PACKAGE.parent / "data", _PACKAGE / "data_cards"  # of the datasets' cards
_EVERY_BUNDLES = {"train", "inference", "evaluate", "multi_gpu_train"}
_OWN_CARD = Path("docs") / "data_card.yaml"  # of a bundle for data that no card of the project's is about
_PHANTOMS = "phantoms"  # what cards call the source that this project draws
_DATASET = re.compile(r"/data/([\w-]+)")


class Network(TypedDict):
    """``parameters`` is null where the metadata do not say it; ``weights_bytes`` is null where none are shipped."""

    name: str
    default: bool
    parameters: int | None
    weights: str | None
    weights_bytes: int | None


class Headline(TypedDict):
    """The figure of a bundle's model card: the metric that its evaluation is about, with its 95 % interval."""

    network: str
    metric: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    data: str
    of_shipped_weights: bool
    evidence: str


class Overlay(TypedDict):
    """A config that is laid over others, beside those that every bundle has."""

    name: str
    about: str


class BundleEntry(TypedDict):
    """A bundle, as ``python -m pipelines list --json`` says it; ``generates``: the classes of which it draws pictures,
    none where it judges them."""

    name: str
    version: str
    task: str
    folder: str
    networks: list[Network]
    headline: Headline | None
    overlays: list[Overlay]
    dataset: str | None
    kind: str
    generates: list[str]


class Layout(TypedDict):
    """A layout in which a dataset's raw data are read: whose it is, and its files, a line each."""

    name: str
    licence: str
    files: list[str]


class DatasetEntry(TypedDict):
    """A dataset, as ``python -m pipelines list --json`` says it."""

    name: str
    task: str
    classes: dict[str, str]
    phantoms: bool
    bundles: list[str]
    layouts: list[Layout]


def list_bundles(folder: Path) -> tuple[list[BundleEntry], list[UnreadableFileError]]:
    """The bundles of a folder, by name; and what is wrong with those whose files cannot be read."""
    entries: list[BundleEntry] = []
    faults: list[UnreadableFileError] = []
    for name, path in bundles_in(folder).items():
        try:
            entries.append(_bundle(name, path))
        except UnreadableFileError as fault:
            faults.append(fault)
    return entries, faults


def list_datasets(bundles: list[BundleEntry], folder: Path | None = None) -> list[DatasetEntry]:
    """The datasets that ``data prepare`` reads, by name, and then those that bundles have cards of
    (``docs/data_card.yaml``).

    Args:
        bundles: those that may be trained on them.
        folder: of the cards; default: this project's.

    Raises:
        UnreadableFileError: a card cannot be read.
    """
    place = folder or (_SHIPPED if _SHIPPED.is_dir() else _CHECKOUT)
    own = [Path(each["folder"]) / _OWN_CARD for each in bundles]
    cards = [*sorted(place.glob("*.yaml")), *(path for path in own if path.is_file())]
    return [_dataset(path, bundles) for path in cards]


def _bundle(name: str, path: Path) -> BundleEntry:
    metadata, train = _mapping(path / MARK), _mapping(path / "configs" / "train.yaml")
    default, dataset = str(train.get("network_name", "")), _DATASET.search(str(train.get("dataset_dir", "")))
    counts, card = metadata.get("network_parameters") or {}, path / _OWN_CARD
    others = sorted(each for each in (path / "configs").glob("*.yaml") if each.stem not in _EVERY_BUNDLES)
    overlays = [each for each in others if not _stands_alone(each)]
    networks = [
        _network(path, each.stem, counts, each.stem == default or _by_knobs(each, train))
        for each in sorted((path / "configs" / "networks").glob("*.yaml"))
    ]
    return {
        "name": name,
        "version": str(metadata.get("version", "")),
        "task": str(metadata.get("task", "")),
        "folder": str(path),
        "networks": networks,
        "headline": _headline(path),
        "overlays": [{"name": each.stem, "about": _first_comment(each)} for each in overlays],
        "dataset": str(_mapping(card).get("name")) if card.is_file() else dataset[1] if dataset else None,
        "kind": bundle_kind(path),
        "generates": list((train.get("label_names") or {}).values()) if bundle_kind(path) == GENERATION else [],
    }


def _by_knobs(overlay: Path, train: Mapping[str, Any]) -> bool:
    """Whether an overlay that is nothing but a network's knobs says what the training does anyway."""
    knobs = _mapping(overlay)
    return "network_name" not in knobs and all(train.get(key) == value for key, value in knobs.items())


def _network(bundle: Path, name: str, counts: Mapping[str, Any], default: bool) -> Network:
    weights = bundle / "models" / f"{name}.safetensors"
    shipped = weights.is_file()
    return {
        "name": name,
        "default": default,
        "parameters": int(counts[name]) if name in counts else None,
        "weights": f"models/{weights.name}" if shipped else None,
        "weights_bytes": weights.stat().st_size if shipped else None,
    }


def _headline(bundle: Path) -> Headline | None:
    """The card's value of the metric that ``evaluate.yaml`` has as its key, or else of its first; None where there is
    none."""
    record = bundle / "docs" / "model_card.json"
    evaluate = bundle / "configs" / "evaluate.yaml"
    if not record.is_file():
        return None
    card, words = _mapping(record), bundle / "docs" / "model_card.yaml"
    figures = card.get("metrics", {})
    key = _mapping(evaluate).get("validate#key_metric") if evaluate.is_file() else figures
    metric = next(iter(key), "") if isinstance(key, dict) else ""
    found = figures.get(metric)
    if not isinstance(found, dict):
        return None
    return {
        "network": str(card.get("network", "")),
        "metric": str(metric),
        "estimate": found.get("estimate"),
        "low": found.get("low"),
        "high": found.get("high"),
        "n": int(found.get("n", 0)),
        "data": str((card.get("data") or {}).get("name", "")),
        "of_shipped_weights": bool((card.get("weights") or {}).get("measured")),
        "evidence": str(_mapping(words).get("evidence", "")) if words.is_file() else "",
    }


def _dataset(path: Path, bundles: list[BundleEntry]) -> DatasetEntry:
    card = _mapping(path)
    sources = [each for each in card.get("sources") or [] if isinstance(each, dict)]
    name = str(card.get("name", path.stem))
    classes = card.get("labels") or card.get("classes") or {}
    return {
        "name": name,
        "task": str(card.get("task", "")),
        "classes": {str(value): str(word) for value, word in classes.items()},
        "phantoms": any(each.get("name") == _PHANTOMS for each in sources),
        "bundles": [each["name"] for each in bundles if each["dataset"] == name],
        "layouts": [
            {
                "name": str(each.get("name", "")),
                "licence": str(each.get("licence", "")),
                "files": str(each["layout"]).splitlines(),
            }
            for each in sources
            if each.get("layout")
        ],
    }


def _stands_alone(config: Path) -> bool:
    """Whether a config is no overlay: it says where the bundle is."""
    return any(line.startswith("bundle_root:") for line in config.read_text(encoding="utf-8").splitlines())


def _first_comment(path: Path) -> str:
    """What a config's first line says of it."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""


def _mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UnreadableFileError(f"the file cannot be read ({error})", where=path, how="fetch it again") from error
    if not isinstance(content, dict):
        raise UnreadableFileError("the file is no mapping", where=path, how="fetch it again")
    return content
