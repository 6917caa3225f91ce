"""``predict --dicom``: what each bundle writes of DICOM, and of what is none."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_inputs import SAGITTAL, write_enhanced, write_series
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from pipelines.__main__ import main
from pipelines.errors import ConfigError
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.tasks.lung_ct.phantom import make_lung_phantom

BUNDLES = ("covid_ct_lesion_segmentation", "skin_lesion_segmentation", "chest_xray_pneumonia_classification")
DRAWN = ["--unlike", "note"]  # a spot drawn on a ground is no dermoscopy


def _as_dicom(path: Path, pixels: np.ndarray, sop_class: str, modality: str) -> Path:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = sop_class, generate_uid(), modality
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.StudyID, dataset.AccessionNumber = "p", "A^B", "1", ""
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.ReferringPhysicianName, dataset.ImageType = "", ["ORIGINAL", "PRIMARY"]
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    colour = pixels.ndim == 3
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 7, 0, pixels.tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def _predicted(project: Path, bundle: str, source: Path, out: Path) -> dict:
    code = main(
        ["predict", str(project / "bundles" / bundle), str(source), "--out", str(out), "--dicom", "--fast", *DRAWN]
    )
    assert code == 0
    (line,) = (out / "manifest.jsonl").read_text().splitlines()
    return json.loads(line)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_what_was_dicom_is_answered_in_dicom(project, tmp_path, bundle, request) -> None:
    rng = np.random.default_rng(0)
    if bundle.startswith("covid"):
        source = request.getfixturevalue("shared_data") / "ct_dicom" / "series3"
        first = source / "01.dcm"
    elif bundle.startswith("skin"):
        rgb = np.full((120, 160, 3), (220, 180, 160), np.uint8)
        rgb[40:80, 60:110] = (90, 50, 40)
        rgb = (rgb + rng.integers(0, 9, rgb.shape)).astype(np.uint8)
        source = first = _as_dicom(tmp_path / "s.dcm", rgb, "1.2.840.10008.5.1.4.1.1.77.1.4", "XC")
    else:
        grey = np.asarray(Image.fromarray(make_chest_xray_phantom(1, 240, pneumonia=True).picture))
        source = first = _as_dicom(tmp_path / "x.dcm", grey, "1.2.840.10008.5.1.4.1.1.1", "CR")
    line = _predicted(project, bundle, source, tmp_path / "out")
    masked = not bundle.endswith("classification")
    assert line["files"].keys() >= ({"seg", "sr", "preview"} if masked else {"sr", "preview"})
    assert ("seg" in line["files"]) == masked
    study = pydicom.dcmread(first).StudyInstanceUID
    for kind in line["files"].keys() & {"seg", "sr", "preview"}:
        assert pydicom.dcmread(line["files"][kind]).StudyInstanceUID == study
    if not masked:
        said = pydicom.dcmread(line["files"]["sr"]).to_json()
        assert json.loads(Path(line["report"]).read_text())["class"] in said.lower()


@pytest.mark.slow
def test_round_trip_of_every_way_to_acquire_a_series(project, tmp_path) -> None:
    """predict, then the SEG read with highdicom: the voxels of the mask, in the place of the mask."""
    scans = tmp_path / "scans"
    phantom = make_lung_phantom(3, 96, 16, extent=0.15)
    chest = phantom.array  # axes to the left, to the back, to the head
    x, y, z = np.abs(np.diag(phantom.affine))[:3].round(3)
    write_series(scans / "three", hu=chest[..., 6:9], spacing=(y, x, z))
    write_series(scans / "reversed", hu=chest, spacing=(y, x, z), backwards=True)
    sagittal = chest.transpose(1, 2, 0)[:, ::-1, ::-1]  # to the back, to the feet, to the right
    write_series(scans / "sagittal", hu=sagittal, spacing=(z, y, x), orientation=SAGITTAL)
    write_series(scans / "anisotropic", hu=chest[:, ::2], spacing=(2 * y, x, z))
    (scans / "enhanced").mkdir()
    write_enhanced(scans / "enhanced" / "e.dcm", hu=chest, spacing=(y, x, z))
    bundle = project / "bundles" / "covid_ct_lesion_segmentation"
    assert main(["predict", str(bundle), str(scans), "--out", str(tmp_path / "out"), "--dicom", "--fast"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert {line["case"] for line in lines} == {"three", "reversed", "sagittal", "anisotropic", "enhanced"}
    for line in lines:
        mask = nib.load(line["mask"])
        labels = np.asarray(mask.dataobj)
        assert {1, 2} <= set(np.unique(labels)), line["case"]
        volume = hd.seg.segread(line["files"]["seg"]).get_volume(combine_segments=True)
        index = np.argwhere(labels)
        places = np.diag([-1, -1, 1, 1]) @ mask.affine @ np.c_[index, np.ones(len(index))].T
        back = np.linalg.inv(volume.affine) @ places
        found = np.round(back[:3]).astype(int)
        assert np.abs(back[:3] - found).max() < 1e-3, line["case"]
        np.testing.assert_array_equal(volume.array[tuple(found)], labels[tuple(index.T)], line["case"])
        assert (volume.array > 0).sum() == len(index), line["case"]
        if shutil.which("dciodvfy"):
            for kind in ("seg", "sr", "preview"):
                said = subprocess.run(["dciodvfy", line["files"][kind]], capture_output=True, text=True, check=False)
                assert "Error" not in said.stdout + said.stderr, (line["case"], kind)


def test_a_picture_gets_no_dicom_and_is_told_so(project, tmp_path) -> None:
    rgb = np.full((90, 120, 3), (220, 180, 160), np.uint8)
    rgb[30:60, 40:80] = (90, 50, 40)
    Image.fromarray(rgb).save(tmp_path / "s.png")
    line = _predicted(project, "skin_lesion_segmentation", tmp_path / "s.png", tmp_path / "out")
    assert not line["files"].keys() & {"seg", "sr", "preview"}
    assert "no DICOM was written: the input is none" in json.loads(Path(line["report"]).read_text())["notes"]


def test_a_wrong_word_in_the_overlay_is_told_in_a_line(project, tmp_path, capsys) -> None:
    bundle = tmp_path / "lung_segmentation"
    shutil.copytree(project / "bundles" / "covid_ct_lesion_segmentation", bundle, ignore=lambda *_: ["docs"])
    overlay = bundle / "configs" / "dicom.yaml"
    overlay.write_text(overlay.read_text().replace("segmentation_type: BINARY", "segmentation_type: BINARI"))
    scan = write_series(tmp_path / "scan")
    code = main(["predict", str(bundle), str(scan), "--out", str(tmp_path / "out"), "--dicom", "--fast"])
    assert code == ConfigError.exit_code
    assert "segmentation_type is 'BINARI'" in capsys.readouterr().err
