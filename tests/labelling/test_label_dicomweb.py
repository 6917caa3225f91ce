"""MONAI Label over a DICOMweb server, Orthanc: series are fetched, labels go back as DICOM SEG and are learned from.

It runs where both are: MONAI Label's environment (``make label-env``), and Debian's orthanc with orthanc-dicomweb.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import mlflow
import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from nibabel import orientations

from pipelines import browser, load_bundle
from pipelines.__main__ import main
from pipelines.errors import UsageError
from pipelines.labelling import label_python

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[2]
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
LESIONS, SEVERITY = "covid_ct_lesion_segmentation", "covid_ct_severity_classification"
NAMES = [{"name": "lung", "idx": 1}, {"name": "lesion", "idx": 2}]


def free_port() -> int:
    with socket.socket() as free:
        free.bind((browser.HOST, 0))
        return int(free.getsockname()[1])


@dataclass(frozen=True)
class Archive:
    """Orthanc with two series."""

    address: str
    series: dict[str, Path]

    def segs(self) -> list[pydicom.Dataset]:
        query = {"Level": "Instance", "Query": {"Modality": "SEG"}}
        found = requests.post(f"{self.address}tools/find", json=query, timeout=30).json()
        files = [requests.get(f"{self.address}instances/{each}/file", timeout=30).content for each in found]
        return [pydicom.dcmread(io.BytesIO(each)) for each in files]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    program = shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or not PLUGIN.is_file():
        pytest.skip("Orthanc is not here: apt install orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("orthanc")
    words = ["--raw", "--format", "dicom", "--cases", "2", "--size", "64", "--slices", "7", "--out", str(folder / "ct")]
    assert main(["data", "phantom", "covid_ct", *words]) == 0
    port = free_port()
    config = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "HttpPort": port,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomServerEnabled": False,
        "Plugins": [str(PLUGIN)],
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    address = f"http://{browser.HOST}:{port}/"
    with (folder / "log").open("wb") as log, subprocess.Popen(
        [program, str(folder / "orthanc.json")], stdout=log, stderr=log
    ) as process:  # fmt: skip
        try:
            for _ in range(100):
                try:
                    requests.get(f"{address}system", timeout=5).raise_for_status()
                    break
                except requests.RequestException:
                    time.sleep(0.2)
            series = {}
            for path in sorted((folder / "ct" / "series").iterdir()):
                for file in path.iterdir():
                    requests.post(f"{address}instances", data=file.read_bytes(), timeout=30).raise_for_status()
                series[str(pydicom.dcmread(file).SeriesInstanceUID)] = path
            yield Archive(address, series)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Served:
    address: str
    cache: Path
    store: str

    def infer(self, model: str, image: str, output: str, **params: Any) -> requests.Response:
        address = f"{self.address}infer/{model}?image={image}&output={output}"
        return requests.post(address, files={"params": (None, json.dumps(params))}, timeout=300)

    def submit(self, image: str, label: Path, tag: str = "final") -> requests.Response:
        with label.open("rb") as file:
            files = {"label": (label.name, file), "params": (None, json.dumps({"label_info": NAMES}))}
            return requests.put(f"{self.address}datastore/label?image={image}&tag={tag}", files=files, timeout=60)


@pytest.fixture(scope="module")
def served(
    archive: Archive, tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]
) -> Iterator[Served]:
    try:
        label_python()
    except UsageError as error:
        pytest.skip(str(error))
    folder, port = tmp_path_factory.mktemp("label"), free_port()
    (folder / "cache").mkdir()
    store = new_store(folder)
    command = [
        sys.executable, "-m", "pipelines", "label", LESIONS, SEVERITY, "--studies", str(folder / "cache"),
        "--dicomweb", f"{archive.address}dicom-web", "--app", str(folder / "app"), "--port", str(port),
    ]  # fmt: skip
    with subprocess.Popen(command, env={**os.environ, "MLFLOW_TRACKING_URI": store}, cwd=PROJECT) as process:
        try:
            assert browser.answers(process, port)
            yield Served(f"http://{browser.HOST}:{port}/", folder / "cache", store)
        finally:
            browser.end(process)


def test_answers_are_those_of_predict_on_the_series(archive: Archive, served: Served, tmp_path: Path) -> None:
    assert requests.get(f"{served.address}datastore/", timeout=30).json()["total"] == 2
    uid, folder = next(iter(archive.series.items()))
    expected = load_bundle(LESIONS, fast=True)(folder)
    (tmp_path / "mask.nii.gz").write_bytes(served.infer(LESIONS, uid, "image", fast=True).content)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert (np.asarray(mask.dataobj) == expected.mask).all()
    assert np.allclose(mask.affine, expected.mask_image.affine)
    said = served.infer(SEVERITY, uid, "json").json()
    scores = load_bundle(SEVERITY)(folder).report["probabilities"]
    assert {each["label"]: each["score"] for each in said["prediction"]} == pytest.approx(scores)
    left = [path for path in served.cache.rglob("*.dcm") if path.parent.name != uid]
    assert left == [], "nothing half fetched stays"


@pytest.mark.parametrize(("image", "said"), [("1.2.3", "has no such series"), ("../x", "no SeriesInstanceUID")])
def test_what_the_server_does_not_have_is_named(served: Served, image: str, said: str) -> None:
    answer = served.infer(LESIONS, image, "json")
    assert (answer.status_code, said in answer.json()["detail"]) == (422, True)


def test_labels_go_back_as_dicom_seg_and_are_learned_from(archive: Archive, served: Served, tmp_path: Path) -> None:
    model = load_bundle(LESIONS, fast=True)
    first, second = archive.series
    masks = {uid: model(archive.series[uid]).mask_image for uid in archive.series}
    values = {uid: np.asarray(mask.dataobj) for uid, mask in masks.items()}
    turn = orientations.ornt_transform(
        orientations.io_orientation(masks[first].affine), orientations.axcodes2ornt(("P", "S", "R"))
    )
    nib.save(masks[first].as_reoriented(turn), tmp_path / "turned.nii.gz")
    values[second].astype(np.uint8).ravel(order="F").tofile(tmp_path / "label.bin")  # as OHIF's client sends it

    served.submit(first, tmp_path / "turned.nii.gz", tag="original").raise_for_status()
    assert archive.segs() == [], "only final labels leave this machine"
    served.submit(first, tmp_path / "turned.nii.gz").raise_for_status()
    served.submit(second, tmp_path / "label.bin").raise_for_status()
    (tmp_path / "label.bin").write_bytes(b"\0" * 9)
    assert served.submit(second, tmp_path / "label.bin").status_code == 422

    segs = {str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID): seg for seg in archive.segs()}
    assert segs.keys() == {first, second}
    for uid, each in segs.items():
        assert {segment.SegmentAlgorithmType for segment in each.SegmentSequence} == {"MANUAL"}
        assert [segment.SegmentLabel for segment in each.SegmentSequence] == ["lung", "lesion"]
        assert each.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "39607008"  # lung
        assert each.StudyInstanceUID == pydicom.dcmread(next(archive.series[uid].iterdir())).StudyInstanceUID
        volume = hd.seg.Segmentation.from_dataset(each).get_volume(combine_segments=True)
        affine = np.diag([-1, -1, 1, 1]) @ volume.affine  # RAS, as NIfTI
        found = nib.Nifti1Image(volume.array.astype(np.uint8), affine)
        back = np.linalg.inv(masks[uid].affine) @ affine
        assert number_of(found, 1) == int((values[uid] == 1).sum())
        points = np.argwhere(found.get_fdata() == 2)
        placed = np.rint(nib.affines.apply_affine(back, points)).astype(int)
        assert len(placed) == int((values[uid] == 2).sum())
        assert (values[uid][tuple(placed.T)] == 2).all()

    assert sorted(requests.get(f"{served.address}datastore/", timeout=30).json()["label_tags"]) == ["final", "original"]
    answer = requests.post(f"{served.address}train/{LESIONS}?run_sync=true", json={"max_epochs": 1}, timeout=600)
    answer.raise_for_status()
    run = mlflow.MlflowClient(served.store).get_run(answer.json()["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["data_training_cases"] == run.data.params["data_validation_cases"] == "1"
    assert run.data.metrics["val_lung_dice"] > 0.8, "its own masks are what it learns from"


def number_of(image: nib.Nifti1Image, value: int) -> int:
    return int((image.get_fdata() == value).sum())
