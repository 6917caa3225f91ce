"""``models/model.pt`` of the shipped weights, by one command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from pipelines.__main__ import main
from pipelines.bundle import bundles_in
from pipelines.errors import UsageError
from pipelines.model_pt import default_weights, write_model_pt
from pipelines.weights import weights_digest

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"
SEVERITY = "covid_ct_severity_classification"


def test_one_command_makes_it_in_a_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles", SEVERITY, "--copy", str(tmp_path), "--model-pt"]) == 0
    path = tmp_path / SEVERITY / "models" / "model.pt"
    assert str(path) in capsys.readouterr().out
    assert weights_digest(path) == weights_digest(path.with_name("severity_shufflenet.safetensors"))
    assert all(isinstance(each, torch.Tensor) for each in torch.load(path, weights_only=True).values())


def test_one_command_makes_it_in_the_bundle_itself(tmp_path: Path) -> None:
    shutil.copytree(BUNDLES / SEVERITY, tmp_path / SEVERITY)
    assert main(["bundles", SEVERITY, "--model-pt", "--bundles", str(tmp_path)]) == 0
    assert (tmp_path / SEVERITY / "models" / "model.pt").is_file()


@pytest.mark.parametrize("name", sorted(bundles_in(BUNDLES)))
def test_every_bundle_ships_what_it_is_made_of(name: str) -> None:
    assert default_weights(BUNDLES / name).is_file()


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"inference\.yaml"):
        write_model_pt(tmp_path)
