"""What is written of any segmentation: a mask on the input's grid, an overlay, and how much of each label there is."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.handlers import MaskWriter
from pipelines.key_figures import figures
from pipelines.predicted import read_manifest
from pipelines.preparation.showing import LABEL_COLOURS
from pipelines.readers import read_volume
from pipelines.viewer.cases import read_folder
from pipelines.viewer.images import Images, open_mask
from pipelines.viewer.thumbnails import from_overlay

NAMES = {0: "background", 1: "kidney", 2: "tumour"}
SHAPE = (24, 20, 18)
AFFINE = np.array([[0.0, -1.5, 0, 30], [0, 0, 2.0, -10], [-3.0, 0, 0, 5], [0, 0, 0, 1]])  # axes I, L, A


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """An MR with codes that nobody would guess."""
    image = nib.Nifti1Image(np.random.default_rng(0).gamma(2.0, 150.0, SHAPE).astype(np.float32), AFFINE)
    image.set_sform(AFFINE, code=3)
    image.set_qform(AFFINE, code=2)
    nib.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def labels() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:14, 5:15, 4:12] = 1
    mask[8:10, 8:12, 6:8] = 2
    return mask


def written(scan: Path, out: Path, mask: np.ndarray, names: dict = NAMES) -> dict[str, Path]:
    writer = MaskWriter(str(out), names, provenance={"network": "unet"})
    return writer.write_case("scan", writer.read(scan), {"pred": torch.from_numpy(mask[None])})


def test_the_mask_lies_on_the_scan_with_its_codes_and_the_report_measures_it(scan: Path, tmp_path: Path) -> None:
    files = written(scan, tmp_path / "out", labels())
    assert {kind: path.name for kind, path in files.items()} == {
        "mask": "scan_mask.nii.gz", "overlay": "scan_overlay.png", "report": "scan_report.json",
    }  # fmt: skip
    mask, given = nib.load(files["mask"]), nib.load(scan)
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(mask.dataobj), labels())
    np.testing.assert_array_equal(mask.affine, given.affine)
    assert [int(mask.header[key]) for key in ("sform_code", "qform_code")] == [3, 2]
    report = json.loads(files["report"].read_text())
    assert report["labels"] == {"0": "background", "1": "kidney", "2": "tumour"}
    # a voxel has 9 mm³
    assert report["volumes"] == {
        "kidney": {"voxels": 784, "ml": 7.056, "share": round(784 / 8640, 6)},
        "tumour": {"voxels": 16, "ml": 0.144, "share": round(16 / 8640, 6)},
    }
    assert report["found"] == ["kidney", "tumour"]
    assert (report["input"], report["kind"], report["shape"]) == (str(scan), "volume", list(SHAPE))
    assert report["spacing_mm"] == [3.0, 1.5, 2.0]
    assert report["network"] == "unet"
    assert "not for diagnosis" in report["use"]
    assert [(each["title"], each["text"]) for each in figures(report)] == [("kidney", "7.1 mL"), ("tumour", "0.14 mL")]


def test_the_overlay_has_an_outline_a_label_on_upright_slices(scan: Path, tmp_path: Path) -> None:
    files = written(scan, tmp_path / "out", labels())
    overlay = np.asarray(Image.open(files["overlay"]))
    # axial slices are along the first axis; ten of them hold a label, four in a row; 20 x 1.5 mm across, 18 x 2 mm deep
    assert overlay.shape == (3 * 24, 4 * 20, 3)
    tile = overlay[:24, :20]  # the lowest slice with a label
    assert not (tile == LABEL_COLOURS[1]).all(axis=2).any()
    rows, columns = np.nonzero((tile == LABEL_COLOURS[0]).all(axis=2))
    # the left of the patient is at the right, as along the second axis; the front is up, where the third axis leads
    assert (columns.min(), columns.max()) == (5, 14)
    assert rows.min() == pytest.approx((17 - 11) * 4 / 3, abs=1)
    everywhere = [(overlay == colour).all(axis=2).any() for colour in LABEL_COLOURS]
    assert everywhere == [True, True, False, False, False, False, False]


def test_nothing_found_is_said_and_drawn(scan: Path, tmp_path: Path) -> None:
    files = written(scan, tmp_path / "out", np.zeros(SHAPE, np.uint8))
    report = json.loads(files["report"].read_text())
    assert report["found"] == []
    assert report["volumes"]["tumour"] == {"voxels": 0, "ml": 0.0, "share": 0.0}
    overlay = np.asarray(Image.open(files["overlay"]))
    assert (overlay[..., 0] == overlay[..., 1]).all()
    assert np.ptp(overlay) == 255


def test_a_scan_of_another_kind_of_file_gets_a_nifti_mask(scan: Path, tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    image = itk.image_from_array(np.random.default_rng(0).gamma(2.0, 150.0, SHAPE[::-1]).astype(np.float32))
    image.SetSpacing([1.5, 1.5, 4.0])
    itk.imwrite(image, str(tmp_path / "scan.nrrd"))
    files = written(tmp_path / "scan.nrrd", tmp_path / "out", labels())
    mask = nib.load(files["mask"])
    np.testing.assert_allclose(mask.affine, read_volume(tmp_path / "scan.nrrd").affine)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), labels())


def test_of_a_picture_the_mask_goes_with_the_upright_picture(tmp_path: Path) -> None:
    seen = np.full((40, 60, 3), (220, 180, 160), dtype=np.uint8)
    seen[5:15, 10:30] = (80, 40, 30)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(seen).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    writer = MaskWriter(str(tmp_path / "out"), {"0": "background", "1": "spot", "2": "hair"}, images="colour")
    picture = writer.read(tmp_path / "turned.png")
    mask = (picture.array[:1] < 128).astype(np.uint8)
    mask[:, 50:55, 30:35] = 2
    files = writer.write_case("a/turned", picture, {"pred": torch.from_numpy(mask)})
    stored = Image.open(files["mask"])
    assert (stored.size, stored.mode, files["mask"].name) == ((60, 40), "L", "turned_mask.png")
    values = np.asarray(stored)
    flat = writer.find("flat", picture, {"pred": torch.from_numpy(mask[0])}).mask  # without its channel
    np.testing.assert_array_equal(np.asarray(flat), values)
    assert (values[5:15, 10:30] == 1).all()
    assert (values[30:35, 50:55] == 2).all()
    assert (values > 0).sum() == 225
    report = json.loads(files["report"].read_text())
    assert report["volumes"]["spot"] == {"voxels": 200, "ml": None, "share": round(200 / 2400, 6)}
    assert (report["shape"], report["spacing_mm"], report["kind"]) == ([60, 40], None, "picture")
    assert [each["text"] for each in figures(report)] == ["8.3 %", "1.0 %"]
    overlay = np.asarray(Image.open(files["overlay"]))
    assert overlay.shape == (40, 60, 3)
    assert (overlay[5, 10:30] == LABEL_COLOURS[0]).all()
    assert (overlay[30, 50:55] == LABEL_COLOURS[1]).all()
    np.testing.assert_array_equal(overlay[20:28, 35:48], seen[20:28, 35:48])


def test_what_does_not_fit_is_refused(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="invert the preprocessing"):
        written(scan, tmp_path, labels()[:12])
    with pytest.raises(ValueError, match=r"has the values \[2\]"):
        written(scan, tmp_path, labels(), {0: "background", 1: "kidney"})
    with pytest.raises(ValueError, match="a name of its own"):
        MaskWriter(str(tmp_path), {0: "background", 1: "kidney", 2: "kidney"})
    with pytest.raises(ValueError, match="volume or colour"):
        MaskWriter(str(tmp_path), NAMES, images="grey")  # type: ignore[arg-type]


def test_the_viewer_shows_what_was_written(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = written(scan, out, labels())
    entry = {"input": str(scan), "status": "done", "error": None}
    line = {**entry, "mask": str(files["mask"]), "report": str(files["report"])}
    (out / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    assert read_manifest(out)[0].files.keys() == {"mask", "overlay", "report"}
    case = read_folder(out).cases[0]
    assert (case.kind, case.labels) == ("volume", NAMES)
    (tmp_path / "cache").mkdir()
    shown = Images(tmp_path / "cache").open(scan, case.kind)
    assert shown.intensity == "display"
    assert any("shown as grey from 0 to 255" in note for note in shown.notes)
    values = np.asarray(nib.load(shown.file).dataobj)
    assert (values.min(), values.max()) == (0, 255)
    given = read_volume(scan)
    order = np.argsort(given.array.ravel(), kind="stable")
    assert (np.diff(shown.to_file(values).ravel()[order].astype(int)) >= 0).all()  # no brighter voxel is shown darker
    np.testing.assert_array_equal(shown.to_file(open_mask(files["mask"], shown, NAMES)), labels())
    small = from_overlay(Image.open(files["overlay"]), case.report, files["mask"])
    assert small.size == (20, 24)  # one slice of the ten
