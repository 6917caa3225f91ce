"""What MONAI's model zoo and MONAI Label ask of a bundle that is handed in, regular and full.

The rules are those of ``pipelines.auditing.readiness``, which says where they were read; MONAI's own commands are held
against them here. Looked at is the copy that ``python -m pipelines bundles --copy DIR --model-pt`` makes, with weights
made at random where none are shipped (a bundle just begun passes once it is trained). The zoo also runs ``train``,
``evaluate`` and ``inference`` on made data, which ``test_bundle_commands`` does, and checks properties
(``test_bundle_properties``).
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

from pipelines.auditing.audit import audit
from pipelines.auditing.readiness import SCHEMA
from pipelines.bundle import copy_bundle
from pipelines.model_pt import write_model_pt

pytestmark = pytest.mark.contract("supervised")


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


def test_check_finds_nothing_that_the_zoo_or_monai_label_asks(bundle: Bundle, handed_in: Path) -> None:
    heavy = [] if bundle.shipped else ["zoo-large-file"]  # of weights made at random
    assert audit(handed_in, purposes=["zoo", "label"], ignore=heavy).findings == []


@pytest.mark.contract("weights")
def test_no_file_needs_to_be_fetched_from_elsewhere(handed_in: Path) -> None:
    assert list(handed_in.glob("large_files.*")) == []


def test_name_and_version_can_be_told_apart(handed_in: Path) -> None:
    """The zoo calls it NAME_vVERSION."""
    about = metadata(handed_in)
    found = re.fullmatch(r"(.+)_v(\d.*)", f"{handed_in.name}_v{about['version']}")
    assert found is not None
    assert found.groups() == (handed_in.name, about["version"])


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


def test_data_have_the_shape_that_is_said(handed_in: Path) -> None:
    monai.bundle.verify_net_in_out(**words(handed_in), device="cpu")


def test_weights_become_torchscript(handed_in: Path, tmp_path: Path) -> None:
    target = tmp_path / "verify_model.ts"
    weights = handed_in / "models" / "model.pt"
    monai.bundle.ckpt_export(**words(handed_in), filepath=str(target), ckpt_file=str(weights))
    loaded = torch.jit.load(target).state_dict()
    given = torch.load(weights, weights_only=True)
    assert all(torch.equal(loaded[key].cpu(), value.to(loaded[key].dtype)) for key, value in given.items())
