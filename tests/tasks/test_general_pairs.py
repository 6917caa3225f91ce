"""Images with masks of anything: what is found, what comes out, and that a bundle's transforms take it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.datasets import files
from pipelines.handlers import MaskWriter
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, hidden_patient
from pipelines.tasks.general.pair_layout import find_pairs
from pipelines.tasks.general.pairs import prepare_pairs
from pipelines.tasks.general.phantoms import phantom_pairs
from pipelines.transforms import LoadLabeld, LoadPictured, LoadVolumed

NAMES = {"0": "background", "1": "organ", "2": "lesion"}


@pytest.fixture(scope="module")
def volumes_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "raw"
    phantom_pairs(out, cases=8, size=32, raw=True)
    return out


@pytest.fixture(scope="module")
def pictures_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "raw"
    phantom_pairs(out, dims=2, cases=8, size=64, raw=True)
    return out


@pytest.fixture
def volumes(volumes_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(volumes_once, tmp_path / "volumes"))


@pytest.fixture
def pictures(pictures_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pictures_once, tmp_path / "pictures"))


def everything(folder: Path) -> dict[str, dict]:
    content = load_datalist(folder, verify=True)
    return {item["case"]: item for section in ("training", "validation", "test") for item in content[section]}


def test_volumes_come_out_as_they_went_in(volumes: Path, tmp_path: Path) -> None:
    prepared = prepare_pairs(volumes, tmp_path / "kidneys")
    content = load_datalist(tmp_path / "kidneys", labels={0: "background", 1: "organ", 2: "lesion"})
    assert (content["name"], content["labels"], content["phantom"]) == ("kidneys_phantom", NAMES, True)
    assert content["split"]["patients_known"] is True
    items = everything(tmp_path / "kidneys")
    assert len(items) == 8
    for name, item in items.items():
        raw, mask = (nib.load(volumes / kind / f"{name}.nii.gz") for kind in ("images", "masks"))
        image, label = nib.load(item["image"]), nib.load(item["label"])
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.asarray(raw.dataobj))
        np.testing.assert_array_equal(np.asarray(label.dataobj), np.asarray(mask.dataobj))
        np.testing.assert_allclose(image.affine, raw.affine, atol=1e-5)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
    # every fourth phantom is another scan of the person before
    assert items["phantom_003"]["patient"] == items["phantom_002"]["patient"] == hidden_patient("person 002")
    assert len({item["patient"] for item in items.values()}) == 6
    assert sum(map(len, prepared.split.values())) == 8
    report = (tmp_path / "kidneys" / "report.md").read_text()
    assert "| 1 | organ | 1 |" in report
    assert "| 2 | lesion | 2 |" in report
    assert "| left to right, voxels | 32 | 32 | 32 |" in report  # along whatever axis it is stored
    assert "| feet to head, voxels | 16 | 16 | 16 |" in report
    assert Image.open(tmp_path / "kidneys" / "contact_sheet.png").size[0] > 500


def test_a_bundle_loads_what_was_prepared(volumes: Path, pictures: Path, tmp_path: Path) -> None:
    for raw, loader, channels, axes in ((volumes, LoadVolumed, 1, 3), (pictures, LoadPictured, 3, 2)):
        out = tmp_path / f"out{axes}"
        prepare_pairs(raw, out)
        items = files(out, "datalist.json", "training", labels={0: "background", 1: "organ", 2: "lesion"})
        item = LoadLabeld("label", values=(0, 1, 2))(loader("image")(items[0]))
        assert item["image"].shape[0] == channels
        assert item["image"].ndim == item["label"].ndim == axes + 1
        assert item["image"].shape[1:] == item["label"].shape[1:]
        assert np.unique(item["label"]).tolist() == [0, 1, 2]


def test_a_mask_along_other_axes_is_turned_onto_its_image(volumes: Path, tmp_path: Path) -> None:
    path = volumes / "masks" / "phantom_000.nii.gz"
    expected = nib.load(path)
    values, affine = np.asarray(expected.dataobj), expected.affine
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(("S", "R", "A"))
    )
    nib.save(nib.Nifti1Image(values, affine).as_reoriented(turn), path)
    prepare_pairs(volumes, tmp_path / "out")
    np.testing.assert_array_equal(nib.load(tmp_path / "out/labels/phantom_000.nii.gz").get_fdata(), values)


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_volumes_of_slicer_and_itk_with_fractions(tmp_path: Path, ending: str) -> None:
    itk = pytest.importorskip("itk")
    raw = tmp_path / "raw"
    rng = np.random.default_rng(0)
    for i in range(4):
        values = rng.normal(0, 1, (18, 20, 24)).astype(np.float32)
        for name, array in ((f"{i}", values), (f"{i}_seg", (values > 1.2).astype(np.uint8))):
            image = itk.image_from_array(array)
            image.SetSpacing([0.9, 0.9, 3.0])
            raw.mkdir(exist_ok=True)
            itk.imwrite(image, str(raw / f"{name}.{ending}"))
    prepare_pairs(raw, tmp_path / "out", labels=["background", "bright"])
    item = everything(tmp_path / "out")["3"]
    image = nib.load(item["image"])
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(image.dataobj), values.transpose(2, 1, 0))
    np.testing.assert_array_equal(np.asarray(nib.load(item["label"]).dataobj), values.transpose(2, 1, 0) > 1.2)


def test_pictures_are_copied_and_their_masks_numbered(pictures: Path, tmp_path: Path) -> None:
    grey = Image.open(pictures / "images" / "phantom_001.png").convert("L")
    grey.save(pictures / "images" / "phantom_001.png")
    prepare_pairs(pictures, tmp_path / "out")
    items = everything(tmp_path / "out")
    raw = pictures / "images" / "phantom_000.png"
    assert Path(items["phantom_000"]["image"]).read_bytes() == raw.read_bytes()
    stored = Image.open(items["phantom_001"]["image"])
    assert (stored.mode, np.asarray(stored)[:, :, 1].tolist()) == ("RGB", np.asarray(grey).tolist())
    for name, item in items.items():
        np.testing.assert_array_equal(Image.open(item["label"]), Image.open(pictures / "masks" / f"{name}.png"))


def arranged(raw: Path, layout: str) -> None:
    """The pictures in another of the layouts."""
    images, masks = sorted((raw / "images").iterdir()), sorted((raw / "masks").iterdir())
    for image, mask in zip(images, masks, strict=True):
        name = image.stem
        place = {
            "labels": (f"Images/{name}.png", f"Labels/{name}.png"),
            "words": (f"images/{name}.png", f"masks/{name}_SomeWord.png"),
            "known": (f"images/{name}.png", f"masks/{name}_Segmentation.PNG"),
            "nnunet": (f"imagesTr/{name}_0000.png", f"labelsTr/{name}.png"),
            "beside": (f"{name}.png", f"{name}_gt.png"),
        }[layout]
        for old, new in zip((image, mask), place, strict=True):
            (raw / new).parent.mkdir(exist_ok=True)
            old.rename(raw / new)
    for old in ("images", "masks"):
        if not any((raw / old).iterdir()):
            (raw / old).rmdir()


@pytest.mark.parametrize("layout", ["labels", "words", "known", "nnunet", "beside"])
def test_layouts(pictures: Path, tmp_path: Path, layout: str) -> None:
    expected = {c.case: c.patient for c in find_pairs(pictures).cases}
    hidden = b"\0\5\26\7 what macOS leaves"
    arranged(pictures, layout)
    home = next(path for path in pictures.rglob("phantom_000*.png")).parent
    (home / "._phantom_000.png").write_bytes(hidden)
    (home / ".DS_Store").write_bytes(hidden)
    (home / "readme.txt").write_text("hello")
    found = find_pairs(pictures)
    assert found.faults == []
    assert {c.case: c.patient for c in found.cases} == expected
    assert any("readme.txt" in note for note in found.notes)
    assert not any("DS_Store" in note or "._" in note for note in found.notes)
    prepare_pairs(pictures, tmp_path / "out")


def test_without_patients_each_case_is_its_own_and_the_report_warns(pictures: Path, tmp_path: Path) -> None:
    (pictures / "patients.csv").unlink()
    prepared = prepare_pairs(pictures, tmp_path / "out")
    assert PATIENTS_UNKNOWN in prepared.warnings
    assert all(item["patient"] == name for name, item in everything(tmp_path / "out").items())
    (pictures / "patients.csv").write_text("patient,case\nAnn,phantom_000.png\nann ,phantom_001\n,phantom_002\n")
    prepared = prepare_pairs(pictures, tmp_path / "some")
    items = everything(tmp_path / "some")
    assert items["phantom_000"]["patient"] == items["phantom_001"]["patient"] == hidden_patient("Ann")
    assert "Cases without a patient in patients.csv count as their own patients: 6." in prepared.warnings


def test_values_are_numbered_in_their_order_and_named(pictures: Path, tmp_path: Path) -> None:
    for path in (pictures / "masks").iterdir():
        values = np.asarray(Image.open(path))
        Image.fromarray(np.choose(values, [0, 4, 9]).astype(np.uint8)).save(path)
    (pictures / "labels.json").unlink()
    prepared = prepare_pairs(pictures, tmp_path / "none")
    assert load_datalist(tmp_path / "none")["labels"] == {"0": "background", "1": "label 4", "2": "label 9"}
    assert any("4 became 1, 9 became 2" in text for text in prepared.warnings)
    assert any("have no names of their own" in text for text in prepared.warnings)
    (pictures / "labels.json").write_text(json.dumps({"4": "liver", "7": "vessel", "9": "tumour"}))
    prepared = prepare_pairs(pictures, tmp_path / "file")
    names = {"0": "background", "1": "liver", "2": "vessel", "3": "tumour"}
    assert load_datalist(tmp_path / "file")["labels"] == names
    assert "No mask holds vessel." in prepared.warnings
    assert np.unique(Image.open(tmp_path / "file/labels/phantom_000.png")).tolist() == [0, 1, 3]
    prepare_pairs(pictures, tmp_path / "given", labels=["ground", "a", "b"])
    assert load_datalist(tmp_path / "given")["labels"] == {"0": "ground", "1": "a", "2": "b"}


def test_masks_of_0_and_255_count_as_0_and_1(pictures: Path, tmp_path: Path) -> None:
    (pictures / "labels.json").unlink()
    for number, path in enumerate(sorted((pictures / "masks").iterdir())):
        area = np.asarray(Image.open(path)) > 0
        if number == 0:  # a JPEG rings beside the outline
            Image.fromarray(area.astype(np.uint8) * 255).save(path.with_suffix(".jpg"), quality=95)
            path.unlink()
        else:  # two of them are numbered as they should be
            Image.fromarray(area.astype(np.uint8) * (1 if number < 3 else 255)).save(path)
    prepare_pairs(pictures, tmp_path / "out", labels=["background", "mole"])
    assert load_datalist(tmp_path / "out")["labels"] == {"0": "background", "1": "mole"}
    for item in everything(tmp_path / "out").values():
        assert np.unique(Image.open(item["label"])).tolist() == [0, 1]


def test_an_empty_mask_is_kept_and_warned_of_and_labels_are_spread(pictures: Path, tmp_path: Path) -> None:
    for name in ("phantom_000", "phantom_001"):
        Image.fromarray(np.zeros((48, 64), np.uint8)).save(pictures / "masks" / f"{name}.png")
    prepared = prepare_pairs(pictures, tmp_path / "out")
    assert "Masks that are all background: 2. Complete those in which something is missing." in prepared.warnings
    assert "phantom\\_000: the mask is all background" in (tmp_path / "out" / "report.md").read_text()
    counts = load_datalist(tmp_path / "out")["counts"]
    assert all(counts[section]["labels"]["lesion"] > 0 for section in counts)


def test_corrected_predictions_are_pairs_too(volumes: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions"
    writer = MaskWriter(str(out), {0: "background", 1: "organ", 2: "cyst"})
    lines = []
    for path in sorted((volumes / "images").iterdir())[:5]:
        case = writer.read(path)
        name = path.name.split(".")[0]
        written = writer.write_case(name, case, {"pred": torch.zeros((1, *case.array.shape))})
        entry = {"input": str(path), "status": "done", "error": None, "mask": str(written["mask"])}
        lines.append(json.dumps({**entry, "report": str(written["report"])}))
    (out / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    (out / "corrected").mkdir()
    for number in range(4):
        name = f"phantom_{number:03d}"
        shutil.copy(volumes / "masks" / f"{name}.nii.gz", out / "corrected" / f"{name}_mask.nii.gz")
    prepared = prepare_pairs(out, tmp_path / "out")
    assert "Cases without a corrected mask were left out: 1." in prepared.warnings
    assert load_datalist(tmp_path / "out")["labels"] == {"0": "background", "1": "organ", "2": "cyst"}
    for name, item in everything(tmp_path / "out").items():
        expected = nib.load(volumes / "masks" / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(nib.load(item["label"]).dataobj), np.asarray(expected.dataobj))


def test_real_skin_pictures_are_prepared_as_they_lie(shared_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for kind in ("images", "masks"):
        (raw / kind).mkdir(parents=True)
        for path in sorted((shared_data / "skin_lesions" / kind).iterdir())[:12]:
            shutil.copy(path, raw / kind)
    prepare_pairs(raw, tmp_path / "my_moles", labels=["background", "mole"])
    content = load_datalist(tmp_path / "my_moles", verify=True)
    assert (content["name"], content["phantom"]) == ("my_moles", False)
    assert sum(section["cases"] for section in content["counts"].values()) == 12
