"""PneumoniaMNIST's .npz files."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import (
    DatalistError,
    IntensityError,
    LabelError,
    PipelinesError,
    UnreadableFileError,
    UnsupportedImageError,
)
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.tasks.chest_xray.layouts import find_chest_xray
from pipelines.tasks.chest_xray.prepare import prepare_chest_xray
from pipelines.tasks.chest_xray.source import XRAY_CLASSES

Arrays = dict[str, Any]
COLOURED = np.zeros((6, 28, 30, 3), np.uint8)
COLOURED[5, 10, 10, 1] = 1


@pytest.fixture
def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    lighter_in_the_middle = np.rint(128 - 120 * np.abs(np.linspace(-1, 1, 30))).astype(np.uint8)
    found: Arrays = {}
    for part, number in (("train", 20), ("val", 6), ("test", 5)):
        noise = rng.integers(0, 120, (number, 28, 30), dtype=np.uint8)
        found[f"{part}_images"] = noise + lighter_in_the_middle
        found[f"{part}_labels"] = (np.arange(number) % 3 != 0).astype(np.uint8)[:, None]
    return found


def saved(folder: Path, arrays: Arrays) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / "pneumonia.npz", **arrays)
    return folder / "pneumonia.npz"


def refused(tmp_path: Path, arrays: Arrays, kind: type[PipelinesError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        prepare_chest_xray(saved(tmp_path / "raw", arrays), tmp_path / "out")
    assert "pneumonia.npz" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("colour", [False, True])
def test_official_sets_stay_what_they_are(tmp_path: Path, arrays: Arrays, colour: bool) -> None:
    given = {k: np.repeat(v[..., None], 3, axis=3) if colour and v.ndim == 3 else v for k, v in arrays.items()}
    path = saved(tmp_path / "raw", given)
    prepare_chest_xray(path.parent if colour else path, tmp_path / "out", validation=0.4)
    content = load_datalist(tmp_path / "out", verify=True, classes=XRAY_CLASSES)
    assert [len(content[section]) for section in SECTIONS] == [20, 6, 5]
    assert content["split"]["patients_known"] is False
    for section, part in zip(SECTIONS, ("train", "val", "test"), strict=True):
        for i, item in enumerate(content[section]):
            assert (item["case"], item["patient"]) == (f"{part}_{i:05d}", f"{part}_{i:05d}")
            assert item["subtype"] is None
            assert item["label"] == int(i % 3 != 0)
            picture = Image.open(item["image"])
            assert picture.mode == "L"
            np.testing.assert_array_equal(np.asarray(picture), arrays[f"{part}_images"][i])
    assert "pictures of 30 x 28" in (tmp_path / "out" / "report.md").read_text()


def test_without_test_arrays_the_test_set_is_taken_from_training(tmp_path: Path, arrays: Arrays) -> None:
    del arrays["test_images"], arrays["test_labels"]
    prepared = prepare_chest_xray(saved(tmp_path / "raw", arrays), tmp_path / "out", test=0.2)
    assert prepared.split["validation"] == [f"val_{i:05d}" for i in range(6)]
    assert [len(prepared.split[section]) for section in SECTIONS] == [16, 6, 4]
    assert all(name.startswith("train") for name in prepared.split["test"])


def test_training_pictures_that_equal_others_are_left_out_of_training(tmp_path: Path, arrays: Arrays) -> None:
    arrays["train_images"][0] = arrays["val_images"][3]
    arrays["train_images"][1] = arrays["test_images"][1]
    arrays["val_images"][4] = arrays["test_images"][4]
    arrays["train_images"][3] = arrays["train_images"][6]
    prepared = prepare_chest_xray(saved(tmp_path / "raw", arrays), tmp_path / "out")
    assert [len(prepared.split[section]) for section in SECTIONS] == [17, 5, 5]
    report = (tmp_path / "out" / "report.md").read_text()
    for line in (
        "train\\_00000 equals val\\_00003",
        "train\\_00001 equals test\\_00001",
        "val\\_00004 equals test\\_00004",
    ):
        assert f"- {line}\n" in report
    assert "train\\_00006 equals train\\_00003" in report


@pytest.mark.parametrize(
    ("name", "value", "kind", "words"),
    [
        ("train_images", np.zeros((20, 28, 30), np.int16), UnsupportedImageError, "the array is int16"),
        ("train_images", np.zeros((20, 28), np.uint8), UnsupportedImageError, "the array is uint8"),
        ("train_images", np.zeros((20, 28, 30, 2), np.uint8), UnsupportedImageError, "the array is uint8"),
        ("train_images", np.zeros((20, 27, 30), np.uint8), UnsupportedImageError, "30 x 27 pixels are too small"),
        ("val_images", COLOURED, UnsupportedImageError, "picture 5 is in colour, and grey is due"),
        ("train_images", np.zeros((0, 28, 30), np.uint8), LabelError, "for 0 pictures"),
        ("train_labels", np.zeros((19, 1), np.uint8), LabelError, r"the array is \(19, 1\) for 20 pictures"),
        ("train_labels", np.full((20, 1), 2, np.uint8), LabelError, "the labels are 2"),
        ("train_labels", np.full((20, 1), 0.5), LabelError, "the labels are 0.5"),
        ("val_labels", None, UnreadableFileError, "no array val_labels"),
        ("train_labels", np.array([{}] * 20), UnreadableFileError, "no .npz file of plain arrays"),
        (
            "val_images",
            np.zeros((6, 28, 30), np.uint8),
            IntensityError,
            r"val_images\[0\]: every pixel has the value 0",
        ),
    ],
)
def test_arrays_that_cannot_be_used(
    tmp_path: Path, arrays: Arrays, name: str, value: Any, kind: type[PipelinesError], words: str
) -> None:
    arrays[name] = value
    if value is None:
        del arrays[name]
    refused(tmp_path, arrays, kind, words)


def test_files_without_training_pictures(tmp_path: Path, arrays: Arrays) -> None:
    del arrays["train_images"], arrays["train_labels"]
    refused(tmp_path, arrays, DatalistError, "no training pictures")


def test_files_that_are_no_arrays(tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "raw", arrays)
    data = path.read_bytes()
    for spoilt in (b"PK\x03\x04 nothing", data[: len(data) // 2], b"text"):
        path.write_bytes(spoilt)
        with pytest.raises(UnreadableFileError, match=r"no \.npz file"):
            find_chest_xray(path)
    path.write_bytes(b"")
    with pytest.raises(UnreadableFileError, match="empty"):
        find_chest_xray(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("train_images.npy", bytes(2_000_000))
    monkeypatch.setattr("pipelines.tasks.chest_xray.arrays.MAX_BYTES", 1_000_000)
    with pytest.raises(UnreadableFileError, match="absurdly large"):
        find_chest_xray(path)


def test_the_real_arrays_lose_the_training_twins_of_validation_pictures(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "chest_xray_small" / "pneumoniamnist_train_val.npz"
    if not source.is_file():
        pytest.skip(f"PneumoniaMNIST is not here ({source})")
    with np.load(source) as stored:
        arrays = {name: stored[name] for name in stored}
    kept = {image.tobytes() for image in arrays["val_images"]}
    duplicates = np.array([image.tobytes() in kept for image in arrays["train_images"]])
    duplicates[np.flatnonzero(~duplicates)[:60]] = True  # and some others, of both classes, so that it is quick
    duplicates[-60:] = True
    small = {"train_images": arrays["train_images"][duplicates], "train_labels": arrays["train_labels"][duplicates]}
    small |= {name: arrays[name] for name in ("val_images", "val_labels")}
    prepared = prepare_chest_xray(saved(tmp_path / "raw", small), tmp_path / "out")
    assert len(prepared.split["validation"]) == 524
    report = (tmp_path / "out" / "report.md").read_text()
    assert len({line.split("equals ")[1] for line in report.splitlines() if "equals val" in line}) == 8
    shutil.rmtree(tmp_path / "out")
