"""What MONAI's model zoo and MONAI Label ask of a bundle.

The zoo's rules were read in https://github.com/Project-MONAI/model-zoo (branch dev, 2025): ``ci/verify_bundle.py``,
``ci/get_bundle_requirements.py``, ``ci/utils.py`` and ``CONTRIBUTING.md``; the metadata's schema is
https://project-monai.github.io/schema/meta_schema_20240725.json, written down here in other words, because nothing is
fetched. MONAI Label's are those of ``monailabel/tasks/infer/bundle.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.auditing.contents import METADATA, Contents, has
from pipelines.auditing.findings import Finding
from pipelines.auditing.licences import LICENCES
from pipelines.auditing.stated_hashes import large_files
from pipelines.auditing.versions import asked_for, exact

LARGEST = 25_000_000  # bytes of one file in the zoo
TEXTS = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors",
    "copyright", "data_source", "data_type", "image_classes", "label_classes", "pred_classes", "intended_use",
)  # fmt: skip
TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "format", "dtype")},
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["string", "integer"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
}
VALUES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": ["number", "string", "boolean"]}, TENSOR]},
}
FORMAT: dict[str, Any] = {
    "type": "object",
    "required": ["inputs", "outputs"],
    "properties": dict.fromkeys(("inputs", "outputs", "post_processed_outputs"), VALUES),
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2019-09/schema",
    "type": "object",
    "required": [*TEXTS[:9], "required_packages_version", "network_data_format"],
    "properties": {
        **{name: {"type": "string"} for name in TEXTS},
        **{name: {"type": "object"} for name in ("changelog", "required_packages_version", "eval_metrics")},
        "references": {"type": "array", "items": {"type": "string"}},
        "supported_apps": {"type": "object"},
    },
    "patternProperties": {"^[_a-zA-Z0-9]+_data_format$": FORMAT},
}
INFERENCE_IDS = ("bundle_root", "device", "network_def", "inferer", "output_dir")
TRAIN_IDS = (
    "bundle_root", "device", "dataset_dir", "val_interval", "train#trainer", "train#trainer#max_epochs",
    "train#dataset",
    "train#dataset#data", "train#handlers", "train#preprocessing", "train#postprocessing", "train#key_metric",
    "validate#evaluator", "validate#handlers", "validate#dataset", "validate#key_metric",
)  # fmt: skip
_LABEL_IDS = ("bundle_root", "device", "network_def")
_ONE_OF = (("preprocessing", "pre_transforms"), ("postprocessing", "post_transforms"))


def check_zoo(contents: Contents) -> Iterator[Finding]:
    """What the zoo's own checks would refuse, as far as nothing needs to run."""
    fetched = {str(entry.get("path")) for _, _, entry in large_files(contents)}
    there = contents.files.keys() | fetched
    for names in (LICENCES, (METADATA,), ("docs/README.md",), ("models/model.pt",), _configs("inference")):
        if not any(name in there for name in names):
            yield Finding("zoo-files", names[0], 0, "it is missing")
    for name, path in contents.files.items():
        if path.is_file() and path.stat().st_size > LARGEST and name not in fetched:
            yield Finding("zoo-large-file", name, 0, f"it has {path.stat().st_size / 1e6:.0f} MB")
    about = contents.about
    if about:
        yield from _check_schema(contents)
        changes, version = about.get("changelog"), about.get("version")
        if not isinstance(changes, dict) or version not in changes:
            yield Finding(
                "zoo-version", METADATA, contents.metadata.line("version"), f"changelog does not have {version}"
            )
    for id, package, version in asked_for(contents):
        if exact(package, version) is None:
            yield Finding(
                "zoo-packages", METADATA, contents.metadata.line(id), f"{package}=={version} cannot be installed"
            )
    for name, ids in (("inference", INFERENCE_IDS), ("train", TRAIN_IDS)):
        layers = contents.layers(name)
        if layers is not None:
            missing = [id for id in ids if not has(layers.config, id)]
            if missing:
                yield Finding("zoo-ids", layers.documents[0].file, 0, f"it has no {', '.join(missing)}")


def check_label(contents: Contents) -> Iterator[Finding]:
    """What MONAI Label needs to offer the bundle's model."""
    layers = contents.layers("inference")
    if layers is None or layers.documents[0].file not in _configs("inference"):
        yield Finding("label-config", "configs/inference.json", 0, "there is no inference.json or inference.yaml")
    else:
        missing = [id for id in _LABEL_IDS if id not in layers.config]
        missing += [names[0] for names in _ONE_OF if not any(name in layers.config for name in names)]
        if missing:
            yield Finding("label-config", layers.documents[0].file, 0, f"it has no {', '.join(missing)}")
    fetched = {str(entry.get("path")) for _, _, entry in large_files(contents)}
    if not (contents.files.keys() | fetched) & {"models/model.pt", "models/model.ts"}:
        yield Finding("label-weights", "models/model.pt", 0, "there is neither models/model.pt nor models/model.ts")
    names = contents.tensor("outputs").get("channel_def")
    if not contents.tensor("inputs") or not isinstance(names, dict) or not names:
        line = contents.metadata.line("network_data_format")
        yield Finding("label-labels", METADATA, line, "the first output of network_data_format has no channel_def")


def _configs(name: str) -> tuple[str, ...]:
    return tuple(f"configs/{name}.{ending}" for ending in ("json", "yaml"))


def _check_schema(contents: Contents) -> Iterator[Finding]:
    from jsonschema import Draft201909Validator  # some tenths of a second

    for fault in Draft201909Validator(SCHEMA).iter_errors(contents.about):
        id = "#".join(str(part) for part in fault.absolute_path)
        what = f"{id}: {fault.message}" if id else fault.message
        yield Finding(
            "zoo-metadata", METADATA, contents.metadata.line(id), what if len(what) < 200 else f"{what[:199]}…"
        )
