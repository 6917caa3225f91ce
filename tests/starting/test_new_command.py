"""``python -m pipelines new``: what is written, where, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from PIL import Image

from pipelines import load_bundle
from pipelines.__main__ import main
from pipelines.datasets import files
from pipelines.errors import UnreadableFileError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.weights import save_weights

SKIN, CHEST, LUNGS = (
    "skin_lesion_segmentation",
    "chest_xray_pneumonia_classification",
    "covid_ct_lesion_segmentation",
)


def new(out: Path, name: str, like: str, *more: str) -> int:
    return main(["new", name, "--like", like, "--out", str(out), *more])


def config(out: Path, name: str, file: str) -> dict[str, Any]:
    return yaml.safe_load((out / "bundles" / name / "configs" / f"{file}.yaml").read_text())


def channels(out: Path, name: str, network: str) -> tuple[int, int]:
    definition = config(out, name, f"networks/{network}")["network_def"]
    return definition["in_channels"], definition["out_channels"]


def prepared_pictures(folder: Path, names: tuple[str, ...] = ("background", "mole")) -> Path:
    """A prepared folder of four small pictures with masks, its list written by hand."""
    content: dict[str, Any] = {"name": "drawn", "fingerprint": "none", "split": {"seed": 0, "rule": "by hand"}}
    content["labels"] = {str(value): name for value, name in enumerate(names)}
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number, section in enumerate(("training", "training", "validation", "test")):
        picture, mask = generator.integers(0, 255, (40, 48, 3), np.uint8), np.zeros((40, 48), np.uint8)
        mask[10:20, 10:30] = 1
        Image.fromarray(picture).save(folder / f"image{number}.png")
        Image.fromarray(mask).save(folder / f"label{number}.png")
        item = {"image": f"image{number}.png", "label": f"label{number}.png", "patient": f"p{number}"}
        content.setdefault(section, []).append(item | {"case": f"c{number}"})
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def test_one_label_is_one_logit_of_the_networks_that_it_is_like(tmp_path: Path, project: Path) -> None:
    assert new(tmp_path, "my_moles_segmentation", SKIN, "--labels", "mole") == 0
    train = config(tmp_path, "my_moles_segmentation", "train")
    assert train["label_names"] == {0: "background", 1: "mole"}
    assert train["loss"]["sigmoid"] is True
    assert train["experiment"] == "my_moles_segmentation"
    assert next(iter(train["validate"]["key_metric"])) == "val_mole_dice"
    there = {path.stem for path in (project / "bundles" / SKIN / "configs" / "networks").glob("*.yaml")}
    networks = tmp_path / "bundles" / "my_moles_segmentation" / "configs" / "networks"
    assert {path.stem for path in networks.glob("*.yaml")} == there
    assert all(channels(tmp_path, "my_moles_segmentation", each) == (3, 1) for each in there)
    skin = yaml.safe_load((project / "bundles" / SKIN / "configs" / "train.yaml").read_text())
    assert train["largest_component"] == skin["largest_component"], "its knobs are taken, too"
    assert train["network_name"] == skin["network_name"]


def test_several_labels_are_a_logit_each(tmp_path: Path) -> None:
    assert new(tmp_path, "organs_segmentation", "picture_segmentation", "--labels", "liver", "kidney") == 0
    inference = config(tmp_path, "organs_segmentation", "inference")
    assert inference["label_names"] == {0: "background", 1: "liver", 2: "kidney"}
    steps = {each["_target_"].rpartition(".")[2]: each for each in inference["postprocessing"]["transforms"]}
    assert steps["AsDiscreted"]["argmax"] is True
    assert steps["KeepProbabilitiesd"]["activation"] == "softmax"
    assert "threshold" not in inference
    assert channels(tmp_path, "organs_segmentation", "skips") == (3, 3)
    metadata = json.loads((tmp_path / "bundles" / "organs_segmentation" / "configs" / "metadata.json").read_text())
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background", "1": "liver", "2": "kidney",
    }  # fmt: skip


def test_like_a_bundle_of_slices_is_a_network_of_volumes(tmp_path: Path) -> None:
    assert new(tmp_path, "brain_segmentation", LUNGS, "--labels", "core", "edema") == 0
    definition = config(tmp_path, "brain_segmentation", "train")["network_def"]
    assert (definition["spatial_dims"], definition["in_channels"], definition["out_channels"]) == (3, 1, 3)
    assert len(config(tmp_path, "brain_segmentation", "inference")["roi_size"]) == 3


@pytest.mark.parametrize("classes", [("good", "bad"), ("a", "b", "c")], ids=len)
def test_classes_are_those_of_the_networks(tmp_path: Path, classes: tuple[str, ...]) -> None:
    """A network with one logit for two classes (``as_two_classes``) has one a class where there are more."""
    assert new(tmp_path, "cells_classification", CHEST, "--classes", *classes) == 0
    assert config(tmp_path, "cells_classification", "train")["label_names"] == dict(enumerate(classes))
    definition = config(tmp_path, "cells_classification", "networks/chest_cnn")["network_def"]
    assert definition.get("as_two_classes", False) is (len(classes) == 2)
    assert channels(tmp_path, "cells_classification", "chest_cnn") == (3, 1 if len(classes) == 2 else len(classes))
    assert channels(tmp_path, "cells_classification", "mobilenet_v2") == (3, len(classes))


def test_labels_and_place_come_from_prepared_data(tmp_path: Path) -> None:
    data = prepared_pictures(tmp_path / "project" / "data" / "moles")
    assert new(tmp_path / "project", "moles_segmentation", "picture_segmentation", "--data", str(data)) == 0
    train = config(tmp_path / "project", "moles_segmentation", "train")
    assert train["label_names"] == {0: "background", 1: "mole"}
    assert train["dataset_dir"] == "$bundle.project_root(@root) + '/data/moles'"
    load_datalist(data, labels=train["label_names"])


def test_it_is_found_by_list_predict_and_load_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PIPELINES_BUNDLES", raising=False)
    monkeypatch.chdir(tmp_path)
    data = prepared_pictures(tmp_path / "raw")
    assert new(tmp_path, "moles_segmentation", SKIN, "--data", str(data)) == 0
    said = capsys.readouterr().out
    assert "--config_file bundles/moles_segmentation/configs/train.yaml" in said
    assert "python -m pipelines predict moles_segmentation " in said
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["bundles"]] == ["moles_segmentation"]
    card = next(each for each in found["datasets"] if each["name"] == found["bundles"][0]["dataset"])
    assert card["name"] == "raw"
    assert card["classes"] == {"0": "background", "1": "mole"}
    assert main(["predict", "moles_segmentation", str(data), "--out", "out"]) == UnreadableFileError.exit_code
    said = capsys.readouterr().err
    assert "not trained yet" in said
    assert "python -m monai.bundle run --config_file bundles/moles_segmentation/configs/train.yaml" in said
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    with pytest.raises(UnreadableFileError, match="not trained yet"):
        load_bundle("moles_segmentation")


def test_what_was_trained_is_used_without_a_word_and_what_is_shipped_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINES_BUNDLES", raising=False)
    monkeypatch.chdir(tmp_path)
    assert new(tmp_path, "moles_segmentation", SKIN, "--labels", "mole") == 0
    network = ConfigParser(config(tmp_path, "moles_segmentation", "inference")).get_parsed_content("network_def")
    folder = tmp_path / "bundles" / "moles_segmentation" / "models"
    (folder / "skips").mkdir()
    torch.save(network.state_dict(), folder / "skips" / "model.pt")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8))
    said = load_bundle("moles_segmentation")(picture).report
    assert said["weights"] == "model.pt"
    save_weights(network, folder / "skips.safetensors")
    assert load_bundle("moles_segmentation")(picture).report["weights"] == "skips.safetensors"


FAULTS = {
    "another kind in the name": (["moles", "--like", SKIN, "--labels", "mole"], "call it moles_segmentation"),
    "no name": (["my-moles_segmentation", "--like", SKIN, "--labels", "mole"], "letters, digits and underscores"),
    "a path": (["../moles_segmentation", "--like", SKIN, "--labels", "mole"], "letters, digits and underscores"),
    "unknown": (["a_segmentation", "--like", "skin", "--labels", "mole"], f"{SKIN}.*volume_segmentation"),
    "classes of masks": (["a_segmentation", "--like", SKIN, "--classes", "a", "b"], "--labels"),
    "one class": (["a_classification", "--like", CHEST, "--classes", "a"], "at least 2"),
    "twice": (["a_segmentation", "--like", SKIN, "--labels", "a", "a"], "twice"),
    "a label with a space": (["a_segmentation", "--like", SKIN, "--labels", "left lung"], "'left lung' is no name"),
    "nothing known": (["a_segmentation", "--like", SKIN], "--data DIR"),
    "no folder": (["a_segmentation", "--like", SKIN, "--data", "nowhere"], "no such folder"),
}


@pytest.mark.parametrize(("words", "said"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["new", *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(said, error), error
    assert not (tmp_path / "out").exists()


def test_data_of_another_kind_or_with_other_labels_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepared_pictures(tmp_path / "data")
    assert new(tmp_path, "a_segmentation", "volume_segmentation", "--data", str(data)) == 2
    assert "--like picture_segmentation" in capsys.readouterr().err
    assert new(tmp_path, "a_classification", "picture_classification", "--data", str(data)) == 2
    assert "the cases have masks" in capsys.readouterr().err
    assert new(tmp_path, "a_segmentation", SKIN, "--data", str(data), "--labels", "wart") == 2
    assert "leave out --labels" in capsys.readouterr().err
    assert not (tmp_path / "bundles").exists()


def test_nothing_is_replaced_and_nothing_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert new(tmp_path, "a_segmentation", SKIN, "--labels", "mole") == 0
    before = (tmp_path / "bundles" / "a_segmentation" / "configs" / "train.yaml").read_bytes()
    assert new(tmp_path, "a_segmentation", SKIN, "--labels", "wart") == 2
    assert "it is there already" in capsys.readouterr().err
    assert (tmp_path / "bundles" / "a_segmentation" / "configs" / "train.yaml").read_bytes() == before

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.starting.files_of_bundle.metadata", full)
    assert new(tmp_path, "b_segmentation", SKIN, "--labels", "mole") == 19
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == ["a_segmentation"]


def test_a_bundle_begun_here_is_what_another_is_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPELINES_BUNDLES", raising=False)
    monkeypatch.chdir(tmp_path)
    assert new(tmp_path, "first_segmentation", "volume_segmentation", "--labels", "liver") == 0
    assert main(["new", "second_segmentation", "--like", "first_segmentation", "--labels", "a", "b"]) == 0
    assert channels(tmp_path, "second_segmentation", "small_unet") == (1, 3)
    shipped = ["new", "third_segmentation", "--like", SKIN, "--labels", "a"]
    assert main(shipped) == 0, "those that are shipped stay known"


def test_the_value_0_is_background_whatever_the_data_call_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    assert (
        main(["data", "phantom", "pairs", "--dims", "2", "--cases", "8", "--size", "48", "--raw", "--out", str(raw)])
        == 0
    )
    (raw / "labels.json").write_text(json.dumps({"0": "Background", "1": "mole", "2": "hair"}))
    words = ["new", "mole_segmentation", "--like", "picture_segmentation", "--out", str(tmp_path / "mine")]
    assert main([*words, "--data", str(raw)]) == 0
    train = yaml.safe_load((tmp_path / "mine" / "bundles" / "mole_segmentation" / "configs" / "train.yaml").read_text())
    assert train["label_names"] == {0: "background", 1: "mole", 2: "hair"}
    prepared = tmp_path / "mine" / "data" / "mole_segmentation"
    assert files(prepared, "datalist.json", "training", labels=train["label_names"])
    content = json.loads((prepared / "datalist.json").read_text())
    content["labels"]["0"] = "bg"
    (prepared / "datalist.json").write_text(json.dumps(content))
    capsys.readouterr()
    words = ["new", "other_segmentation", "--like", "picture_segmentation", "--out", str(tmp_path / "mine")]
    assert main([*words, "--data", str(prepared)]) == UsageError.exit_code
    assert "the value 0 of its masks is called 'bg'" in capsys.readouterr().err
