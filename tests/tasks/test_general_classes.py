"""Pictures in a folder a class: what is found, what comes out, and what is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets import files
from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UnsupportedImageError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, hidden_patient
from pipelines.tasks.general.class_layout import find_classes
from pipelines.tasks.general.classes import prepare_classes
from pipelines.tasks.general.phantoms import phantom_classes
from pipelines.transforms import LoadPictured

SECTIONS = ("training", "validation", "test")


@pytest.fixture(scope="module")
def raw_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("classes") / "raw"
    phantom_classes(out, classes=3, cases=18, size=48, raw=True)
    return out


@pytest.fixture
def raw(raw_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(raw_once, tmp_path / "raw"))


def everything(folder: Path) -> dict[str, dict]:
    content = load_datalist(folder, verify=True)
    return {item["case"]: item | {"section": section} for section in SECTIONS for item in content[section]}


def test_pictures_come_out_with_the_class_of_their_folder(raw: Path, tmp_path: Path) -> None:
    (raw / "bar" / "._phantom_000.png").write_bytes(b"what macOS leaves")
    (raw / "bar" / "notes.txt").write_text("hello")
    grey = Image.open(raw / "disc" / "phantom_001.png").convert("L")
    grey.save(raw / "disc" / "phantom_001.png")
    prepared = prepare_classes(raw, tmp_path / "shapes")
    items = files(tmp_path / "shapes", "datalist.json", "training", classes={0: "bar", 1: "disc", 2: "ring"})
    loaded = LoadPictured("image")(items[0])
    assert loaded["image"].shape == (3, 48, 48)
    content = load_datalist(tmp_path / "shapes")
    assert (content["name"], content["classes"]) == ("shapes_phantom", {"0": "bar", "1": "disc", "2": "ring"})
    found = everything(tmp_path / "shapes")
    assert len(found) == 18
    for name, item in found.items():
        folder = ("bar", "disc", "ring")[item["label"]]
        assert (raw / folder / f"{name}.png").is_file()
        if name != "phantom_001":
            assert Path(item["image"]).read_bytes() == (raw / folder / f"{name}.png").read_bytes()
    assert np.asarray(Image.open(found["phantom_001"]["image"]))[:, :, 2].tolist() == np.asarray(grey).tolist()
    assert {name for name, cases in prepared.split.items() if len(cases) >= 3} == set(SECTIONS)
    assert all(min(content["counts"][section]["classes"].values()) > 0 for section in SECTIONS)
    assert PATIENTS_UNKNOWN in prepared.warnings
    report = (tmp_path / "shapes" / "report.md").read_text()
    assert "Files in bar/ that are no pictures were passed over: notes.txt." in report
    assert "._phantom" not in report
    assert "| ring | 48 (48 to 48) | 48 (48 to 48) |" in report


def test_the_order_of_classes_is_by_name_or_as_it_is_said(raw: Path) -> None:
    (raw / "classes.json").unlink()
    (raw / "bar").rename(raw / "Zebra")
    assert find_classes(raw).names == {0: "disc", 1: "ring", 2: "Zebra"}
    (raw / "classes.json").write_text(json.dumps({"1": "disc", "0": "ring", "2": "zebra"}))
    assert find_classes(raw).names == {0: "ring", 1: "disc", 2: "zebra"}
    found = find_classes(raw, ["Zebra", "ring", "disc"])
    assert found.names == {0: "Zebra", 1: "ring", 2: "disc"}
    assert {case.label for case in found.cases if case.image.parent.name == "Zebra"} == {0}
    for order in (["Zebra", "ring"], ["Zebra", "ring", "disc", "bar"], ["a", "b", "c"]):
        with pytest.raises(UsageError, match=r"--classes: the classes are .* name each folder once"):
            find_classes(raw, order)
    with pytest.raises(UsageError, match="give each a name of its own"):
        find_classes(raw, ["Zebra", "zebra", "disc"])


def test_official_parts_stay_what_they_are(raw: Path, tmp_path: Path) -> None:
    for part, numbers in (("Train", range(12)), ("val", range(12, 15)), ("TEST", range(15, 18))):
        for number in numbers:
            old = next(path for path in raw.glob(f"*/phantom_{number:03d}.png"))
            (raw / part / old.parent.name.upper()).mkdir(parents=True, exist_ok=True)
            old.rename(raw / part / old.parent.name.upper() / f"{number % 3}_{number // 3}.png")
    for name in ("bar", "disc", "ring"):
        (raw / name).rmdir()
    (raw / "classes.json").unlink()
    prepare_classes(raw, tmp_path / "out")
    counts = load_datalist(tmp_path / "out")["counts"]
    assert [counts[section]["cases"] for section in SECTIONS] == [12, 3, 3]
    shutil.rmtree(raw / "val")
    prepare_classes(raw, tmp_path / "without")
    assert load_datalist(tmp_path / "without")["counts"]["test"]["cases"] == 3


def test_pictures_of_one_name_are_cases_of_their_own(raw: Path, tmp_path: Path) -> None:
    for folder in ("bar", "disc", "ring"):
        for number, path in enumerate(sorted((raw / folder).iterdir())):
            path.rename(raw / folder / f"{number}.png")
    (raw / "patients.csv").write_text("case,patient\nbar/0.png,Ann\ndisc/0,Bob\nring/0,ann\n")
    prepare_classes(raw, tmp_path / "out")
    found = everything(tmp_path / "out")
    assert len(found) == 18
    assert found["bar_0"]["patient"] == found["ring_0"]["patient"] == hidden_patient("Ann")
    assert found["bar_0"]["section"] == found["ring_0"]["section"]
    assert found["disc_0"]["patient"] == hidden_patient("Bob")
    (raw / "patients.csv").write_text("case,patient\n0,Ann\n")
    with pytest.raises(DatalistError, match=r"0 stands for more than one file; write it with its folder"):
        prepare_classes(raw, tmp_path / "more")


def test_of_equal_pictures_of_a_class_one_is_kept(raw: Path, tmp_path: Path) -> None:
    shutil.copy(raw / "bar" / "phantom_000.png", raw / "bar" / "again.png")
    prepare_classes(raw, tmp_path / "out")
    assert len(everything(tmp_path / "out")) == 18
    shutil.copy(raw / "bar" / "phantom_000.png", raw / "ring" / "again.png")
    with pytest.raises(DatalistError, match=r"which is said to be .*find out which is right"):
        prepare_classes(raw, tmp_path / "more")


def emptied(raw: Path) -> None:
    shutil.rmtree(raw / "ring")
    (raw / "ring").mkdir()


def single(raw: Path) -> None:
    (raw / "classes.json").unlink()
    for name in ("bar", "disc"):
        shutil.rmtree(raw / name)


def of_pairs(raw: Path) -> None:
    (raw / "bar").rename(raw / "images")
    (raw / "disc").rename(raw / "masks")


def without_classes(raw: Path) -> None:
    shutil.rmtree(raw / "ring")
    (raw / "bar").rename(raw / "train")
    (raw / "disc").rename(raw / "test")


def mixed(raw: Path) -> None:
    (raw / "train" / "bar").mkdir(parents=True)
    shutil.copy(raw / "bar" / "phantom_000.png", raw / "train" / "bar")


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (emptied, UnreadableFileError, r"ring: the class folder holds no pictures; add pictures"),
        (single, DatalistError, "there is a single class, ring, and nothing to tell apart"),
        (of_pairs, UsageError, "holds images and masks, not classes; prepare it as pairs"),
        (without_classes, UsageError, "test/ holds pictures and no class folders"),
        (mixed, UsageError, r"class folders \(bar, disc, ring\) beside train, val or test"),
        (lambda raw: (raw / "bar" / "more").mkdir(), DatalistError, "a folder lies here, and only files are read"),
        (lambda raw: (raw / "bar" / "a.png").write_text("x"), UnreadableFileError, r"a.png: is not a PNG"),
        (
            lambda raw: (raw / "bar" / "a.webm.gif").write_text("x"),
            UnreadableFileError,
            r"a.webm.gif: .* save it as PNG",
        ),
        (lambda raw: (raw / "bar" / "a.nii").write_bytes(b"x"), UnsupportedImageError, "a volume, and classes are of"),
        (lambda raw: Image.new("RGB", (9, 9)).save(raw / "bar" / "a.png"), UnsupportedImageError, "too small"),
        (lambda raw: [shutil.rmtree(raw / n) for n in ("bar", "disc", "ring")], UsageError, "none of the layouts"),
    ],
)
def test_a_fault_is_named_and_nothing_is_written(
    raw: Path, tmp_path: Path, spoil: Callable[[Path], object], error: type[PipelinesError], said: str
) -> None:
    spoil(raw)
    with pytest.raises(error, match=said):
        prepare_classes(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pictures_of_no_class_are_told(raw: Path, tmp_path: Path) -> None:
    shutil.copy(raw / "bar" / "phantom_000.png", raw / "loose.png")
    assert (
        "1 images beside the class folders are of no class, and were passed over: loose.png."
        in prepare_classes(raw, tmp_path / "out").warnings
    )
