"""The app folder that MONAI Label starts from, and what it is told about a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from pipelines.errors import ConfigError, UnreadableFileError, UsageError
from pipelines.labelling import label_python, prepare_app, server_command, server_environment
from pipelines.labelling.about import about_bundle, true, weights_file
from pipelines.labelling.environment import PYTHON
from pipelines.weights import read_weights, weights_digest

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SEVERITY = "covid_ct_severity_classification"


def test_a_bundle_gets_its_model_pt_of_the_weights_it_ships(tmp_path: Path) -> None:
    app = tmp_path / "app"
    copies = prepare_app(app, {SEVERITY: BUNDLES / SEVERITY})
    assert copies == {SEVERITY: app / "model" / SEVERITY}
    models = copies[SEVERITY] / "models"
    assert weights_digest(models / "model.pt") == weights_digest(models / "severity_shufflenet.safetensors")
    assert (models / "severity_shufflenet.calibration.json").is_file()
    assert "BundlesApp" in (app / "main.py").read_text()
    assert not (BUNDLES / SEVERITY / "models" / "model.pt").exists()


def test_what_was_trained_stays_and_goes_before_what_was_shipped(tmp_path: Path) -> None:
    (copy,) = prepare_app(tmp_path, {SEVERITY: BUNDLES / SEVERITY}).values()
    assert list(about_bundle(copy).weights) == ["model.pt"]
    (copy / "models" / "trained.pt").write_bytes(b"trained")
    (copy / "configs" / "inference.yaml").write_text("an older one")
    prepare_app(tmp_path, {SEVERITY: BUNDLES / SEVERITY})
    assert list(about_bundle(copy).weights) == ["trained.pt", "model.pt"]
    assert (copy / "models" / "trained.pt").read_bytes() == b"trained"
    assert (copy / "configs" / "inference.yaml").read_bytes() == (
        BUNDLES / SEVERITY / "configs" / "inference.yaml"
    ).read_bytes()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print('mine')")
    with pytest.raises(UsageError, match="holds something else"):
        prepare_app(tmp_path, {SEVERITY: BUNDLES / SEVERITY})
    assert [path.name for path in tmp_path.iterdir()] == ["main.py"]


def test_a_bundle_that_was_trained_and_ships_nothing_is_served_with_its_calibration(tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(BUNDLES / SEVERITY / "configs", own / "configs")
    trained = own / "models" / "severity_shufflenet"
    trained.mkdir(parents=True)
    shipped = BUNDLES / SEVERITY / "models" / "severity_shufflenet.safetensors"
    torch.save(read_weights(shipped), trained / "model.pt")
    shutil.copy(shipped.with_suffix(".calibration.json"), trained / "model.calibration.json")
    (copy,) = prepare_app(tmp_path / "app", {"own_classification": own}).values()
    assert weights_digest(copy / "models" / "model.pt") == weights_digest(shipped)
    assert (copy / "models" / "model.calibration.json").is_file()
    assert not about_bundle(copy).ships_weights


def test_a_bundle_without_weights_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(BUNDLES / SEVERITY / "configs", bare / "configs")
    with pytest.raises(UnreadableFileError, match="no weights are shipped for the network severity_shufflenet"):
        prepare_app(tmp_path / "app", {"bare": bare})


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("covid_ct_lesion_segmentation", "segmentation", {"lung": 1, "lesion": 2}),
        ("skin_lesion_segmentation", "segmentation", {"lesion": 1}),
        (SEVERITY, "classification", {"normal": 0, "mild": 1, "severe": 2}),
        ("chest_xray_pneumonia_classification", "classification", {"normal": 0, "pneumonia": 1}),
    ],
)
def test_a_mask_has_labels_without_the_background_and_a_class_has_all(
    name: str, kind: str, labels: dict[str, int]
) -> None:
    about = about_bundle(BUNDLES / name)
    assert (about.type, about.labels) == (kind, labels)


def test_another_kind_of_bundle_is_refused(tmp_path: Path) -> None:
    shutil.copytree(BUNDLES / SEVERITY / "configs", tmp_path / "configs")
    path = tmp_path / "configs" / "metadata.json"
    content = json.loads(path.read_text())
    content["network_data_format"]["outputs"]["pred"]["format"] = "reconstruction"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="reconstruction"):
        about_bundle(tmp_path)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        about_bundle(tmp_path)


def test_weights_are_chosen_by_name_or_by_the_list_that_was_offered(tmp_path: Path) -> None:
    (copy,) = prepare_app(tmp_path, {SEVERITY: BUNDLES / SEVERITY}).values()
    about = about_bundle(copy)
    assert weights_file(about, ["model.pt"]) == weights_file(about, "model.pt") == copy / "models" / "model.pt"
    for name in ("trained.pt", "../model.pt", None, []):
        with pytest.raises(UsageError, match=r"choose from model\.pt"):
            weights_file(about, name)


def test_a_choice_of_yes_or_no_comes_in_many_words() -> None:
    assert [true(value) for value in (True, "true", "True", "1", 1)] == [True] * 5
    assert [true(value) for value in (False, "false", "", None, 0)] == [False] * 5


def test_the_environment_that_is_named_is_taken_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "python"
    monkeypatch.setenv(PYTHON, str(named))
    with pytest.raises(UsageError, match="make label-env"):
        label_python()
    named.write_text("#!/bin/sh\n")
    named.chmod(0o755)
    assert label_python() == named


def test_without_an_environment_the_command_that_makes_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PYTHON, raising=False)
    monkeypatch.setattr("pipelines.labelling.environment._MADE", tmp_path / ".venv-label" / "bin" / "python")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"MONAI Label is not installed; make .* `make label-env`"):
        label_python()


def test_the_server_listens_on_this_machine_alone_and_fetches_nothing(tmp_path: Path) -> None:
    command = server_command(Path("python"), tmp_path, ["a", "b"], "studies", 8123, "sqlite:////x.db")
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("models") + 1] == "a,b"
    assert command[command.index("tracking_uri") + 1] == "sqlite:////x.db"
    environment = server_environment(tmp_path, tmp_path / "cache")
    assert environment["MONAI_LABEL_SESSION_PATH"].startswith(str(tmp_path))
    assert environment["MONAI_LABEL_DICOMWEB_CACHE_PATH"] == str(tmp_path / "cache")
    assert "*.jpeg" in json.loads(environment["MONAI_LABEL_DATASTORE_FILE_EXT"])
