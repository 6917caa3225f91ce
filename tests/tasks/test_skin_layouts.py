from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.errors import DatalistError
from pipelines.preparation.raw_case import RawFolder
from pipelines.tasks.dermoscopy.layouts import find_isic2016, find_ph2, find_plain


def diagnoses(found: RawFolder | None) -> dict[str, str | None]:
    assert found is not None
    return {case.case: case.diagnosis for case in found.cases}


def faults(found: RawFolder | None) -> str:
    assert found is not None
    return " | ".join(map(str, found.faults))


def test_isic_keeps_its_test_set_and_takes_the_diagnoses_of_part_3(isic: Path) -> None:
    found = find_isic2016(isic)
    assert found is not None
    assert [case.case for case in found.cases if case.official_test] == [f"ISIC_{i:07d}" for i in range(8, 12)]
    assert len(found.cases) == 12
    assert diagnoses(found) == {f"ISIC_{i:07d}": "benign" if i % 4 else "malignant" for i in range(12)}
    assert found.cases[3].masks["lesion"].name == "ISIC_0000003_Segmentation.png"
    assert (found.patients_known, found.faults) == (False, [])
    assert [note for note in found.notes if "Patients are not known" in note] == found.notes


def test_isic_without_the_tables_and_without_the_test_set(isic: Path) -> None:
    for path in isic.glob("*.csv"):
        path.unlink()
    shutil.rmtree(isic / "ISBI2016_ISIC_Part1_Test_Data")
    found = find_isic2016(isic)
    assert set(diagnoses(found).values()) == {None}
    assert len(diagnoses(found)) == 8
    assert found is not None
    assert any("there is no ISBI2016_ISIC_Part3_Training_GroundTruth.csv" in note for note in found.notes)


def test_ph2_as_released(ph2: Path) -> None:
    names = ("common nevus", "atypical nevus", "melanoma")
    expected = {f"IMD{i:03d}": names[i % 3] for i in range(12)}
    assert diagnoses(find_ph2(ph2)) == diagnoses(find_ph2(ph2 / "PH2Dataset")) == expected
    found = find_ph2(ph2)
    assert found is not None
    assert found.cases[2].image.name == "IMD002.bmp"
    assert found.cases[2].masks["lesion"].name == "IMD002_lesion.bmp"


def test_ph2_with_a_picture_missing_and_two_masks(ph2: Path) -> None:
    home = ph2 / "PH2Dataset" / "PH2 Dataset images"
    (home / "IMD003" / "IMD003_Dermoscopic_Image" / "IMD003.bmp").unlink()
    shutil.rmtree(home / "IMD004" / "IMD004_lesion")
    shutil.copy(home / "IMD005/IMD005_lesion/IMD005_lesion.bmp", home / "IMD005/IMD005_lesion/other.bmp")
    found = find_ph2(ph2)
    assert not {"IMD003", "IMD004", "IMD005"} & set(diagnoses(found))
    assert "IMD003_Dermoscopic_Image: the picture is missing" in faults(found)
    assert "IMD004_lesion: the picture is missing" in faults(found)
    assert "2 pictures are here" in faults(found)


@pytest.mark.parametrize("ending", ["", "_lesion", "_Segmentation", "_MASK"])
@pytest.mark.parametrize("suffix", [".png", ".BMP"])
def test_plain_masks_may_be_called(skin: Path, ending: str, suffix: str) -> None:
    (skin / "masks" / "L03_lesion.png").rename(skin / "masks" / f"l03{ending}{suffix}")
    found = find_plain(skin)
    assert faults(found) == ""
    assert found is not None
    assert [case.masks["lesion"].name for case in found.cases if case.case == "L03"] == [f"l03{ending}{suffix}"]


def test_a_picture_whose_own_name_ends_like_a_mask(skin: Path) -> None:
    (skin / "images" / "L03.jpg").rename(skin / "images" / "L03_lesion.jpg")
    found = find_plain(skin)
    assert found is not None
    assert {"L03_lesion": "L03_lesion.png"}.items() <= {c.case: c.masks["lesion"].name for c in found.cases}.items()


def test_masks_and_pictures_that_do_not_pair(skin: Path) -> None:
    (skin / "masks" / "L01_lesion.png").unlink()
    shutil.copy(skin / "masks" / "L02_lesion.png", skin / "masks" / "L02.png")
    (skin / "images" / "L03.jpg").unlink()
    shutil.copy(skin / "images" / "L04.jpg", skin / "images" / "l04.png")
    found = find_plain(skin)
    assert not {"L01", "L02", "L03"} & set(diagnoses(found))
    assert "L01.jpg: it has no mask" in faults(found)
    assert "two masks have this name" in faults(found)
    assert "L03_lesion.png: the mask has no picture" in faults(found)
    assert "l04.png: another picture has the same name" in faults(found)


def test_names_of_the_table_that_no_picture_has_are_a_fault(skin: Path) -> None:
    with (skin / "diagnosis.csv").open("a") as file:
        file.write("L77,melanoma\n")
    found = find_plain(skin)
    assert found is not None
    assert [type(fault) for fault in found.faults] == [DatalistError]
    assert "diagnosis.csv: no picture for 1 name (l77)" in faults(found)


def test_part_of_isic_is_a_note_and_not_a_fault(isic: Path) -> None:
    (isic / "ISBI2016_ISIC_Part1_Training_Data" / "ISIC_0000001.jpg").unlink()
    (isic / "ISBI2016_ISIC_Part1_Training_GroundTruth" / "ISIC_0000001_Segmentation.png").unlink()
    found = find_isic2016(isic)
    assert found is not None
    assert found.faults == []
    assert any("No picture for 1 name (isic_0000001)" in note for note in found.notes)


def test_pictures_without_a_diagnosis_are_noted(skin: Path) -> None:
    lines = (skin / "diagnosis.csv").read_text().splitlines()
    (skin / "diagnosis.csv").write_text("\n".join([*lines[:-2], "L10,"]) + "\n")
    found = find_plain(skin)
    assert found is not None
    assert any("No diagnosis in diagnosis.csv for 2 pictures (l10, l11)" in note for note in found.notes)
    assert diagnoses(found)["L10"] is None


def test_patients_of_the_table_are_hashes_and_known_only_if_all_are(skin: Path) -> None:
    lines = [f"L{i:02d}.jpg,nevus,Ms Smith {i // 2}" for i in range(12)]
    (skin / "diagnosis.csv").write_text("\n".join(["image,diagnosis,patient", *lines]))
    found = find_plain(skin)
    assert found is not None
    patients = [case.patient for case in found.cases]
    assert found.patients_known
    assert found.notes == []
    assert len(set(patients)) == 6
    assert patients[0] == patients[1] != patients[2]
    assert not any("Smith" in patient for patient in patients)
    (skin / "diagnosis.csv").write_text("\n".join(["image,diagnosis,patient", "L00,nevus,", *lines[1:]]))
    found = find_plain(skin)
    assert found is not None
    assert not found.patients_known
    assert found.cases[0].patient == "L00"
    assert any("count as their own patients: 1" in note for note in found.notes)


def test_other_folders_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert [find(tmp_path) for find in (find_isic2016, find_ph2, find_plain)] == [None, None, None]
