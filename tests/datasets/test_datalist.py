"""Item 9 of bad-inputs.md for lists, and what a list promises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.datasets import files, load_datalist
from pipelines.datasets.datalist import fingerprint
from pipelines.errors import DatalistError


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


def refused(folder: Path, words: str, verify: bool = False) -> None:
    with pytest.raises(DatalistError, match=words) as caught:
        load_datalist(folder, verify=verify)
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
    refused(folder, "labels are")


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
