"""Item 9 of bad-inputs.md for lists, and what a list promises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.datasets import files
from pipelines.errors import DatalistError
from pipelines.preparation.datalist import fingerprint, load_datalist


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared folder by its list alone: six cases, the files' contents do not matter."""
    root = tmp_path / "prepared"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    items = []
    for i in range(6):
        for kind in ("images", "labels"):
            (root / kind / f"{i}.png").write_bytes(f"{kind}{i}".encode())
        paths = {"image": f"images/{i}.png", "label": f"labels/{i}.png"}
        items.append({**paths, "patient": f"p{i}", "case": str(i), "lung": "derived"})
    content = {
        "labels": {"0": "background", "1": "lung", "2": "lesion"},
        "facts": {"lung": ["reference", "derived"], "diagnosis": []},
        "fingerprint": fingerprint((root / i["image"], root / i["label"]) for i in items),
        "training": items[:3],
        "validation": items[3:4],
        "test": items[4:],
    }
    (root / "datalist.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def edit(folder: Path) -> Callable[[Callable[[dict[str, Any]], Any]], None]:
    def change(function: Callable[[dict[str, Any]], Any]) -> None:
        content = json.loads((folder / "datalist.json").read_text())
        function(content)
        (folder / "datalist.json").write_text(json.dumps(content))

    return change


LABELS = {0: "background", 1: "lung", 2: "lesion"}


def refused(folder: Path, words: str, verify: bool = False) -> None:
    with pytest.raises(DatalistError, match=words) as caught:
        load_datalist(folder, verify=verify, labels=LABELS)
    assert "datalist.json" in str(caught.value)


def test_paths_come_back_absolute(folder: Path) -> None:
    content = load_datalist(folder, verify=True)
    assert [Path(i["image"]) for i in content["test"]] == [folder / "images" / f"{i}.png" for i in (4, 5)]
    assert files(folder, "datalist.json", "validation") == content["validation"]


def test_patient_in_two_splits(folder: Path, edit) -> None:
    edit(lambda c: c["test"][0].update(patient="p1"))
    refused(folder, "patient p1 is in training and in test")


def test_case_listed_twice(folder: Path, edit) -> None:
    edit(lambda c: c["training"].append(c["training"][0]))
    refused(folder, "case 0 is listed twice")


def test_file_listed_twice(folder: Path, edit) -> None:
    edit(lambda c: c["training"][1].update(image="images/../images/0.png"))
    refused(folder, "listed twice")


def test_equal_images_under_two_names(folder: Path, edit) -> None:
    shutil.copy(folder / "images" / "0.png", folder / "images" / "5.png")
    refused(folder, "images of cases 0 and 5 are equal", verify=True)


def test_changed_file(folder: Path) -> None:
    (folder / "labels" / "0.png").write_bytes(b"other")
    load_datalist(folder)
    refused(folder, "fingerprint differs", verify=True)


@pytest.mark.parametrize("section", ["training", "validation", "test"])
def test_empty_split(folder: Path, edit, section: str) -> None:
    edit(lambda c: c.update({section: []}))
    refused(folder, f"{section} split is empty")


def test_missing_file(folder: Path) -> None:
    (folder / "labels" / "2.png").unlink()
    refused(folder, "labels/2.png' is missing")


@pytest.mark.parametrize("path", ["../outside.png", "/etc/hostname", "images/\0.png"])
def test_path_that_leaves_the_folder(folder: Path, edit, path: str) -> None:
    (folder.parent / "outside.png").write_bytes(b"x")
    edit(lambda c: c["training"][0].update(image=path))
    refused(folder, "leaves the folder")


def test_link_that_leaves_the_folder(folder: Path) -> None:
    (folder.parent / "outside.png").write_bytes(b"x")
    (folder / "images" / "1.png").unlink()
    (folder / "images" / "1.png").symlink_to(folder.parent / "outside.png")
    refused(folder, "leaves the folder")


def test_other_labels(folder: Path, edit) -> None:
    edit(lambda c: c.update(labels={"0": "background", "1": "lesion", "2": "lung"}))
    refused(
        folder, "this datalist's labels are 0 background, 1 lesion, 2 lung, and 0 background, 1 lung, 2 lesion are due"
    )


def test_labels_of_another_number(folder: Path, edit) -> None:
    edit(lambda c: c.update(labels={"0": "background", "1": "lesion"}))
    refused(folder, "this datalist's labels are 0 background, 1 lesion, and")
    assert load_datalist(folder)["labels"] == {"0": "background", "1": "lesion"}
    two = {"0": "background", "1": "lesion"}
    assert len(files(folder, "datalist.json", "test", two)) == len(files(folder, "datalist.json", "test")) == 2
    with pytest.raises(DatalistError, match="this datalist's labels are"):
        files(folder, "datalist.json", "test", labels=LABELS)


@pytest.mark.parametrize(
    "labels",
    [
        None,
        ["background", "lesion"],
        {},
        {"0": "background"},
        {"0": "background", "2": "lesion"},
        {"0": "background", "1": ""},
        {"0": "background", "1": 2},
        {"0": "lesion", "1": "lesion"},
        {"00": "background", "1": "lesion"},
    ],
)
def test_labels_that_are_none(folder: Path, edit, labels: Any) -> None:
    edit(lambda c: c.update(labels=labels))
    with pytest.raises(DatalistError, match=r"a name for each of 0, 1, \.\.\. is due"):
        load_datalist(folder)


def test_only_lists_of_lungs_say_where_the_lung_is_from(folder: Path, edit) -> None:
    edit(lambda c: c["test"][0].pop("lung"))
    first, second = files(folder, "datalist.json", "test")
    assert "lung" not in first
    assert second["lung"] == "derived"
    edit(lambda c: c["test"][1].update(lung="guessed"))
    refused(folder, "the lung of case 5 is 'guessed'")


def test_a_list_hands_on_the_facts_that_it_declares(folder: Path, edit) -> None:
    edit(lambda c: c["training"][0].update(scanner="A", extent=0.5))
    assert "scanner" not in files(folder, "datalist.json", "training")[0]
    edit(lambda c: c["facts"].update(scanner=["A", "B"]))
    assert files(folder, "datalist.json", "training")[0]["scanner"] == "A"
    edit(lambda c: c["training"][1].update(scanner="C"))
    refused(folder, "the scanner of case 1 is 'C'")
    edit(lambda c: c.pop("facts"))  # as lists had it before
    first, second, _ = files(folder, "datalist.json", "training")
    assert (first["scanner"], second["scanner"], first["lung"]) == ("A", "C", "derived")
    assert "extent" not in first


@pytest.mark.parametrize("facts", [None, ["lung"], {"lung": "reference"}, {"lung": [1]}, {"label": []}])
def test_facts_that_are_none(folder: Path, edit, facts: Any) -> None:
    edit(lambda c: c.update(facts=facts))
    refused(folder, "the facts are")


def test_diagnoses_come_back_as_words(folder: Path, edit) -> None:
    edit(lambda c: c["test"][0].update(diagnosis=None))
    edit(lambda c: c["test"][1].update(diagnosis="melanoma"))
    assert [item["diagnosis"] for item in files(folder, "datalist.json", "test")] == ["unknown", "melanoma"]
    assert "diagnosis" not in files(folder, "datalist.json", "training")[0]


@pytest.mark.parametrize("diagnosis", ["", 2, ["melanoma"]])
def test_a_diagnosis_that_is_no_word(folder: Path, edit, diagnosis: Any) -> None:
    edit(lambda c: c["training"][2].update(diagnosis=diagnosis))
    refused(folder, "the diagnosis of case 2 is")


def test_entry_without_patient(folder: Path, edit) -> None:
    edit(lambda c: c["training"][0].pop("patient"))
    refused(folder, "lacks one of")


@pytest.mark.parametrize("text", ["", "[]", '{"labels": ', "\xff"])
def test_damaged_list(folder: Path, text: str) -> None:
    (folder / "datalist.json").write_text(text, encoding="latin-1")
    refused(folder, "datalist")


def test_no_list_and_no_such_section(folder: Path) -> None:
    with pytest.raises(DatalistError, match="no such datalist"):
        load_datalist(folder, "other.json")
    with pytest.raises(DatalistError, match="no section 'train'"):
        files(folder, "datalist.json", "train")


def test_fingerprint_is_of_contents_and_not_of_names_or_order(folder: Path) -> None:
    pairs = [(folder / "images" / f"{i}.png", folder / "labels" / f"{i}.png") for i in range(3)]
    before = fingerprint(pairs)
    renamed = pairs[0][0].rename(folder / "images" / "z.png")
    assert fingerprint([*pairs[1:], (renamed, pairs[0][1])]) == before
    swapped = [(renamed, pairs[1][1]), (pairs[1][0], pairs[0][1]), pairs[2]]
    assert fingerprint(swapped) != before
