from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets import files
from pipelines.errors import (
    DatalistError,
    GeometryError,
    IntensityError,
    LabelError,
    OutputError,
    PipelinesError,
    UnreadableFileError,
    UnsupportedImageError,
    UsageError,
)
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.readers import read_colour
from pipelines.tasks.dermoscopy.prepare import OUTLINE, SKIN_LABELS, prepare_skin_lesions


def items_of(out: Path) -> dict[str, dict]:
    content = load_datalist(out, verify=True, labels=SKIN_LABELS)
    return {item["case"]: item for section in SECTIONS for item in content[section]}


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(raw: Path, kind: type[PipelinesError], *words: str) -> None:
    out = raw.parent / "out"
    with pytest.raises(kind) as caught:
        prepare_skin_lesions("skin_lesions", raw, out)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert sorted(raw.parent.glob("*out*")) == []


def test_a_plain_folder_becomes_a_prepared_one(skin: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_skin_lesions("ph2", skin, out, folds=3)
    content = load_datalist(out, labels={0: "background", 1: "lesion"})
    assert (content["name"], content["phantom"], content["left_out"]) == ("ph2", False, [])
    assert content["split"]["patients_known"] is False
    items = items_of(out)
    assert len(items) == 12
    for name, item in items.items():
        assert set(item) == {"image", "label", "patient", "case", "diagnosis", "source"}
        assert Path(item["image"]).read_bytes() == (skin / "images" / f"{name}.jpg").read_bytes()
        label = Image.open(item["label"])
        mask = np.asarray(Image.open(skin / "masks" / f"{name}_lesion.png"))
        assert label.mode == "L"
        np.testing.assert_array_equal(np.asarray(label), mask // 255)
        assert item["patient"] == name
        assert item["diagnosis"] == ("melanoma" if int(name[1:]) % 4 == 0 else "common nevus")
    for k in range(3):
        assert load_datalist(out, f"datalist_fold{k}.json")["fingerprint"] == content["fingerprint"]


def test_the_report_and_the_sheet_show_what_there_is(skin: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_skin_lesions("skin_lesions", skin, out)
    report = (out / "report.md").read_text()
    counts = load_datalist(out)["counts"]
    assert sum((Counter(counts[s]["diagnoses"]) for s in SECTIONS), Counter()) == {"common nevus": 9, "melanoma": 3}
    cells = [[counts[s]["diagnoses"][name] for s in SECTIONS] for name in ("common nevus", "melanoma")]
    shares = sorted(np.asarray(Image.open(i["label"])).mean() * 100 for i in items_of(out).values())
    for name, row in zip(("common nevus", "melanoma"), cells, strict=True):
        assert f"| {name} | {' | '.join(map(str, row))} |" in report
    assert f"{shares[0]:.2f} % | copied |" in report
    assert "each image counts as its own patient" in report
    assert "Patients are not known" in report
    sheet = np.asarray(Image.open(out / "contact_sheet.png"))
    assert (sheet == OUTLINE).all(axis=2).sum() > 12 * 30
    assert np.ptp(sheet.astype(int), axis=2).max() > 60  # in colour


@pytest.mark.parametrize(("name", "layout"), [("isic2016", "isic"), ("ph2", "ph2"), ("skin_lesions", "isic")])
def test_layouts_as_released(name: str, layout: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    prepared = prepare_skin_lesions(name, request.getfixturevalue(layout), tmp_path / "out")
    items = items_of(tmp_path / "out")
    assert len(items) == 12
    if layout == "isic":
        assert prepared.split["test"] == [f"ISIC_{i:07d}" for i in range(8, 12)]
        assert items["ISIC_0000008"]["diagnosis"] == "malignant"
    else:
        assert {Path(item["image"]).suffix for item in items.values()} == {".png"}
        raw = tmp_path / "ph2/PH2Dataset/PH2 Dataset images/IMD007/IMD007_Dermoscopic_Image/IMD007.bmp"
        assert np.array_equal(np.asarray(Image.open(items["IMD007"]["image"])), np.asarray(Image.open(raw)))


def test_a_dataset_in_the_layout_of_another_is_refused(isic: Path, ph2: Path, tmp_path: Path) -> None:
    for name, raw in (("ph2", isic), ("isic2016", ph2)):
        with pytest.raises(UsageError, match="none of the layouts"):
            prepare_skin_lesions(name, raw, tmp_path / "out")
    with pytest.raises(UsageError, match="choose one of isic2016, ph2, skin_lesions"):
        prepare_skin_lesions("ham10000", isic, tmp_path / "out")
    with pytest.raises(UsageError, match=r"further in; give .*isic"):
        prepare_skin_lesions("isic2016", tmp_path, tmp_path.parent / "out")
    shutil.copytree(isic, ph2, dirs_exist_ok=True)
    with pytest.raises(UsageError, match="two datasets"):
        prepare_skin_lesions("skin_lesions", ph2, tmp_path / "out")


def test_diagnoses_are_spread_over_splits_and_folds(skin: Path, tmp_path: Path) -> None:
    for seed in range(3):
        out = tmp_path / f"out{seed}"
        prepare_skin_lesions("skin_lesions", skin, out, seed=seed, validation=1 / 3, test=1 / 3, folds=3)
        for name in ("datalist.json", *(f"datalist_fold{k}.json" for k in range(3))):
            counts = load_datalist(out, name)["counts"]
            assert counts["test"]["diagnoses"] == {"common nevus": 3, "melanoma": 1}


def test_a_split_without_a_diagnosis_is_said(skin: Path, tmp_path: Path) -> None:
    prepared = prepare_skin_lesions("skin_lesions", skin, tmp_path / "out", validation=0.1, test=0.1)
    assert "The validation set has no picture with the diagnosis melanoma." in prepared.warnings


def test_patients_of_the_table_stay_together(skin: Path, tmp_path: Path) -> None:
    lines = [f"L{i:02d},nevus,p{i // 3}" for i in range(12)]
    (skin / "diagnosis.csv").write_text("\n".join(["image,diagnosis,patient", *lines]))
    prepare_skin_lesions("skin_lesions", skin, tmp_path / "out")
    content = load_datalist(tmp_path / "out")
    assert content["split"]["patients_known"] is True
    assert all(len(content[section]) % 3 == 0 for section in SECTIONS)


def test_without_a_table_diagnoses_are_null_and_reach_training_as_unknown(skin: Path, tmp_path: Path) -> None:
    (skin / "diagnosis.csv").unlink()
    prepare_skin_lesions("skin_lesions", skin, tmp_path / "out")
    assert {item["diagnosis"] for item in items_of(tmp_path / "out").values()} == {None}
    found = files(tmp_path / "out", "datalist.json", "training", SKIN_LABELS)
    assert [item["diagnosis"] for item in found] == ["unknown"] * len(found)
    assert "| unknown |" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("kind", ["turned", "grey", "bmp", "alpha", "progressive", "png"])
def test_only_upright_rgb_jpeg_and_png_are_copied(skin: Path, tmp_path: Path, kind: str) -> None:
    old = skin / "images" / "L05.jpg"
    picture = Image.open(old).copy()
    old.unlink()
    path = old.with_suffix({"bmp": ".bmp", "alpha": ".png", "png": ".png"}.get(kind, ".jpg"))
    exif = Image.Exif()
    if kind == "turned":
        exif[274] = 8
        picture = picture.transpose(Image.Transpose.ROTATE_270)
    elif kind in ("grey", "alpha"):
        picture = picture.convert("L" if kind == "grey" else "RGBA")
    more = {"exif": exif} if kind == "turned" else {}
    picture.save(path, **({**more, "quality": 95} if path.suffix == ".jpg" else {}))
    prepare_skin_lesions("skin_lesions", skin, tmp_path / "out")
    stored = Path(items_of(tmp_path / "out")["L05"]["image"])
    copied = kind in ("progressive", "png")
    assert (stored.read_bytes() == path.read_bytes()) == copied
    assert stored.suffix == (path.suffix if copied else ".png")
    read = read_colour(stored)
    assert read.notes == ()
    np.testing.assert_array_equal(read.array, read_colour(path).array)
    assert read.array.shape == (3, 64, 48)


def test_a_lying_mask_of_a_turned_picture_is_turned_and_noted(skin: Path, tmp_path: Path) -> None:
    picture, mask = (Image.open(skin / name) for name in ("images/L05.jpg", "masks/L05_lesion.png"))
    exif = Image.Exif()
    exif[274] = 6
    upright = np.asarray(mask) // 255
    picture.transpose(Image.Transpose.ROTATE_90).save(skin / "images/L05.jpg", exif=exif, quality=95)
    mask.transpose(Image.Transpose.ROTATE_90).save(skin / "masks/L05_lesion.png")
    prepare_skin_lesions("skin_lesions", skin, tmp_path / "out")
    label = items_of(tmp_path / "out")["L05"]["label"]
    np.testing.assert_array_equal(np.asarray(Image.open(label)), upright)
    assert "L05: the mask was turned as the EXIF" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda p, m: p.write_bytes(b""), UnreadableFileError, "empty"),
        (lambda p, m: p.write_bytes(p.read_bytes()[:900]), UnreadableFileError, "truncated"),
        (lambda p, m: Image.new("RGB", (64, 48), "pink").save(p), IntensityError, "every pixel"),
        (lambda p, m: Image.new("RGB", (20, 20)).save(p), UnsupportedImageError, "too small"),
        (lambda p, m: Image.new("L", (64, 48)).save(m), LabelError, "the mask is empty"),
        (lambda p, m: Image.linear_gradient("L").resize((64, 48)).save(m), LabelError, "never JPEG"),
        (lambda p, m: Image.open(m).resize((32, 24), Image.Resampling.NEAREST).save(m), GeometryError, "64 x 48"),
        (lambda p, m: m.unlink(), UnreadableFileError, "no mask"),
    ],
)
def test_a_faulty_case_stops_everything(
    skin: Path, spoil: Callable[[Path, Path], object], kind: type[PipelinesError], words: str
) -> None:
    spoil(skin / "images" / "L05.jpg", skin / "masks" / "L05_lesion.png")
    refused(skin, kind, words, "L05")


def test_all_faulty_pictures_are_named_at_once_and_skipped_when_told(skin: Path, tmp_path: Path) -> None:
    for i in (1, 2):
        (skin / "images" / f"L{i:02d}.jpg").write_bytes(b"")
    refused(skin, UnreadableFileError, "2 faults in a dataset of 12", "L01.jpg", "L02.jpg", "--skip-bad")
    prepared = prepare_skin_lesions("skin_lesions", skin, tmp_path / "out", skip_bad=True)
    assert len(prepared.left_out) == 2
    assert not {"L01", "L02"} & set(items_of(tmp_path / "out"))
    assert "L01.jpg: the file is empty" in (tmp_path / "out" / "report.md").read_text()


def test_a_table_that_cannot_be_read_is_not_skipped(skin: Path, tmp_path: Path) -> None:
    (skin / "diagnosis.csv").write_text("a,b\n")
    with pytest.raises(DatalistError, match="header"):
        prepare_skin_lesions("skin_lesions", skin, tmp_path / "out", skip_bad=True)


def test_equal_pictures_are_refused_though_their_files_differ(skin: Path) -> None:
    Image.open(skin / "images" / "L02.jpg").save(skin / "images" / "L12.png")
    shutil.copy(skin / "masks" / "L02_lesion.png", skin / "masks" / "L12.png")
    refused(skin, DatalistError, "L12.png: the image equals", "L02.jpg")


def test_a_likeness_across_splits_is_reported(skin: Path, tmp_path: Path) -> None:
    table = (skin / "diagnosis.csv").read_text().splitlines()[1:]
    lines = [f"{line},{i}" for i, line in enumerate(table)] + [f"M{i:02d},,{i + 12}" for i in range(12)]
    (skin / "diagnosis.csv").write_text("\n".join(["image,diagnosis,patient", *lines]) + "\n")
    for i in range(12):  # each saved again, a little darker, and said to be another patient's: some pair is torn apart
        Image.open(skin / "images" / f"L{i:02d}.jpg").point(lambda v: v * 0.9).save(skin / "images" / f"M{i:02d}.jpg")
        shutil.copy(skin / "masks" / f"L{i:02d}_lesion.png", skin / "masks" / f"M{i:02d}.png")
    prepared = prepare_skin_lesions("skin_lesions", skin, tmp_path / "out")
    where = {name: section for section in SECTIONS for name in prepared.split[section]}
    torn = [i for i in range(12) if where[f"L{i:02d}"] != where[f"M{i:02d}"]]
    report = (tmp_path / "out" / "report.md").read_text()
    assert torn
    assert all(f"L{i:02d} and M{i:02d} look alike" in report for i in torn)
    assert report.count("look alike") == len(torn)


def test_hostile_picture_names_do_not_reach_the_prepared_folder(skin: Path, tmp_path: Path) -> None:
    for i, name in enumerate((b"=cmd()|x", b"<b>caf\xe9")):
        (skin / "images" / f"L{i:02d}.jpg").rename(skin / "images" / os.fsdecode(name + b".jpg"))
        (skin / "masks" / f"L{i:02d}_lesion.png").rename(skin / "masks" / os.fsdecode(name + b"_lesion.png"))
    (skin / "diagnosis.csv").unlink()
    prepare_skin_lesions("skin_lesions", skin, tmp_path / "out")
    assert all(name.isascii() and not set(name) & set("=<>|()") for name in items_of(tmp_path / "out"))
    assert "<b>" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_the_same_data_are_the_same_bytes_and_replaced_only_when_told(skin: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_skin_lesions("skin_lesions", skin, out)
    before = everything(out)
    with pytest.raises(OutputError, match="--force"):
        prepare_skin_lesions("skin_lesions", skin, out)
    prepare_skin_lesions("skin_lesions", skin, out, force=True)
    assert everything(out) == before


def test_a_picture_that_changes_meanwhile_leaves_nothing(
    skin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.tasks.dermoscopy import prepare as skin_lesions

    def meddling(raw):
        checked = checking(raw)
        if raw.case == "L05":
            raw.image.write_bytes((skin / "images" / "L06.jpg").read_bytes())
        return checked

    checking = skin_lesions.check_picture
    monkeypatch.setattr(skin_lesions, "check_picture", meddling)
    refused(skin, UnreadableFileError, "changed while it was being prepared", "L05.jpg")


def test_the_real_lesions(shared_data: Path, tmp_path: Path) -> None:
    raw = shared_data / "skin_lesions"
    if not raw.is_dir():
        pytest.skip(f"the 120 pictures of PH2 are not here ({raw})")
    prepared = prepare_skin_lesions("ph2", raw, tmp_path / "out", folds=5)
    assert [len(prepared.split[section]) for section in SECTIONS] == [72, 24, 24]
    counts = load_datalist(tmp_path / "out", verify=True)["counts"]
    for section, least in (("training", 28), ("validation", 9), ("test", 9)):
        diagnoses = counts[section]["diagnoses"]
        assert least <= min(diagnoses["atypical nevus"], diagnoses["common nevus"])
        assert 2 * diagnoses["melanoma"] - diagnoses["common nevus"] in range(-2, 3)
    assert "look alike" not in (tmp_path / "out" / "report.md").read_text()
