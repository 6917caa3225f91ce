"""Chest X-rays in class folders to a prepared folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets import files
from pipelines.errors import (
    DatalistError,
    IntensityError,
    OutputError,
    PipelinesError,
    UnreadableFileError,
    UnsupportedImageError,
)
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.tasks.chest_xray.prepare import prepare_chest_xray
from pipelines.tasks.chest_xray.source import XRAY_CLASSES


def items_of(out: Path) -> dict[str, dict]:
    content = load_datalist(out, verify=True, classes=XRAY_CLASSES)
    return {item["case"]: item | {"section": section} for section in SECTIONS for item in content[section]}


def refused(raw: Path, kind: type[PipelinesError], *words: str) -> None:
    out = raw.parent / "out"
    with pytest.raises(kind) as caught:
        prepare_chest_xray(raw, out)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert sorted(raw.parent.glob("*out*")) == []


def test_class_folders_become_a_prepared_folder(xrays: Path, tmp_path: Path) -> None:
    prepared = prepare_chest_xray(xrays, tmp_path / "out", folds=3)
    content = load_datalist(tmp_path / "out", classes={0: "normal", 1: "pneumonia"})
    assert "labels" not in content
    assert (content["name"], content["phantom"], content["left_out"]) == ("chest_xray", False, [])
    assert content["split"]["patients_known"] is True
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir()) == ["images"]
    items = items_of(tmp_path / "out")
    assert len(items) == 26
    first = items["person3_virus_13"]
    assert {k: v for k, v in first.items() if k not in ("image", "section")} == {
        "label": 1, "patient": "person3", "case": "person3_virus_13", "subtype": "virus",
    }  # fmt: skip
    assert (items["IM-0000-0001-0002"]["patient"], items["IM-0000-0001-0002"]["label"]) == ("IM-0000", 0)
    assert items["NORMAL2-IM-0000-0001"]["patient"] == "NORMAL2-IM-0000"
    assert items["NORMAL2-IM-0000-0001"]["subtype"] is None
    assert prepared.split["test"] == sorted(
        [
            "test_person1_bacteria_1",
            "test_person2_virus_2",
            "test_person2_virus_3",
            "IM-0050-0001",
            "NORMAL2-IM-0051-0001",
        ]
    )
    assert items["test_person1_bacteria_1"]["patient"] == "test_person1"
    for k in range(3):
        fold = load_datalist(tmp_path / "out", f"datalist_fold{k}.json")
        assert all(any(item["label"] == value for item in fold[s]) for s in SECTIONS for value in XRAY_CLASSES)


def test_the_few_pictures_of_val_are_divided_with_those_of_train(xrays: Path, tmp_path: Path) -> None:
    sections = set()
    for seed in range(6):
        prepare_chest_xray(xrays, tmp_path / str(seed), seed=seed)
        items = items_of(tmp_path / str(seed))
        sections.add(items["person9_bacteria_90"]["section"])
        assert items["person6_bacteria_35"]["section"] == items["person6_virus_16"]["section"]
        assert items["IM-0000-0001"]["section"] == items["IM-0000-0001-0002"]["section"]
    assert sections == {"training", "validation"}


def test_without_test_a_test_split_is_made(xrays: Path, tmp_path: Path) -> None:
    shutil.rmtree(xrays / "test")
    shutil.rmtree(xrays / "val")
    prepare_chest_xray(xrays, tmp_path / "out")
    items = items_of(tmp_path / "out")
    assert len(items) == 19
    for section in SECTIONS:
        assert {item["label"] for item in items.values() if item["section"] == section} == {0, 1}
    assert len({(item["patient"], item["section"]) for item in items.values()}) == 8 + 5


def test_training_gets_numbers_and_words(xrays: Path, tmp_path: Path) -> None:
    prepare_chest_xray(xrays, tmp_path / "out")
    found = {item["case"]: item for item in files(tmp_path / "out", "datalist.json", "test", classes=XRAY_CLASSES)}
    assert (found["IM-0050-0001"]["label"], found["IM-0050-0001"]["subtype"]) == (0, "unknown")
    assert (found["test_person2_virus_2"]["label"], found["test_person2_virus_2"]["subtype"]) == (1, "virus")


def test_the_report_and_the_sheet_show_what_there_is(xrays: Path, tmp_path: Path) -> None:
    ramp = np.broadcast_to(165 + np.arange(70, dtype=np.uint8), (60, 70))
    Image.fromarray(ramp).save(xrays / "test/NORMAL/IM-0099-0001.png")
    prepare_chest_xray(xrays, tmp_path / "out")
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| test | 6 | 5 | 3 | 3 | 1 | 2 | 0 | 50.0 % |" in report
    counts = load_datalist(tmp_path / "out")["counts"]["test"]
    assert counts == {
        "cases": 6, "patients": 5, "classes": {"normal": 3, "pneumonia": 3},
        "subtypes": {"bacteria": 1, "virus": 2, "unknown": 0},
    }  # fmt: skip
    means = [np.asarray(Image.open(p)).mean() for p in sorted((xrays / "test/NORMAL").iterdir())]
    assert (
        f"| test | normal | 48 (48 to 70) | 40 (40 to 60) | {np.median(means):.1f} ({min(means):.1f} to 199.5) |"
        in report
    )
    assert "| IM-0099-0001 | IM-0099 | test | normal |  | 70 x 60 | 199.5 | stored as PNG |" in report
    assert "Patients known: yes" in report
    sheet = np.asarray(Image.open(tmp_path / "out" / "contact_sheet.png"))
    assert np.ptp(sheet.astype(int), axis=2).max() == 0  # nothing is outlined
    assert len(np.unique(sheet)) > 100


@pytest.mark.parametrize("kind", ["grey jpeg", "rgb jpeg", "turned", "png", "16 bit", "alpha"])
def test_only_upright_grey_jpeg_is_copied(xrays: Path, tmp_path: Path, kind: str) -> None:
    old = xrays / "train/NORMAL/IM-0001-0001.jpeg"
    plane = np.asarray(Image.open(old))
    path = old.with_suffix(".jpg" if kind in ("grey jpeg", "rgb jpeg", "turned") else ".png")
    exif = Image.Exif()
    picture = Image.fromarray(plane)
    old.unlink()
    if kind == "turned":
        exif[274] = 6
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    elif kind == "rgb jpeg":
        picture = picture.convert("RGB")
    elif kind == "16 bit":
        picture = Image.fromarray(plane.astype(np.uint16) * 257)
    elif kind == "alpha":
        picture = picture.convert("LA")
    more = {"exif": exif} if kind == "turned" else {}
    picture.save(path, **({**more, "quality": 95} if path.suffix == ".jpg" else {"compress_level": 1}))
    prepare_chest_xray(xrays, tmp_path / "out")
    stored = Path(items_of(tmp_path / "out")["IM-0001-0001"]["image"])
    assert stored.suffix == (".jpg" if kind == "grey jpeg" else ".png")
    assert (stored.read_bytes() == path.read_bytes()) == (kind == "grey jpeg")
    opened = Image.open(stored)
    assert opened.mode == "L"
    assert opened.size == (48, 40)
    assert np.abs(np.asarray(opened).astype(int) - plane).max() <= (0 if path.suffix == ".png" else 12)


def test_one_of_equal_pictures_is_kept_and_the_others_are_reported(xrays: Path, tmp_path: Path) -> None:
    train = xrays / "train/PNEUMONIA"
    shutil.copy(train / "person1_bacteria_11.jpeg", train / "person1_bacteria_50.jpeg")
    shutil.copy(xrays / "test/NORMAL/IM-0050-0001.jpeg", xrays / "train/NORMAL/IM-0010-0001.jpeg")
    Image.open(train / "person5_bacteria_15.jpeg").save(train / "person7_bacteria_51.png")  # equal in another format
    prepared = prepare_chest_xray(xrays, tmp_path / "out")
    assert prepared.left_out == []
    items = items_of(tmp_path / "out")
    assert len(items) == 26
    assert items["IM-0050-0001"]["section"] == "test"
    assert not {"person1_bacteria_50", "IM-0010-0001", "person7_bacteria_51"} & set(items)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "Exact duplicates, of which one was kept (3 left out)" in report
    assert "IM-0010-0001 equals IM-0050-0001" in report
    assert "person1\\_bacteria\\_50 equals person1\\_bacteria\\_11" in report


def test_equal_pictures_of_two_classes_are_refused_and_neither_is_trusted(xrays: Path, tmp_path: Path) -> None:
    shutil.copy(xrays / "train/PNEUMONIA/person7_bacteria_17.jpeg", xrays / "train/NORMAL/IM-0010-0001.jpeg")
    refused(xrays, DatalistError, "the image equals", "said to be normal, and this one pneumonia", "which is right")
    prepared = prepare_chest_xray(xrays, tmp_path / "out", skip_bad=True)
    assert len(prepared.left_out) == 1
    assert not {"person7_bacteria_17", "IM-0010-0001"} & set(items_of(tmp_path / "out"))


def test_of_equal_pictures_of_two_classes_that_of_the_official_test_set_stays(xrays: Path, tmp_path: Path) -> None:
    shutil.copy(xrays / "test/NORMAL/IM-0050-0001.jpeg", xrays / "train/PNEUMONIA/person8_bacteria_60.jpeg")
    refused(xrays, DatalistError, "the image equals")
    prepare_chest_xray(xrays, tmp_path / "out", skip_bad=True)
    items = items_of(tmp_path / "out")
    assert items["IM-0050-0001"]["section"] == "test"
    assert "person8_bacteria_60" not in items


def test_near_duplicates_across_splits_are_reported(xrays: Path, tmp_path: Path) -> None:
    near = Image.open(xrays / "test/NORMAL/IM-0050-0001.jpeg").resize((96, 80))
    near.save(xrays / "train/NORMAL/IM-0010-0001.jpeg")
    prepare_chest_xray(xrays, tmp_path / "out")
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.count("look alike") == 1
    assert "IM-0050-0001 and IM-0010-0001 look alike" in report


def test_what_many_pictures_share_is_noted_once(xrays: Path, tmp_path: Path) -> None:
    for path in xrays.rglob("*.jpeg"):
        Image.open(path).convert("RGB").save(path, quality=95)
    prepare_chest_xray(xrays, tmp_path / "out")
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.count("grey content stored as RGB was taken as grey") == 1
    assert "26 cases (" in report


def a_bomb(path: Path) -> None:
    Image.new("L", (20000, 5001)).save(path.with_suffix(".png"))
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda p: p.write_bytes(b""), UnreadableFileError, "empty"),
        (lambda p: p.write_bytes(p.read_bytes()[:300]), UnreadableFileError, "damaged"),
        (lambda p: Image.new("L", (48, 40), 7).save(p), IntensityError, "every pixel has the value 7"),
        (lambda p: Image.new("L", (48, 27)).save(p), UnsupportedImageError, "too small (at least 28 a side)"),
        (lambda p: Image.new("RGB", (48, 40), (255, 0, 0)).save(p), UnsupportedImageError, "picture is in colour"),
        (a_bomb, UnreadableFileError, "100 megapixels"),
    ],
)
def test_pictures_that_cannot_be_used(xrays: Path, spoil: Callable, kind: type[PipelinesError], words: str) -> None:
    spoil(xrays / "train/NORMAL/IM-0002-0001.jpeg")
    refused(xrays, kind, words, "IM-0002-0001")


@pytest.mark.parametrize("value", [np.nan, -1.0, 300.0])
def test_values_that_are_no_grey(xrays: Path, value: float) -> None:
    plane = np.zeros((40, 48), np.float32)
    plane[3, 3] = value
    Image.fromarray(plane).save(xrays / "train/NORMAL/IM-0100-0001.tif")
    refused(xrays, IntensityError, "not within 0 to 255")


def test_an_empty_class_is_refused(xrays: Path) -> None:
    for path in xrays.rglob("NORMAL/*"):
        path.unlink()
    refused(xrays, DatalistError, "no case is normal: the class is empty")


def test_a_patient_on_both_sides_of_the_official_test_set_is_refused(xrays: Path) -> None:
    Image.fromarray(np.arange(40 * 48, dtype=np.uint8).reshape(40, 48)).save(xrays / "test/NORMAL/IM-0001-0002.png")
    refused(xrays, DatalistError, "IM-0001: 1 patients are in the official test set and outside it")


def test_a_picture_that_changes_meanwhile(xrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.preparation import preparing as preparation

    def near_pairs(*_: object) -> list:
        Image.new("L", (48, 40)).save(os.fspath(xrays / "val/NORMAL/NORMAL2-IM-0009-0001.jpeg"))
        return []

    monkeypatch.setattr(preparation, "near_pairs", near_pairs)
    with pytest.raises((UnreadableFileError, IntensityError)):
        prepare_chest_xray(xrays, xrays.parent / "out")
    assert not (xrays.parent / "out").exists()


def test_the_output_is_replaced_only_when_asked(xrays: Path, tmp_path: Path) -> None:
    prepare_chest_xray(xrays, tmp_path / "out", seed=1)
    before = (tmp_path / "out" / "datalist.json").read_bytes()
    with pytest.raises(OutputError, match="--force"):
        prepare_chest_xray(xrays, tmp_path / "out", seed=2)
    assert (tmp_path / "out" / "datalist.json").read_bytes() == before
    prepare_chest_xray(xrays, tmp_path / "out", seed=1, force=True)
    assert (tmp_path / "out" / "datalist.json").read_bytes() == before
