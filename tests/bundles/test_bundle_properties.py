"""MONAI's own check of a bundle's properties, with everything instantiated on phantoms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_under_test import Bundle
from monai.utils import BundleProperty

pytestmark = pytest.mark.contract("supervised")


@pytest.mark.parametrize(
    ("kind", "names"),
    [("train", ["train"]), ("train", ["train", "evaluate"]), ("infer", ["inference"])],
    ids=["train", "train+evaluate", "inference"],
)
def test_check_properties_finds_nothing(
    bundle: Bundle, phantoms: Path, tmp_path: Path, kind: str, names: list[str]
) -> None:
    folders = {"dataset_dir": phantoms, "ckpt_dir": tmp_path / "ckpt", "output_dir": tmp_path / "out"}
    folders = {key: value for key, value in folders.items() if key in bundle.config(*names)}
    workflow = bundle.workflow(kind, *names, **folders)
    workflow.initialize()
    assert workflow.check_properties() == []
    optional = [
        name for name, each in workflow.properties.items() if not each[BundleProperty.REQUIRED] and name != "key_metric"
    ]
    assert [name for name in optional if getattr(workflow, name) is None] == []


def test_norm_layers_of_frozen_parts_stay_frozen(bundle: Bundle) -> None:
    for name in bundle.networks:
        network = bundle.network(name).train()
        for where, layer in network.named_modules():
            parameters = list(layer.parameters(recurse=False))
            norm = isinstance(layer, torch.nn.modules.batchnorm._NormBase)
            if norm and parameters and not any(each.requires_grad for each in parameters):
                assert not layer.training, f"{name}: {where} is frozen, and its statistics move"
