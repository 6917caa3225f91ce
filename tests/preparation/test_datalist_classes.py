"""A datalist whose cases are each of a class, and have no mask."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.datasets import cases_to_segment, files
from pipelines.errors import DatalistError
from pipelines.preparation.datalist import fingerprint, load_datalist

CLASSES = {0: "normal", 1: "pneumonia"}
Edit = Callable[[Callable[[dict[str, Any]], Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared folder by its list alone: six cases, the files' contents do not matter."""
    root = tmp_path / "prepared"
    (root / "images").mkdir(parents=True)
    items = []
    for i in range(6):
        (root / "images" / f"{i}.png").write_bytes(f"image {i}".encode())
        subtype = "virus" if i == 3 else None
        items.append(
            {"image": f"images/{i}.png", "label": i % 2, "patient": f"p{i}", "case": str(i), "subtype": subtype}
        )
    content = {
        "classes": {"0": "normal", "1": "pneumonia"},
        "facts": {"subtype": []},
        "fingerprint": fingerprint((root / item["image"], item["label"]) for item in items),
        "training": items[:2],
        "validation": items[2:4],
        "test": items[4:],
    }
    (root / "datalist.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def edit(folder: Path) -> Edit:
    def change(function: Callable[[dict[str, Any]], Any]) -> None:
        content = json.loads((folder / "datalist.json").read_text())
        function(content)
        (folder / "datalist.json").write_text(json.dumps(content))

    return change


def test_classes_come_back_as_numbers_and_subtypes_as_words(folder: Path) -> None:
    load_datalist(folder, verify=True, classes={"0": "normal", "1": "pneumonia"})
    first, second = files(folder, "datalist.json", "validation", classes=CLASSES)
    image = str(folder / "images" / "2.png")
    assert first == {"image": image, "label": 0, "patient": "p2", "case": "2", "subtype": "unknown"}
    assert (second["label"], second["subtype"]) == (1, "virus")


def test_a_changed_class_changes_the_fingerprint(folder: Path, edit: Edit) -> None:
    edit(lambda c: c["test"][0].update(label=1))
    load_datalist(folder)
    with pytest.raises(DatalistError, match="fingerprint differs"):
        load_datalist(folder, verify=True)


def test_equal_images_are_found(folder: Path) -> None:
    shutil.copy(folder / "images" / "0.png", folder / "images" / "4.png")
    with pytest.raises(DatalistError, match="images of cases 0 and 4 are equal"):
        load_datalist(folder, verify=True)


@pytest.mark.parametrize("label", [2, -1, "1", True, 1.0, None, "images/0.png"])
def test_a_label_that_is_none_of_the_classes(folder: Path, edit: Edit, label: Any) -> None:
    edit(lambda c: c["training"][1].update(label=label))
    with pytest.raises(DatalistError, match=r"the label of case 1 is .*one of 0, 1 is due"):
        load_datalist(folder)


def test_other_classes_than_are_due(folder: Path) -> None:
    with pytest.raises(DatalistError, match="classes are 0 normal, 1 pneumonia, and 0 normal, 1 covid are due"):
        files(folder, "datalist.json", "test", classes={0: "normal", 1: "covid"})


def test_a_list_of_classes_where_masks_are_due_and_the_other_way_round(folder: Path, edit: Edit) -> None:
    skin = {0: "background", 1: "lesion"}
    with pytest.raises(DatalistError, match="classes are 0 normal, 1 pneumonia, and the labels 0 background"):
        files(folder, "datalist.json", "test", labels=skin)
    edit(lambda c: c.update(labels=c["classes"]))
    with pytest.raises(DatalistError, match="labels and classes, and one of the two is due"):
        load_datalist(folder)
    edit(lambda c: c.pop("classes"))
    with pytest.raises(DatalistError, match="an entry lacks one of image, label"):  # a number is no mask
        load_datalist(folder)


@pytest.mark.parametrize("classes", [None, {}, {"0": "normal"}, {"1": "normal", "2": "pneumonia"}, ["a", "b"]])
def test_classes_that_are_none(folder: Path, edit: Edit, classes: Any) -> None:
    edit(lambda c: c.update(classes=classes))
    with pytest.raises(DatalistError, match=r"the classes are .* a name for each of 0, 1, \.\.\. is due"):
        load_datalist(folder)


@pytest.mark.parametrize("subtype", ["", 1, ["virus"]])
def test_a_subtype_that_is_no_word(folder: Path, edit: Edit, subtype: Any) -> None:
    edit(lambda c: c["training"][0].update(subtype=subtype))
    with pytest.raises(DatalistError, match="the subtype of case 0 is"):
        load_datalist(folder)


def test_without_a_source_the_cases_of_a_section_are_meant(folder: Path) -> None:
    plain = cases_to_segment(None, folder, "datalist.json")
    assert plain == [{"image": str(folder / "images" / f"{i}.png"), "case": str(i)} for i in (4, 5)]
    known = cases_to_segment(None, folder, "datalist.json", section="all", truth=True)
    assert [(item["case"], item["label"], item["subtype"]) for item in known[2:4]] == [
        ("2", 0, "unknown"),
        ("3", 1, "virus"),
    ]
    assert {"patient", "label"} <= set(known[0])
    assert "label_file" not in known[0]
