"""What MONAI's model zoo asks of a bundle that is handed in, regular and full.

The rules were read in https://github.com/Project-MONAI/model-zoo (branch dev, 2025): ``ci/verify_bundle.py``,
``ci/get_bundle_requirements.py``, ``ci/utils.py`` and ``CONTRIBUTING.md``; the metadata's schema is
https://project-monai.github.io/schema/meta_schema_20240725.json, written down here in other words, because tests fetch
nothing. Looked at is the copy that ``python -m pipelines bundles --copy DIR --model-pt`` makes, with weights made at
random where none are shipped (a bundle just begun passes once it is trained). The zoo also runs ``train``, ``evaluate``
and ``inference`` on made data, which ``test_bundle_commands`` does, and checks properties (``test_bundle_properties``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
from bundle_under_test import Bundle
from packaging.requirements import Requirement

from pipelines.bundle import copy_bundle
from pipelines.model_pt import write_model_pt

pytestmark = pytest.mark.contract("supervised")
LARGEST = 25_000_000  # bytes of one file
TEXTS = (
    "schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors",
    "copyright", "data_source", "data_type", "image_classes", "label_classes", "pred_classes", "intended_use",
)  # fmt: skip
TENSOR = {
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
VALUES = {"type": "object", "additionalProperties": {"anyOf": [{"type": ["number", "string", "boolean"]}, TENSOR]}}
FORMAT = {
    "type": "object",
    "required": ["inputs", "outputs"],
    "properties": dict.fromkeys(("inputs", "outputs", "post_processed_outputs"), VALUES),
}
SCHEMA = {
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


@pytest.fixture(scope="module")
def handed_in(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's folder as the zoo gets it."""
    folder = copy_bundle(bundle.root, tmp_path_factory.mktemp("models") / bundle.name)
    if bundle.default in bundle.shipped:
        write_model_pt(bundle.root, folder)
    else:
        torch.save(bundle.network(bundle.default).state_dict(), folder / "models" / "model.pt")
    return folder


def metadata(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))


def words(folder: Path) -> dict[str, str]:
    """What each of its commands of MONAI is given."""
    return {
        "net_id": "network_def",
        "meta_file": str(folder / "configs" / "metadata.json"),
        "config_file": str(folder / "configs" / "inference.yaml"),
        "bundle_root": str(folder),
    }


def test_necessary_and_preferred_files_are_there(handed_in: Path) -> None:
    for name in ("LICENSE", "configs/metadata.json", "models/model.pt", "configs/inference.yaml", "docs/README.md"):
        assert (handed_in / name).is_file(), name


@pytest.mark.contract("weights")
def test_no_file_needs_to_be_fetched_from_elsewhere(handed_in: Path) -> None:
    large = {path.name: path.stat().st_size for path in handed_in.rglob("*") if path.is_file()}
    assert {name: size for name, size in large.items() if size > LARGEST} == {}
    assert list(handed_in.glob("large_files.*")) == []


def test_name_and_version_can_be_told_apart(handed_in: Path) -> None:
    """The zoo calls it NAME_vVERSION, and the version is one of the changelog."""
    about = metadata(handed_in)
    found = re.fullmatch(r"(.+)_v(\d.*)", f"{handed_in.name}_v{about['version']}")
    assert found is not None
    assert found.groups() == (handed_in.name, about["version"])
    assert about["version"] in about["changelog"]


def test_metadata_follow_the_schema(handed_in: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    monai.bundle.verify_metadata(meta_file=str(handed_in / "configs" / "metadata.json"), filepath=str(schema))


@pytest.mark.parametrize("spoil", ["task", "network_data_format"])
def test_metadata_that_do_not_are_found(handed_in: Path, tmp_path: Path, spoil: str) -> None:
    about = metadata(handed_in)
    if spoil == "task":
        del about["task"]
    else:
        about["network_data_format"]["outputs"]["pred"]["num_channels"] = "two"
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "metadata.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="schema"):
        monai.bundle.verify_metadata(str(tmp_path / "metadata.json"), filepath=str(tmp_path / "schema.json"))


def test_metadata_have_what_the_hub_shows(handed_in: Path) -> None:
    """Its page shows name, description, authors and references; ``huggingface_url`` is read of models that live on the
    hub alone, and is empty for one that nobody put there."""
    about = metadata(handed_in)
    for key in ("name", "description", "authors"):
        assert about[key].strip(), key
    assert isinstance(about["references"], list)
    assert re.fullmatch(r"(https://huggingface\.co/[\w.-]+/[\w.-]+(/.*)?)?", about["huggingface_url"])


def test_licence_of_the_metadata_is_that_of_the_file(handed_in: Path) -> None:
    text = (handed_in / "LICENSE").read_text(encoding="utf-8")
    assert metadata(handed_in)["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0" in text


def test_packages_can_be_installed_by_their_versions(handed_in: Path) -> None:
    about = metadata(handed_in)
    named = {"monai": about["monai_version"], "torch": about["pytorch_version"], "numpy": about["numpy_version"]}
    for name, version in (named | about["required_packages_version"]).items():
        assert str(Requirement(f"{name}=={version}")) == f"{name}=={version}"


def test_configs_have_the_ids_that_the_zoo_names(handed_in: Path) -> None:
    inference = monai.bundle.ConfigParser.load_config_file(str(handed_in / "configs" / "inference.yaml"))
    train = monai.bundle.ConfigParser.load_config_file(str(handed_in / "configs" / "train.yaml"))
    assert inference.keys() >= {"bundle_root", "device", "network_def", "inferer", "output_dir"}
    assert train.keys() >= {"bundle_root", "device", "dataset_dir", "val_interval", "train", "validate"}
    assert train["train"].keys() >= {"trainer", "dataset", "handlers", "preprocessing", "postprocessing", "key_metric"}
    assert train["validate"].keys() >= {"evaluator", "handlers", "dataset", "key_metric"}
    assert "max_epochs" in train["train"]["trainer"]
    assert "data" in train["train"]["dataset"]


def test_no_path_of_a_person_is_in_it(handed_in: Path) -> None:
    for path in (each for part in ("configs", "docs") for each in (handed_in / part).rglob("*") if each.is_file()):
        if path.suffix in (".yaml", ".json", ".md", ".txt", ".conf"):
            assert not re.search(r"(?<![\w.])/(home|Users|root)/\w", path.read_text(encoding="utf-8")), path


def test_data_have_the_shape_that_is_said(handed_in: Path) -> None:
    monai.bundle.verify_net_in_out(**words(handed_in), device="cpu")


def test_weights_become_torchscript(handed_in: Path, tmp_path: Path) -> None:
    target = tmp_path / "verify_model.ts"
    weights = handed_in / "models" / "model.pt"
    monai.bundle.ckpt_export(**words(handed_in), filepath=str(target), ckpt_file=str(weights))
    loaded = torch.jit.load(target).state_dict()
    given = torch.load(weights, weights_only=True)
    assert all(torch.equal(loaded[key].cpu(), value.to(loaded[key].dtype)) for key, value in given.items())
