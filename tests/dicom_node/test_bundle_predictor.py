"""A bundle behind a node: what it writes of a series, what it refuses, and that it can be stopped within one."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_inputs import write_series
from dicom_peers import send, settings, states, until
from identifiers import SPOKEN, tag, told
from measured_weights import measured
from PIL import Image
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from pipelines.__main__ import main
from pipelines.dicom_node.node import Node
from pipelines.dicom_node.predictor import BundlePredictor, Interrupted, NoRoom
from pipelines.errors import OutputError, PipelinesError, SeriesError
from pipelines.prediction import fast_options, running, runtime_options
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom

LESIONS, XRAYS = "covid_ct_lesion_segmentation", "chest_xray_pneumonia_classification"


@pytest.fixture(scope="module")
def lesions(project: Path) -> BundlePredictor:
    bundle = project / "bundles" / LESIONS
    return BundlePredictor(bundle, "tiny_unet", **fast_options(bundle))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    words = ["--raw", "--format", "dicom", "--size", "64", "--slices", "7", "--cases", "1"]
    assert main(["data", "phantom", "covid_ct", "--out", str(tmp_path / "raw"), *words]) == 0
    return next((tmp_path / "raw" / "series").iterdir())


def go_on() -> bool:
    return False


def test_it_writes_what_predict_writes_with_dicom(lesions, series, tmp_path, project) -> None:
    answer = lesions(series, tmp_path / "out", go_on)
    assert (answer.done, answer.faults) == (1, ())
    words = ["--network", "tiny_unet", "--fast", "--dicom", "--out", str(tmp_path / "predict")]
    assert main(["predict", str(project / "bundles" / LESIONS), str(series), *words]) == 0
    ours, theirs = ({path.name for path in (tmp_path / where).glob(f"{series.name}*")} for where in ("out", "predict"))
    assert ours == theirs
    segs = [pydicom.dcmread(tmp_path / where / f"{series.name}_seg.dcm") for where in ("out", "predict")]
    assert segs[0].PixelData == segs[1].PixelData
    assert segs[0].SOPInstanceUID != segs[1].SOPInstanceUID


def test_a_mask_that_is_not_sure_is_referred(series, tmp_path, project) -> None:
    bundle = project / "bundles" / LESIONS
    known = measured(bundle / "models" / "tiny_unet.safetensors", tmp_path / "weights", "lung", "lesion")
    asked = fast_options(bundle) | {"checkpoint": str(known), "min_confidence": 1.0}
    answer = BundlePredictor(bundle, "tiny_unet", **asked)(series, tmp_path / "out", go_on)
    assert (answer.done, answer.faults) == (1, ())
    report = json.loads(next((tmp_path / "out").glob("*_report.json")).read_text())
    assert report["refer"] is True


def test_a_runtime_is_chosen_at_the_first_series_and_kept(series, tmp_path, project, monkeypatch) -> None:
    """Of a few slices too: a node goes on, and many come."""
    bundle = project / "bundles" / LESIONS
    node = BundlePredictor(bundle, "tiny_unet", **fast_options(bundle), **runtime_options(bundle))
    chosen = []
    monkeypatch.setattr(running, "_choose", lambda *_: chosen.append(node))
    node(series, tmp_path / "out", go_on)
    assert chosen == [node]


def test_a_node_tells_nobody_whom_a_series_is_of(lesions, tmp_path, caplog, capfd) -> None:
    """But in what it received and its results in DICOM: in no name, log, report, page or state."""
    series = write_series(tmp_path / "ct", (96, 96, 3))
    uids = tag(series, 0)
    home = tmp_path / "node"
    with caplog.at_level(logging.DEBUG, logger="pipelines"), Node(home, lesions, settings()) as node:
        send(node.port, [pydicom.dcmread(path) for path in series.iterdir()])
        until(lambda: states(node) == ["done"], seconds=60)
    printed = capfd.readouterr()
    (tmp_path / "log").write_text(caplog.text + printed.out + printed.err)
    found = told([home, tmp_path / "log"], {*SPOKEN, *uids})
    assert found, "what was received is kept as it came"
    assert {each.split(": ")[0].rpartition(".")[2] for each in found} == {"dcm"}


def test_a_series_with_a_gap_is_refused_by_its_kind(lesions, series, tmp_path) -> None:
    sorted(series.iterdir())[3].unlink()
    with pytest.raises(SeriesError):
        lesions(series, tmp_path / "out", go_on)
    assert not (tmp_path / "out").exists()


def test_it_stops_within_a_series_and_serves_the_next(lesions, series, tmp_path) -> None:
    asked = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(Interrupted):
        lesions(series, tmp_path / "out", stopped)
    assert lesions(series, tmp_path / "out", go_on).done == 1


def test_a_full_disk_is_no_fault_of_the_series(lesions, series, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OutputError("the disk is full", where=tmp_path) from OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.dicom_node.predictor.publish", full)
    with pytest.raises(NoRoom):
        lesions(series, tmp_path / "out", go_on)


def test_of_pictures_those_that_can_be_are_answered_and_the_others_are_named(project, tmp_path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    grey = np.asarray(Image.fromarray(make_chest_xray_phantom(1, 240, pneumonia=True).picture))
    _xray(folder / "a.dcm", grey, "PA")
    shutil.copy(folder / "a.dcm", tmp_path / "kept.dcm")
    _xray(folder / "b.dcm", grey, "LL")
    predictor = BundlePredictor(project / "bundles" / XRAYS)
    answer = predictor(folder, tmp_path / "out", go_on)
    assert answer.done == 1
    assert len(answer.faults) == 1
    assert {path.name for path in (tmp_path / "out").glob("*.dcm")} == {"a_sr.dcm", "a_preview.dcm"}
    (folder / "a.dcm").unlink()
    with pytest.raises(PipelinesError, match="lateral"):
        predictor(folder, tmp_path / "none", go_on)


def _xray(path: Path, grey: np.ndarray, view: str) -> None:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = (
        ComputedRadiographyImageStorage,
        generate_uid(),
        "CR",
    )
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.4"
    dataset.PatientID, dataset.PatientName, dataset.StudyID, dataset.AccessionNumber = "p", "A^B", "1", ""
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.ReferringPhysicianName, dataset.ImageType, dataset.ViewPosition = "", ["ORIGINAL", "PRIMARY"], view
    dataset.Rows, dataset.Columns = grey.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 7, 0, grey.tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
