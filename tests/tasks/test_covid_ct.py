from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from pipelines.errors import DatalistError, OutputError, UnreadableFileError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.readers import read_case, read_label
from pipelines.tasks.lung_ct.prepare import phantom_covid_ct, prepare_covid_ct


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_ct_seg_becomes_a_prepared_folder(ct_seg: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_covid_ct(ct_seg, out, folds=3)
    content = load_datalist(out, verify=True)
    assert content["phantom"] is True
    assert content["split"]["patients_known"] is True
    items = [item for section in SECTIONS for item in content[section]]
    assert len(items) == 6
    assert {item["lung"] for item in items} == {"reference"}
    for item in items:
        raw = read_case(ct_seg / "ct_scans" / f"{item['case']}.nii.gz")
        image = read_case(item["image"])
        assert np.array_equal(image.array, raw.array)
        assert nib.Nifti1Image.from_filename(item["image"]).get_data_dtype() == np.int16
        label = read_label(item["label"], image)
        joint = read_label(ct_seg / "lung_and_infection_mask" / f"{item['case']}.nii.gz")
        assert np.array_equal(label, np.select([joint == 3, joint > 0], [2, 1]))
    assert content["counts"]["training"]["slices"] == 8 * len(content["training"])
    for k in range(3):
        assert load_datalist(out, f"datalist_fold{k}.json")["fingerprint"] == content["fingerprint"]
    assert "phantoms" in (out / "report.md").read_text()
    assert Image.open(out / "contact_sheet.png").width > 100


def test_kaggle_names_and_two_series_of_one_patient(ct_seg: Path, tmp_path: Path) -> None:
    names = ["coronacases_001", "radiopaedia_10_85902_1", "radiopaedia_10_85902_3", "radiopaedia_4_85506_1"]
    for old, new in zip((f"phantom_{i:03d}" for i in range(6)), [*names, "coronacases_002", "x"], strict=True):
        for kind in ("lung_mask", "infection_mask", "lung_and_infection_mask"):
            (ct_seg / kind / f"{old}.nii.gz").rename(ct_seg / kind / f"{new}.nii.gz")
        scan = new.replace("coronacases_", "coronacases_org_")
        if new.startswith("radiopaedia"):
            scan = new.replace("radiopaedia_", "radiopaedia_org_covid-19-pneumonia-") + "-dcm"
        (ct_seg / "ct_scans" / f"{old}.nii.gz").rename(ct_seg / "ct_scans" / f"{scan}.nii.gz")
    prepare_covid_ct(ct_seg, tmp_path / "out")
    content = load_datalist(tmp_path / "out")
    patients = {item["case"]: item["patient"] for section in SECTIONS for item in content[section]}
    assert set(names) < set(patients)
    assert patients["radiopaedia_10_85902_1"] == patients["radiopaedia_10_85902_3"] == "radiopaedia_10"
    assert len(set(patients.values())) == 5


def test_volume_that_is_not_in_hounsfield_units_is_taken_and_noted(ct_seg: Path, change, tmp_path: Path) -> None:
    name = "phantom_001.nii.gz"
    change(ct_seg / "ct_scans" / name, lambda a: np.clip((a + 1000.0) / 1400 * 255, 0, 255).astype(np.uint8))
    prepare_covid_ct(ct_seg, tmp_path / "out")
    image = read_case(tmp_path / "out" / "images" / name)
    assert image.intensity == "display"
    assert nib.Nifti1Image.from_filename(image.path).get_data_dtype() == np.uint8
    assert "not Hounsfield units" in (tmp_path / "out" / "report.md").read_text()


def test_dicom_gives_the_same_data_as_nifti_and_hides_the_patient(ct_seg: Path, dicom: Path, tmp_path: Path) -> None:
    for path in dicom.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        ds.PatientID = f"SECRET{path.parent.name}"
        ds.save_as(path)
    prepare_covid_ct(ct_seg, tmp_path / "a")
    prepare_covid_ct(dicom, tmp_path / "b")
    a, b = load_datalist(tmp_path / "a"), load_datalist(tmp_path / "b")
    assert a["fingerprint"] == b["fingerprint"]
    assert b["split"]["patients_known"] is True
    assert not any(b"SECRET" in content for content in everything(tmp_path / "b").values())


def test_dicom_mask_with_another_axis_order_is_turned(dicom: Path, tmp_path: Path) -> None:
    path = dicom / "masks" / "phantom_001.nii.gz"
    prepare_covid_ct(dicom, tmp_path / "a")
    turned = nib.as_closest_canonical(
        nib.Nifti1Image.from_filename(path)
    )  # as dcm2niix stores it: both axes the other way round
    nib.save(turned, path)
    assert not np.array_equal(
        np.asarray(turned.dataobj)[:, :, 4], read_label(tmp_path / "a/labels" / path.name)[:, :, 4]
    )
    prepare_covid_ct(dicom, tmp_path / "b")
    assert load_datalist(tmp_path / "a")["fingerprint"] == load_datalist(tmp_path / "b")["fingerprint"]


def test_lesion_only_dicom_masks_get_a_derived_lung(dicom: Path, change, tmp_path: Path) -> None:
    truth = {}
    for path in (dicom / "masks").iterdir():
        truth[path.name] = read_label(path)
        change(path, lambda m: (m == 2).astype(np.uint8))
    prepared = prepare_covid_ct(dicom, tmp_path / "out", mask_values="lesion", skip_bad=True)
    assert all("all background" in text for text in prepared.left_out)  # the phantoms without lesions
    content = load_datalist(tmp_path / "out")
    for item in (i for section in SECTIONS for i in content[section]):
        assert item["lung"] == "derived"
        label, true = read_label(item["label"]), truth[Path(item["label"]).name]
        assert np.array_equal(label == 2, true == 2)
        dice = 2 * ((label > 0) & (true > 0)).sum() / ((label > 0).sum() + (true > 0).sum())
        assert dice > 0.85


def test_pictures_keep_their_orientation(pictures: Path, tmp_path: Path) -> None:
    prepare_covid_ct(pictures, tmp_path / "out")
    content = load_datalist(tmp_path / "out", verify=True)
    assert content["split"]["patients_known"] is False
    for item in (i for section in SECTIONS for i in content[section]):
        name = f"{item['case']}.png"
        assert np.array_equal(np.array(Image.open(item["image"])), np.array(Image.open(pictures / "images" / name)))
        label = np.array(Image.open(item["label"]))
        assert np.array_equal(label == 2, np.array(Image.open(pictures / "masks" / name)) == 255)
        assert (label == 1).any()
        assert item["lung"] == "derived"
        assert item["patient"] == item["case"]


def test_official_layout_keeps_its_test_set(pictures: Path, tmp_path: Path) -> None:
    raw = tmp_path / "official"
    for i in range(6):
        part = raw / ("LungInfection-Train/Doctor-label" if i < 4 else "LungInfection-Test")
        for source, target in (("images", "Imgs"), ("masks", "GT")):
            (part / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(pictures / source / f"{i}.png", part / target / f"{i % 4}.png")
    split = prepare_covid_ct(raw, tmp_path / "out").split
    assert split["test"] == ["test_0", "test_1"]
    assert sorted(split["training"] + split["validation"]) == [f"train_{i}" for i in range(4)]


def test_equal_images_are_refused_and_named(pictures: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        shutil.copy(pictures / kind / "2.png", pictures / kind / "9.png")
    with pytest.raises(DatalistError, match=r"9\.png: the image equals .*2\.png"):
        prepare_covid_ct(pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepared = prepare_covid_ct(pictures, tmp_path / "out", skip_bad=True)
    assert "9" not in [name for section in SECTIONS for name in prepared.split[section]]
    assert "9.png" in (tmp_path / "out" / "report.md").read_text()


def test_skip_bad_leaves_out_and_lists(pictures: Path, tmp_path: Path) -> None:
    (pictures / "images" / "4.png").write_bytes(b"no picture")
    prepared = prepare_covid_ct(pictures, tmp_path / "out", skip_bad=True)
    assert sorted(n for s in SECTIONS for n in prepared.split[s]) == ["0", "1", "2", "3", "5"]
    assert len(prepared.left_out) == 1
    assert "Left out" in (tmp_path / "out" / "report.md").read_text()


def test_nothing_usable_is_the_first_fault_even_with_skip_bad(pictures: Path, tmp_path: Path) -> None:
    for path in (pictures / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UnreadableFileError, match="6 faults"):
        prepare_covid_ct(pictures, tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


def test_hostile_names_do_not_reach_the_prepared_folder(pictures: Path, tmp_path: Path) -> None:
    for i, name in enumerate((b"=cmd()|x", b"<b>caf\xe9")):
        for kind in ("images", "masks"):
            (pictures / kind / f"{i}.png").rename(pictures / kind / os.fsdecode(name + b".png"))
    prepare_covid_ct(pictures, tmp_path / "out")
    content = load_datalist(tmp_path / "out")
    names = [item["case"] for section in SECTIONS for item in content[section]]
    assert len(names) == 6
    assert all(name.isascii() and not set(name) & set("=<>|()") for name in names)
    assert "<b>" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_exif_turned_picture_is_stored_upright(pictures: Path, tmp_path: Path) -> None:
    upright = Image.open(pictures / "images" / "1.png").convert("L")
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[274] = 6  # turn by 270 degrees to see it upright
    lying.save(pictures / "images" / "1.jpg", quality=95, exif=exif)
    (pictures / "images" / "1.png").unlink()
    prepare_covid_ct(pictures, tmp_path / "out")
    stored = np.array(Image.open(tmp_path / "out" / "images" / "1.png")).astype(int)
    assert np.abs(stored - np.array(upright)).mean() < 3


def test_existing_output(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_covid_ct(pictures, out)
    before = everything(out)
    with pytest.raises(OutputError, match="--force"):
        prepare_covid_ct(pictures, out)
    assert everything(out) == before
    prepare_covid_ct(pictures, out, force=True)
    assert everything(out) == before  # the same data, the same bytes
    prepare_covid_ct(pictures, out, force=True, seed=1)
    assert json.loads((out / "datalist.json").read_text())["split"]["seed"] == 1
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="not written by this command"):
        prepare_covid_ct(pictures, mine, force=True)
    assert [p.name for p in mine.iterdir()] == ["thesis.tex"]


def test_raw_and_out_inside_each_other(pictures: Path) -> None:
    with pytest.raises(UsageError, match="inside each other"):
        prepare_covid_ct(pictures, pictures / "out")


def test_unknown_and_nested_layouts(ct_seg: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="none of the layouts"):
        prepare_covid_ct(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UsageError, match=r"further in; give .*ct_seg"):
        prepare_covid_ct(tmp_path, tmp_path.parent / "out")
    with pytest.raises(UnreadableFileError, match="no such folder"):
        prepare_covid_ct(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(UsageError, match="leave it out"):
        prepare_covid_ct(ct_seg, tmp_path / "out", mask_values="lesion")


def test_phantoms_prepared_twice_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        phantom_covid_ct(tmp_path / name, cases=4, size=64, slices=8, seed=3)
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    assert load_datalist(tmp_path / "a")["name"] == "covid_ct_phantom"


def test_phantom_options_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both only with --raw"):
        phantom_covid_ct(tmp_path / "out", file_format="both")
    with pytest.raises(UsageError, match="too few cases"):
        phantom_covid_ct(tmp_path / "out", cases=2)
    assert list(tmp_path.iterdir()) == []


def test_the_real_slices(shared_data: Path, tmp_path: Path) -> None:
    raw = shared_data / "lung_ct_lesions"
    prepared = prepare_covid_ct(raw, tmp_path / "out", folds=5)
    assert [len(prepared.split[section]) for section in SECTIONS] == [30, 10, 10]
    content = load_datalist(tmp_path / "out", verify=True)
    assert content["phantom"] is False
    for item in content["test"]:
        label = np.array(Image.open(item["label"]))
        mask = np.array(Image.open(raw / "masks" / f"{item['case']}.png"))
        assert np.array_equal(label == 2, mask == 255)
        assert 0.05 < (label > 0).mean() < 0.9
    tested = [
        item["case"] for k in range(5) for item in load_datalist(tmp_path / "out", f"datalist_fold{k}.json")["test"]
    ]
    assert len(tested) == len(set(tested)) == 50
