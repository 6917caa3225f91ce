"""Phantoms of the general layouts with names, and so numbers, of labels and classes of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipelines.__main__ import main
from pipelines.preparation.datalist import load_datalist


def values(folder: Path) -> list[int]:
    """What masks of a prepared folder hold."""
    masks = [item["label"] for item in load_datalist(folder)["training"]]
    arrays = [np.asarray(nib.load(m).dataobj if m.endswith(".gz") else Image.open(m)) for m in masks]
    return np.unique(np.concatenate([each.ravel() for each in arrays])).tolist()


@pytest.mark.parametrize("dims", ["2", "3"])
@pytest.mark.parametrize("labels", [["mole"], ["core", "edema"], ["a", "b", "c", "d"]], ids=len)
def test_masks_hold_as_many_labels_as_are_named(tmp_path: Path, dims: str, labels: list[str]) -> None:
    words = [
        "data",
        "phantom",
        "pairs",
        "--dims",
        dims,
        "--cases",
        "4",
        "--size",
        "48",
        "--out",
        str(tmp_path / "data"),
    ]
    assert main([*words, "--labels", "background", *labels]) == 0
    content = load_datalist(tmp_path / "data", labels=dict(enumerate(["background", *labels])))
    assert content["phantom"] is True
    assert values(tmp_path / "data") == list(range(len(labels) + 1))


def test_classes_are_called_as_they_are_named_and_look_different(tmp_path: Path) -> None:
    names = ["e", "d", "c", "b"]
    words = ["data", "phantom", "classes", "--cases", "12", "--size", "48", "--out", str(tmp_path / "data")]
    assert main([*words, "--names", *names]) == 0
    content = load_datalist(tmp_path / "data", classes=dict(enumerate(names)))
    items = [item for section in ("training", "validation", "test") for item in content[section]]
    of_class = {
        number: np.mean(
            [np.asarray(Image.open(each["image"])).mean((0, 1)) for each in items if each["label"] == number], 0
        )
        for number in range(4)
    }
    assert np.abs(of_class[0] - of_class[3]).max() > 3, "the same shape in another colour"


@pytest.mark.parametrize(
    "words",
    [
        ["pairs", "--labels", "background"],
        ["pairs", "--labels", "background", "a", "a"],
        ["classes", "--names", "a"],
        ["classes", "--names", "a", "a"],
    ],
    ids=" ".join,
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "phantom", *words, "--out", str(tmp_path / "data")]) == 2
    assert "name" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_the_raw_folder_says_the_names(tmp_path: Path) -> None:
    words = ["data", "phantom", "pairs", "--raw", "--cases", "1", "--size", "48", "--out", str(tmp_path / "raw")]
    assert main([*words, "--labels", "background", "mole"]) == 0
    assert json.loads((tmp_path / "raw" / "labels.json").read_text()) == {"1": "mole"}
