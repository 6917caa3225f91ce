"""Slices with a table of them: forms of one patient are one patient, sources are kept, tables that lie are refused."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.exposure import equalize_adapthist

from pipelines.__main__ import main
from pipelines.cross_validation import read_folds
from pipelines.errors import DatalistError, UnreadableFileError, UsageError
from pipelines.preparation.datalist import files, load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.readers import read_label
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.prepare import find_layout, prepare_covid_ct

HEAD = ["form", "image", "scan", "patient", "slice", "lesion_px", "lung_px"]


def draw_slices(raw: Path, patients: int = 5) -> Path:
    """Phantoms as two slices each: in a wide window, and equalised; the last patient is equalised only."""
    lines = [HEAD]
    for number in range(patients):
        phantom = make_lung_phantom(70 + number, 96, 8, 0.1 + 0.03 * number)
        lesions = (phantom.label == 2).sum(axis=(0, 1))
        for form in ("plain", "equalised")[number == patients - 1 :]:
            for z in np.argsort(lesions)[-2:].tolist():
                grey = np.clip((phantom.array[:, :, z] + 1000.0) / 2500, 0, 1)
                picture = equalize_adapthist(grey, clip_limit=0.03) if form == "equalised" else grey
                name = f"scan_{number}_{z}"
                label = phantom.label[:, :, z].T
                drawn = {"images": np.rint(picture.T * 255), "lung_masks": 255 * (label > 0)}
                for kind, plane in {**drawn, "lesion_masks": 255 * (label == 2)}.items():
                    (raw / form / kind).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(plane.astype(np.uint8)).save(raw / form / kind / f"{name}.png")
                lines.append([form, f"{name}.png", f"scan_{number}", f"patient_{number}", str(z), "1", "1"])
    with (raw / "slices.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return raw


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    return draw_slices(tmp_path / "slices")


def change_lines(raw: Path, change: Callable[[list[list[str]]], object]) -> None:
    with (raw / "slices.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    change(lines)
    with (raw / "slices.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def test_forms_of_one_patient_are_one_patient(slices: Path, tmp_path: Path) -> None:
    found = prepare_covid_ct(slices, tmp_path / "out", folds=3)
    assert any("Every slice has a lesion" in text for text in found.warnings)
    content = load_datalist(tmp_path / "out", verify=True)
    items = [item for section in SECTIONS for item in content[section]]
    assert len(items) == 18
    assert {item["patient"] for item in items} == {f"patient_{i}" for i in range(5)}
    assert {item["form"] for item in items if item["patient"] == "patient_4"} == {"equalised"}
    assert {(item["source"], item["form"]) for item in items} == {
        ("COVID-19-CT-Seg", "plain"), ("COVID-19-CT-Seg", "equalised")
    }  # fmt: skip
    assert {item["lung"] for item in items} == {"reference"}
    assert {item["form"] for item in files(tmp_path / "out", "datalist.json", "training")} <= {"plain", "equalised"}
    for name in ("datalist.json", *(f"datalist_fold{k}.json" for k in range(3))):
        parts = load_datalist(tmp_path / "out", name)
        patients = [{item["patient"] for item in parts[section]} for section in SECTIONS]
        assert sum(map(len, patients)) == len(set().union(*patients))
    item = next(item for item in items if item["case"].startswith("plain_scan_0"))
    stem = item["case"].removeprefix("plain_")
    lung, lesion = (
        np.asarray(Image.open(slices / "plain" / f"{kind}_masks" / f"{stem}.png")) for kind in ("lung", "lesion")
    )
    assert np.array_equal(read_label(item["label"])[:, :, 0].T, np.select([lesion > 0, lung > 0], [2, 1]))


def test_raw_folders_are_joined_and_each_case_says_its_source(slices: Path, pictures: Path, tmp_path: Path) -> None:
    prepare_covid_ct(slices, tmp_path / "out", further_raw=[str(pictures)], folds=2)
    content = load_datalist(tmp_path / "out")
    sources = {item["source"] for section in SECTIONS for item in content[section]}
    assert sources == {"COVID-19-CT-Seg", "COVID-SemiSeg"}
    for k in range(2):
        fold = load_datalist(tmp_path / "out", f"datalist_fold{k}.json")
        assert {item["source"] for item in fold["test"]} == sources, "each fold has some of each source"
    lungs = {(item["source"], item["lung"]) for section in SECTIONS for item in content[section]}
    assert lungs == {("COVID-19-CT-Seg", "reference"), ("COVID-SemiSeg", "derived")}
    assert content["split"]["patients_known"] is False


def test_each_fold_leaves_one_source_out(slices: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    raw = ["--raw", str(slices), "--further-raw", str(pictures)]
    assert main(["data", "prepare", "covid_ct", *raw, "--out", str(out), "--folds", "source"]) == 0
    for k, (tested, others) in enumerate([("COVID-19-CT-Seg", "COVID-SemiSeg"), ("COVID-SemiSeg", "COVID-19-CT-Seg")]):
        fold = load_datalist(out, f"datalist_fold{k}.json")
        assert {item["source"] for item in fold["test"]} == {tested}
        assert {item["source"] for s in ("training", "validation") for item in fold[s]} == {others}
    assert [fold.number for fold in read_folds(out)] == [0, 1], "cross-validate takes them"
    with pytest.raises(UsageError, match="lung, source, form"):
        prepare_covid_ct(slices, tmp_path / "again", folds="scanner")


def test_patients_of_two_forms_are_left_out_by_both_folds(slices: Path, pictures: Path, tmp_path: Path) -> None:
    """Some of their slices are then in no part of a list, and the lists still count as of the same data."""
    prepare_covid_ct(slices, tmp_path / "out", further_raw=[pictures], folds="form")
    folds = read_folds(tmp_path / "out")
    assert [{item["form"] for item in fold.left_out} for fold in folds] == [{"equalised"}, {"picture"}, {"plain"}]
    assert len({len(fold.others) + len(fold.left_out) for fold in folds}) > 1, "no patient has two forms"
    assert [fold.content["split"]["left_out"] for fold in folds] == [
        {"form": form} for form in ("equalised", "picture", "plain")
    ]
    load_datalist(tmp_path / "out", "datalist_fold0.json", verify=True)


def test_two_folders_of_one_layout_are_two_sources(pictures: Path, tmp_path: Path) -> None:
    for part, name in enumerate(("north", "south")):
        shutil.copytree(pictures, tmp_path / name)
        for place, stem in enumerate(sorted({path.stem for path in pictures.rglob("*.*")})):
            for path in (tmp_path / name).rglob(f"{stem}.*") if place % 2 != part else ():
                path.unlink()
    prepare_covid_ct(tmp_path / "north", tmp_path / "out", further_raw=[tmp_path / "south"], folds="source")
    held = [{item["source"] for item in fold.left_out} for fold in read_folds(tmp_path / "out")]
    assert held == [{"COVID-SemiSeg, north"}, {"COVID-SemiSeg, south"}]


def test_raw_folders_that_cannot_be_joined(slices: Path, ct_seg: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="given twice"):
        prepare_covid_ct(slices, tmp_path / "out", further_raw=[slices])
    with pytest.raises(UsageError, match="some of the raw folders are phantoms"):
        prepare_covid_ct(slices, tmp_path / "out", further_raw=[ct_seg])
    copy = tmp_path / "copy"
    for kind in ("images", "masks"):
        (copy / kind).mkdir(parents=True)
        (copy / kind / "0.png").write_bytes((pictures / kind / "0.png").read_bytes())
    with pytest.raises(DatalistError, match="the image equals"):
        prepare_covid_ct(pictures, tmp_path / "out", further_raw=[copy])


def no_column(lines: list[list[str]]) -> None:
    lines[0][3] = "person"


def short_line(lines: list[list[str]]) -> None:
    lines[2].pop()


def twice(lines: list[list[str]]) -> None:
    lines.append(lines[1])


def outside(lines: list[list[str]]) -> None:
    lines[1][1] = "../../secret.png"


def nobody(lines: list[list[str]]) -> None:
    lines[1][3] = " "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_column, "line 1: there is no column patient"),
        (short_line, "line 3: it has 6 cells, the head 7"),
        (twice, "line 20: the picture plain/.* stands here twice"),
        (outside, "line 2: .*secret.png.* name no picture"),
        (nobody, "line 2: .* name no picture of a patient"),
    ],
)
def test_bad_tables(slices: Path, change: Callable, message: str, tmp_path: Path) -> None:
    change_lines(slices, change)
    with pytest.raises(DatalistError, match=message):
        prepare_covid_ct(slices, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["images", "lung_masks", "lesion_masks"])
def test_missing_files(slices: Path, kind: str, tmp_path: Path) -> None:
    next(iter(sorted((slices / "plain" / kind).iterdir()))).unlink()
    with pytest.raises(UnreadableFileError, match=f"line .: there is no plain/{kind}"):
        prepare_covid_ct(slices, tmp_path / "out")


def test_a_picture_that_is_not_in_the_table(slices: Path, tmp_path: Path) -> None:
    change_lines(slices, lambda lines: lines.pop())
    with pytest.raises(UnreadableFileError, match="the picture is not in the table"):
        prepare_covid_ct(slices, tmp_path / "out")


def test_an_empty_table_has_no_cases(slices: Path, tmp_path: Path) -> None:
    (slices / "slices.csv").write_text("")
    with pytest.raises(DatalistError, match="there is no column"):
        prepare_covid_ct(slices, tmp_path / "out")


def test_the_real_slices(shared_data: Path) -> None:
    found = find_layout(shared_data / "covid_ct_seg")
    assert not found.faults
    assert len(found.cases) == 1640
    assert len({case.patient for case in found.cases}) == 12
    assert {case.form for case in found.cases} == {"plain", "equalised"}
