"""A study from Orthanc to results in it, by DICOMweb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_inputs import write_enhanced, write_series
from orthanc_server import ORTHANC, PASSWORD, PLUGIN, SENDER, USER, Orthanc, running

from pipelines.__main__ import main
from pipelines.dicomweb import Server, series_of
from pipelines.errors import ServerError, UnreadableFileError

BUNDLE = "covid_ct_lesion_segmentation"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ORTHANC and PLUGIN.is_file() and SENDER),
        reason="Orthanc is not installed (apt-get install orthanc orthanc-dicomweb dcmtk)",
    ),
]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory) -> Iterator[Orthanc]:
    with running(tmp_path_factory.mktemp("pacs") / "orthanc") as started:
        yield started


def words(pacs: Orthanc, study: str, out: Path, *more: str) -> list[str]:
    fixed = ["--network", "tiny_unet", "--fast", "--dicomweb-user", USER]
    return ["predict", BUNDLE, "--dicomweb", pacs.url, "--study", study, "--out", str(out), *fixed, *more]


def predicted(project: Path, *given: str) -> subprocess.CompletedProcess:
    """As a user would, in a process of its own."""
    kept = {key: value for key, value in os.environ.items() if key != "DICOMWEB_TOKEN"}
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *given],
        cwd=project, env={**kept, "DICOMWEB_PASSWORD": PASSWORD}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_study_is_fetched_predicted_and_its_results_lie_beside_it(orthanc: Orthanc, project, tmp_path) -> None:
    source = write_series(tmp_path / "ct", (96, 96, 4), backwards=True)
    orthanc.receive(source)
    study, out = pydicom.dcmread(source / "0001.dcm").StudyInstanceUID, tmp_path / "out"
    server = Server(orthanc.url, user=USER, password=PASSWORD)

    done = predicted(project, *words(orthanc, study, out, "--store"))
    assert done.returncode == 0, done.stderr
    assert "patient-1" not in done.stdout + done.stderr

    (line,) = [json.loads(each) for each in (out / "manifest.jsonl").read_text().splitlines()]
    stored = {each.modality: each for each in series_of(server, study)}
    assert stored.keys() == {"CT", "SEG", "SR", "OT"}
    files = {kind: pydicom.dcmread(line["files"][kind]) for kind in ("seg", "sr", "preview")}
    for modality, kind in (("SEG", "seg"), ("SR", "sr"), ("OT", "preview")):
        (back,) = server.client.retrieve_series(study, stored[modality].uid)
        assert back.SOPInstanceUID == files[kind].SOPInstanceUID
        assert back.PatientID == "patient-1"
    (back,) = server.client.retrieve_series(study, stored["SEG"].uid)
    back.save_as(tmp_path / "seg.dcm")
    mask = nib.load(line["mask"])
    assert np.array_equal(voxels(hd.seg.segread(tmp_path / "seg.dcm"), source), np.asarray(mask.dataobj))

    again = predicted(project, *words(orthanc, study, out, "--store", "--resume"))
    assert again.returncode == 0
    assert "1 of them done by an earlier call" in again.stdout
    assert [each.count for each in series_of(server, study)] == [4, 1, 1, 1], "no second answer"


def voxels(seg: hd.seg.Segmentation, source: Path) -> np.ndarray:
    """The label of each voxel, as the mask has them: columns from the right, rows from the back, slices upwards."""
    slices = [pydicom.dcmread(each, stop_before_pixels=True) for each in source.iterdir()]
    uids = [each.SOPInstanceUID for each in sorted(slices, key=lambda each: each.ImagePositionPatient[2])]
    frames = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True, ignore_spatial_locations=True
    )
    return frames.transpose(2, 1, 0)


def test_an_enhanced_ct_goes_the_same_way(orthanc: Orthanc, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DICOMWEB_PASSWORD", PASSWORD)
    (tmp_path / "ct").mkdir()
    path = write_enhanced(tmp_path / "ct" / "e.dcm", (96, 96, 5))
    orthanc.receive(path.parent)
    study = pydicom.dcmread(path).StudyInstanceUID
    assert main(words(orthanc, study, tmp_path / "out", "--store")) == 0
    server = Server(orthanc.url, user=USER, password=PASSWORD)
    assert {each.modality for each in series_of(server, study)} == {"CT", "SEG", "SR", "OT"}


def test_who_may_not_and_what_is_not_there(orthanc: Orthanc, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("DICOMWEB_PASSWORD", "wrong")
    assert main(words(orthanc, "1.2.3", tmp_path / "out")) == ServerError.exit_code
    assert "401" in capsys.readouterr().err
    monkeypatch.setenv("DICOMWEB_PASSWORD", PASSWORD)
    assert main(words(orthanc, "1.2.3", tmp_path / "out")) == UnreadableFileError.exit_code
    assert "no study 1.2.3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
