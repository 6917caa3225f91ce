"""What a raw folder or table of chest X-rays is taken for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import DatalistError, UnreadableFileError, UsageError
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, RawCase, hidden_patient
from pipelines.tasks.chest_xray.layouts import find_chest_xray
from pipelines.tasks.chest_xray.prepare import prepare_chest_xray
from pipelines.tasks.chest_xray.source import named_patient, read_name


def by_case(raw: Path) -> dict[str, RawCase]:
    found = find_chest_xray(raw)
    assert found.faults == []
    return {case.case: case for case in found.cases}


@pytest.mark.parametrize(
    ("stem", "patient", "subtype"),
    [
        ("person12_bacteria_47", "person12", "bacteria"),
        ("person12_virus_47_1", "person12", "virus"),
        ("Person3_Virus_4", "person3", "virus"),
        ("IM-0115-0001", "IM-0115", None),
        ("IM-0482-0001-0002", "IM-0482", None),
        ("NORMAL2-IM-0383-0001", "NORMAL2-IM-0383", None),
        ("person12", None, None),
        ("scan_IM-0115-0001", None, None),
        ("IM-0115", None, None),
    ],
)
def test_names_tell_patient_and_subtype(stem: str, patient: str | None, subtype: str | None) -> None:
    assert (read_name(stem).patient, read_name(stem).subtype) == (patient, subtype)


def test_person_numbers_start_anew_in_the_test_set_and_other_numbers_do_not() -> None:
    assert named_patient("person1_virus_6", official_test=True) == "test_person1"
    assert named_patient("IM-0001-0001", official_test=True) == "IM-0001"


def test_folders_in_any_case_and_inside_another_are_the_same(xrays: Path, tmp_path: Path) -> None:
    expected = {name: (c.label, c.patient, c.official_test) for name, c in by_case(xrays).items()}
    other = tmp_path / "other" / "Chest_XRay"
    for old in sorted(xrays.glob("*/*")):
        shutil.copytree(old, other / old.parent.name.upper() / old.name.capitalize())
    (tmp_path / "other" / "__MACOSX" / "train" / "NORMAL").mkdir(parents=True)
    (other / "TRAIN" / "Normal" / "._IM-0000-0001.jpeg").write_bytes(b"x")
    assert {n: (c.label, c.patient, c.official_test) for n, c in by_case(tmp_path / "other").items()} == expected
    shutil.copytree(tmp_path / "other" / "Chest_XRay", tmp_path / "deep" / "other")
    with pytest.raises(UsageError, match=r"further in; give .*other"):
        find_chest_xray(tmp_path / "deep")


def test_class_folders_alone(xrays: Path) -> None:
    found = by_case(xrays / "train")
    assert len(found) == 19
    assert not any(case.official_test for case in found.values())


def test_pictures_of_other_names_are_their_own_patients_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    for folder in ("train/NORMAL", "train/PNEUMONIA", "test/NORMAL"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.png").touch()
    (tmp_path / "train/NORMAL/IM-0001-0001.png").touch()
    found = find_chest_xray(tmp_path)
    assert {case.case: case.patient for case in found.cases} == {
        "IM-0001-0001": "IM-0001",
        "train_NORMAL_1": "train_NORMAL_1",
        "train_PNEUMONIA_1": "train_PNEUMONIA_1",
        "test_NORMAL_1": "test_NORMAL_1",
    }
    assert not found.patients_known
    assert len(found.notes) == 1
    assert found.notes[0].startswith("Pictures whose patient is not known count as their own patients: 3 (")
    (tmp_path / "train/NORMAL/IM-0001-0001.png").unlink()
    assert find_chest_xray(tmp_path).notes == [PATIENTS_UNKNOWN]


def test_what_does_not_belong_is_said(xrays: Path) -> None:
    (xrays / "train/COVID").mkdir()
    (xrays / "train/PNEUMONIA/more").mkdir()
    (xrays / "train/NORMAL/readme.txt").write_text("x")
    (xrays / "docs").mkdir()
    shutil.move(xrays / "train/PNEUMONIA/person1_bacteria_11.jpeg", xrays / "train/NORMAL")
    found = find_chest_xray(xrays)
    faults = sorted(str(fault) for fault in found.faults)
    assert len(faults) == 3
    assert "COVID: is no class that is known (normal, pneumonia)" in faults[0]
    assert "its name says bacteria, and it is said to be normal" in faults[1]
    assert "more: a folder lies inside a class folder" in faults[2]
    assert any("no pictures were passed over: readme.txt" in note for note in found.notes)
    assert any("Folders that were passed over: docs" in note for note in found.notes)


def test_folders_that_cannot_be_told(xrays: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="no such file or folder"):
        find_chest_xray(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="none of the layouts"):
        find_chest_xray(tmp_path / "empty")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="no kind of dataset"):
        find_chest_xray(tmp_path / "notes.txt")
    (xrays / "more.npz").touch()
    with pytest.raises(UsageError, match="more than one dataset"):
        find_chest_xray(xrays)
    (xrays / "NORMAL").mkdir()
    with pytest.raises(UsageError, match="class folders beside train, val or test"):
        find_chest_xray(xrays)
    for name in ("a", "b"):
        (tmp_path / "empty" / f"{name}.csv").touch()
    with pytest.raises(UsageError, match="2 tables"):
        find_chest_xray(tmp_path / "empty")
    for name in ("a", "b"):
        (tmp_path / "empty" / f"{name}.npz").touch()
    with pytest.raises(UsageError, match="more than one dataset"):
        find_chest_xray(tmp_path / "empty")


def table(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def test_a_table_of_paths_and_classes(xrays: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    (flat / "a").mkdir(parents=True)
    lines = ["Patient,IMAGE,label,split,age"]
    for i, old in enumerate(sorted(xrays.glob("train/*/*.jpeg"))):
        shutil.copy(old, flat / "a" / f"{i}.jpg")
        word = ["0", "normal", "NORMAL"] if old.parent.name == "NORMAL" else ["1", "pneumonia", "PNEUMONIA"]
        part = ("val", "train", "", "train", "")[i % 5]
        lines.append(f"{f'p{i}' if part == 'val' else ''},a/{i}.jpg,{word[i % 3]},{part},3")
    table(flat, *lines)
    found = find_chest_xray(flat)
    assert found.layout == "the table table.csv"
    assert [case.label for case in found.cases] == [0] * 6 + [1] * 13
    assert found.cases[0].patient == hidden_patient("p0")
    assert found.cases[1].patient == "1"
    assert not found.patients_known
    prepared = prepare_chest_xray(flat / "table.csv", tmp_path / "out")
    assert prepared.split["validation"] == ["0", "10", "15", "5"]
    assert len(prepared.split["test"]) == 3


def test_names_in_a_table_tell_what_they_tell_in_folders(xrays: Path) -> None:
    lines = [f"{p.relative_to(xrays)},{p.parent.name},{p.parent.parent.name}" for p in xrays.glob("*/*/*.jpeg")]
    table(xrays.parent, "path,label,split", *(f"xrays/{line}" for line in lines))
    found = by_case(xrays.parent / "table.csv")
    folders = by_case(xrays)
    assert {n: (c.patient, c.subtype, c.official_test) for n, c in found.items()} == {
        n: (c.patient, c.subtype, c.official_test) for n, c in folders.items()
    }
    assert {n for n, c in found.items() if c.official_validation} == {"person9_bacteria_90", "NORMAL2-IM-0009-0001"}
    assert not any(c.official_validation for c in folders.values())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a.png,covid,train", "line 3: the label is 'covid', and one of normal, pneumonia, 0, 1 is due"),
        ("a.png,2,train", "the label is '2'"),
        ("a.png,0,holdout", "the split is 'holdout'"),
        ("../a.png,0,train", "the path '../a.png' is none inside"),
        ("/etc/hostname,0,train", "is none inside"),
        (",0,train", "is none inside"),
        ("link.png,0,train", "is none inside"),
        ("ok.png,0,train", "ok.png is listed twice"),
        ("person1_virus_2.png,0,train", "its name says virus"),
    ],
)
def test_lines_that_cannot_be(tmp_path: Path, line: str, words: str) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    (tmp_path / "outside.png").touch()
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    found = find_chest_xray(table(folder, "path,label,split", "ok.png,1,train", line))
    assert len(found.cases) == 1
    assert words in str(found.faults[0])


@pytest.mark.parametrize("header", ["a,b", "path,split", "path,image,label", "path,label,label", ""])
def test_headers_that_are_none(tmp_path: Path, header: str) -> None:
    with pytest.raises(DatalistError, match="the header is"):
        find_chest_xray(table(tmp_path, header, "a.png,0,1"))


def test_a_short_line_and_a_missing_picture(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    with pytest.raises(DatalistError, match="line 2: 1 cells, 2 are due"):
        find_chest_xray(table(folder, "path,label", "a.png"))
    Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(40, 40)).save(folder / "b.png")
    with pytest.raises(UnreadableFileError, match=r"a\.png"):
        prepare_chest_xray(table(folder, "path,label", "a.png,0", "b.png,1"), tmp_path / "out")
