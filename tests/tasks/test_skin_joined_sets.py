"""Raw folders of dermoscopic pictures that are joined, their named test set, and pictures that look alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_folders import draw_lesion

from pipelines.__main__ import main
from pipelines.errors import DatalistError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.phantom_mark import PHANTOM_MARK
from pipelines.preparation.sections import SECTIONS
from pipelines.tasks.dermoscopy.prepare import prepare_skin_lesions


def items_of(out: Path) -> dict[str, dict]:
    content = load_datalist(out, verify=True)
    return {item["case"]: {**item, "section": section} for section in SECTIONS for item in content[section]}


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Eight other lesions, N00 to N07, as images/ and masks/."""
    raw = tmp_path / "clinic"
    for kind in ("images", "masks"):
        (raw / kind).mkdir(parents=True)
    for i in range(8):
        picture, mask = draw_lesion(40 + i)
        Image.fromarray(picture).save(raw / "images" / f"N{i:02d}.jpg")
        Image.fromarray(mask.astype(np.uint8) * 255).save(raw / "masks" / f"N{i:02d}.png")
    return raw


def copied(skin: Path, case: str, target: Path, size: tuple[int, int]) -> None:
    """The picture and its mask once more, smaller: another file that looks the same."""
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True, exist_ok=True)
    Image.open(skin / "images" / f"{case}.jpg").resize(size).save(target / "images" / "X01.jpg", quality=80)
    mask = Image.open(skin / "masks" / f"{case}_lesion.png").resize(size, Image.Resampling.NEAREST)
    mask.save(target / "masks" / "X01.png")


def test_folders_are_joined_and_each_case_says_its_source(isic: Path, clinic: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_skin_lesions("skin_lesions", isic, out, further_raw=[clinic], validation=0.25)
    items = items_of(out)
    assert {name: item["source"] for name, item in items.items()} == {
        name: "ISIC 2016" if name.startswith("ISIC") else "clinic" for name in items
    }
    assert len(items) == 20
    content = load_datalist(out)
    assert content["counts"]["test"]["sources"] == {"ISIC 2016": 4}  # the official test set stays the test set
    assert set(content["counts"]["validation"]["sources"]) == {"ISIC 2016", "clinic"}
    report = (out / "report.md").read_text()
    assert "## Source" in report
    assert "ISIC 2016: Patients are not known" in report


def test_the_command_joins_folders_too(isic: Path, clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("# to be tested\nn03\nISIC_0000002  # of the other\n\n")
    words = ["data", "prepare", "isic2016", "--raw", str(isic), "--further-raw", str(clinic)]
    code = main([*words, "--test-names", str(tmp_path / "names.txt"), "--out", str(tmp_path / "out")])
    assert code == 0
    items = items_of(tmp_path / "out")
    assert {name for name, item in items.items() if item["section"] == "test"} == {"N03", "ISIC_0000002"}


def test_names_of_the_test_set_must_be_of_pictures(skin: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    for text, words in (("L01\nL99\n", "no picture of the name L99"), ("# nothing\n", "no picture is named")):
        names.write_text(text)
        with pytest.raises(DatalistError, match=words):
            prepare_skin_lesions("skin_lesions", skin, tmp_path / "out", test_names=names)


def test_what_cannot_be_joined_is_refused(isic: Path, skin: Path, tmp_path: Path) -> None:
    def refused(further: Path, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            prepare_skin_lesions("skin_lesions", skin, tmp_path / "out", further_raw=[further])

    refused(skin, "given twice")
    other = Path(shutil.copytree(skin, tmp_path / "other" / "skin"))
    refused(other, "two of the raw folders are called skin")
    (isic / PHANTOM_MARK).touch()
    refused(isic, "some of the raw folders are phantoms")


def test_equal_pictures_of_two_sets_are_a_fault(isic: Path, skin: Path, tmp_path: Path) -> None:
    with pytest.raises(DatalistError, match=r"12 faults.*L00.jpg: the image equals .*ISIC_0000000.jpg"):
        prepare_skin_lesions("skin_lesions", isic, tmp_path / "out", further_raw=[skin])


def test_likes_of_two_sets_are_one_patient(skin: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    copied(skin, "L05", more, (56, 42))
    for seed in range(4):
        out = tmp_path / f"out{seed}"
        prepared = prepare_skin_lesions("skin_lesions", skin, out, further_raw=[more], seed=seed, folds=3)
        items = items_of(out)
        assert items["X01"]["patient"] == items["L05"]["patient"] != items["L06"]["patient"]
        assert items["X01"]["section"] == items["L05"]["section"]
        assert any("L05 and X01" in warning for warning in prepared.warnings)
        for k in range(3):
            fold = json.loads((out / f"datalist_fold{k}.json").read_text())
            assert sum({"X01", "L05"} & {item["case"] for item in fold[s]} != set() for s in SECTIONS) == 1


def test_what_looks_like_a_named_test_picture_is_tested_too(skin: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    copied(skin, "L05", more, (56, 42))
    (tmp_path / "names.txt").write_text("L05\nL02\n")
    prepare_skin_lesions("skin_lesions", skin, tmp_path / "out", further_raw=[more], test_names=tmp_path / "names.txt")
    tested = {name for name, item in items_of(tmp_path / "out").items() if item["section"] == "test"}
    assert tested == {"L05", "L02", "X01"}


def test_an_official_test_set_stays_what_it_is_and_its_likes_are_reported(isic: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    picture = isic / "ISBI2016_ISIC_Part1_Test_Data" / "ISIC_0000009.jpg"
    for kind in ("images", "masks"):
        (more / kind).mkdir(parents=True)
    Image.open(picture).resize((56, 42)).save(more / "images" / "X01.jpg")
    mask = isic / "ISBI2016_ISIC_Part1_Test_GroundTruth" / "ISIC_0000009_Segmentation.png"
    Image.open(mask).resize((56, 42), Image.Resampling.NEAREST).save(more / "masks" / "X01.png")
    out = tmp_path / "out"
    prepare_skin_lesions("skin_lesions", isic, out, further_raw=[more], seed=1)
    items = items_of(out)
    assert {name for name, item in items.items() if item["section"] == "test"} == {
        f"ISIC_{i:07d}" for i in range(8, 12)
    }
    assert "X01" in (out / "report.md").read_text().split("## Cases")[0]


def test_isic_with_a_table_of_diagnoses_beside_it(isic: Path, tmp_path: Path) -> None:
    for path in isic.glob("*.csv"):
        path.unlink()
    lines = [f"ISIC_{i:07d},{'malignant' if i % 3 else 'Benign'}" for i in range(13)]
    (isic / "diagnosis.csv").write_text("\n".join(["image,diagnosis", *lines]) + "\n")
    prepared = prepare_skin_lesions("isic2016", isic, tmp_path / "out")
    items = items_of(tmp_path / "out")
    assert {item["diagnosis"] for item in items.values()} == {"benign", "malignant"}
    assert items["ISIC_0000009"]["diagnosis"] == "benign"
    assert not any("Diagnoses are not known" in warning for warning in prepared.warnings)
