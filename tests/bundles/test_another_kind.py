"""A bundle of a kind that the contract does not know passes what any must, and a crooked one of it does not.

The bundle is written here, into a folder of bundles elsewhere: an autoencoder, trained by itself and against a critic.
It has no labels, no weights, no card, no ``train.yaml``, two optimisers, and two whole configs.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bundle_under_test import BUNDLES, OURS, PROJECT, Bundle, python
from kinds import has_trait

from pipelines.bundle import bundles_in

SHARED = """\
imports:
- $import torch
bundle_root: .
device: $torch.device('cpu')
epochs: 3
learning_rate: 0.01
autoencoder_def:
  _target_: AutoEncoder
  spatial_dims: 2
  in_channels: 1
  out_channels: 1
  channels: [4, 8]
  strides: [2, 2]
autoencoder: $@autoencoder_def.to(@device)
train:
  dataset:
    _target_: Dataset
    data: "$[{'image': torch.rand(1, 16, 16)} for _ in range(4)]"
  dataloader:
    _target_: DataLoader
    dataset: '@train#dataset'
    batch_size: 2
"""
RUN = """\
initialize:
- $monai.utils.set_determinism(seed=0)
run:
- $@train#trainer.run()
finalize: []
"""
ALONE = """\
  trainer:
    _target_: SupervisedTrainer
    device: '@device'
    max_epochs: '@epochs'
    train_data_loader: '@train#dataloader'
    prepare_batch: "$lambda batch, device, non_blocking: (batch['image'].to(device), batch['image'].to(device))"
    network: '@autoencoder'
    optimizer: '@optimizer'
    loss_function: $torch.nn.L1Loss()
optimizer:
  _target_: torch.optim.Adam
  params: $@autoencoder.parameters()
  lr: '@learning_rate'
"""
CRITIC = """\
  trainer:
    _target_: AdversarialTrainer
    device: '@device'
    max_epochs: '@epochs'
    train_data_loader: '@train#dataloader'
    prepare_batch: "$lambda batch, device, non_blocking: (batch['image'].to(device), batch['image'].to(device))"
    g_network: '@autoencoder'
    g_optimizer: '@optimizer'
    g_loss_function: "$lambda fake: -fake.mean()"
    recon_loss_function: $torch.nn.L1Loss()
    d_network: '@critic'
    d_optimizer: '@critic_optimizer'
    d_loss_function: "$lambda real, fake: fake.mean() - real.mean()"
critic_def:
  _target_: torch.nn.Conv2d
  in_channels: 1
  out_channels: 1
  kernel_size: 4
  stride: 4
critic: $@critic_def.to(@device)
optimizer:
  _target_: torch.optim.Adam
  params: $@autoencoder.parameters()
  lr: '@learning_rate'
critic_optimizer:
  _target_: torch.optim.Adam
  params: $@critic.parameters()
  lr: '@learning_rate'
"""
TENSOR = {
    "type": "image",
    "format": "magnitude",
    "num_channels": 1,
    "spatial_shape": ["4*n", "4*n"],
    "dtype": "float32",
    "value_range": [0, 1],
    "channel_def": {"0": "image"},
}
VERSIONS = ("schema", "monai_version", "pytorch_version", "numpy_version", "authors", "copyright")


def head(name: str) -> str:
    return f"# Trains on noise.\n# python -m monai.bundle run --config_file configs/{name}.yaml\n"


def write(root: Path) -> None:
    """An autoencoder as a bundle."""
    for folder in ("configs", "docs"):
        (root / folder).mkdir(parents=True)
    ours = next(iter(bundles_in(OURS).values()))
    for name in ("LICENSE", "configs/logging.conf"):
        (root / name).write_bytes((ours / name).read_bytes())
    known = json.loads((ours / "configs" / "metadata.json").read_text(encoding="utf-8"))
    about = {key: known[key] for key in VERSIONS} | {
        "version": "0.1.0",
        "changelog": {"0.1.0": "An autoencoder"},
        "required_packages_version": {"pytorch-ignite": known["required_packages_version"]["pytorch-ignite"]},
        "task": "Autoencoding of squares",
        "description": "A network gives back the square that it is given",
        "kind": "autoencoder",
        "network_data_format": {"inputs": {"image": TENSOR}, "outputs": {"reconstruction": TENSOR}},
    }
    (root / "configs" / "metadata.json").write_text(json.dumps(about))
    commands = ""
    for name, part in {"train_autoencoder": ALONE, "train_against_critic": CRITIC}.items():
        (root / "configs" / f"{name}.yaml").write_text(head(name) + SHARED + part + RUN)
        commands += f"\n```bash\npython -m monai.bundle run --config_file configs/{name}.yaml\n```\n"
    (root / "docs" / "README.md").write_text(f"# Squares\n{commands}")
    (root / "docs" / "data_license.txt").write_text("Source: drawn. Licence: none is needed. Citation: none.\n")


def spoil(root: Path) -> None:
    """Another network in one of the two configs, a reference that leads nowhere, a README without the other config."""
    path = root / "configs" / "train_against_critic.yaml"
    content = path.read_text().replace("channels: [4, 8]", "channels: [4, 16]")
    path.write_text(content.replace("params: $@critic.parameters()", "params: $@crtic.parameters()"))
    command = "python -m monai.bundle run --config_file configs/train_autoencoder.yaml"
    (root / "docs" / "README.md").write_text(f"<!-- not run: crooked -->\n```bash\n{command}\n```\n")


@dataclass(frozen=True)
class Outcome:
    """The contract's tests of one bundle, without its name."""

    passed: set[str]
    skipped: set[str]
    failed: set[str]


def outcomes(report: Path) -> dict[str, Outcome]:
    """By bundle, what became of its tests."""
    found: dict[str, Outcome] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        match = re.search(r"^(\w+)\[(?:.*-)?(\w+_autoencoder)\b", case.attrib["name"])
        assert match, case.attrib["name"]
        outcome = found.setdefault(match[2], Outcome(set(), set(), set()))
        said = {"failure": outcome.failed, "error": outcome.failed, "skipped": outcome.skipped}
        (said[case[0].tag] if len(case) else outcome.passed).add(match[1])
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """The contract, run over a folder with the bundle as it should be and a crooked one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write(folder / "bundles" / "right_autoencoder")
    write(folder / "bundles" / "crooked_autoencoder")
    spoil(folder / "bundles" / "crooked_autoencoder")
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env |= {"PIPELINES_BUNDLES": str(folder / "bundles"), "PYTHONPATH": str(PROJECT)}
    words = ["-m", "pytest", "tests/bundles", "-k", "_autoencoder", "-p", "no:cacheprovider", "-n0", "-q"]
    words += [f"--junitxml={folder / 'report.xml'}", f"--basetemp={folder / 'temporary'}"]
    python(words, PROJECT, {**env, "PYTHON_EXEC": sys.executable}, code=1)
    return outcomes(folder / "report.xml")


@pytest.mark.slow
@pytest.mark.thorough  # the contract's own test
def test_a_bundle_of_a_kind_that_is_not_known_passes_what_any_must(results: dict[str, Outcome]) -> None:
    right = results["right_autoencoder"]
    assert right.failed == set()
    assert right.passed >= {
        "test_commands_run",  # its two trainings
        "test_components_import_and_take_their_arguments",
        "test_metadata_have_what_the_schema_requires",
        "test_references_resolve",
        "test_tensors_are_described_in_full",
        "test_whole_configs_agree_in_what_they_share",
        "test_whole_configs_are_among_the_commands",
        "test_whole_configs_can_be_run",
    }
    assert right.skipped >= {
        "test_figures_worked_out_by_hand",
        "test_ids_that_monai_looks_for",
        "test_labels_are_the_same_everywhere",
        "test_model_card_is_in_step_with_its_record",
        "test_one_cycle_can_begin_however_few_its_steps",
        "test_supervised_bundles_agree_outside_the_stated_differences",
    }


@pytest.mark.slow
@pytest.mark.thorough  # the contract's own test
def test_a_crooked_one_does_not(results: dict[str, Outcome]) -> None:
    assert results["crooked_autoencoder"].failed - {"test_commands_run"} == {
        "test_check_finds_nothing",
        "test_references_resolve",
        "test_whole_configs_agree_in_what_they_share",
        "test_whole_configs_are_among_the_commands",
    }


def test_kinds_are_read_from_what_a_bundle_says(tmp_path: Path) -> None:
    write(tmp_path / "any")
    bundle = Bundle(tmp_path / "any")
    assert bundle.whole == ["train_against_critic", "train_autoencoder"]
    traits = ("supervised", "segmentation", "classification", "weights", "card", "schedule", "phantoms")
    assert [trait for trait in traits if has_trait(bundle, trait)] == []
    with pytest.raises(KeyError):
        has_trait(bundle, "supervized")
    del bundle.metadata["kind"]
    assert bundle.kind == ""
    bundle.metadata["network_data_format"]["outputs"] = {"pred": {"format": "segmentation"}}
    assert has_trait(bundle, "supervised")
    (tmp_path / "any" / "models").mkdir()
    (tmp_path / "any" / "models" / "autoencoder.safetensors").touch()
    assert has_trait(bundle, "weights") and has_trait(bundle, "card"), "weights without a card"  # noqa: PT018


@pytest.mark.skipif(bool(os.environ.get("PIPELINES_BUNDLES")), reason="bundles elsewhere are tested")
def test_the_first_four_bundles_have_all_that_they_had() -> None:
    """They are supervised, ship weights with a card, and have a schedule: no check of them is left out."""
    traits = ("supervised", "weights", "card", "schedule", "phantoms")
    full = [each for each in map(Bundle, BUNDLES) if all(has_trait(each, trait) for trait in traits)]
    assert len(full) >= 4
    assert {each.kind for each in full} == {"segmentation", "classification"}
    assert all(each.whole[:2] == ["train", "inference"] for each in full)
