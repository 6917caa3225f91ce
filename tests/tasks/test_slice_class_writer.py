"""What a classifier writes of a case."""

from __future__ import annotations

import csv
import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.errors import ConfigError
from pipelines.readers import read_case
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.lungs import aerated_share
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.writers import SliceClassWriter

NAMES, THRESHOLDS, TYPICAL = ["normal", "mild", "severe"], [0.001, 0.25], [0.0, 0.08, 0.4]


def writer(folder, **more) -> SliceClassWriter:
    return SliceClassWriter(str(folder), NAMES, THRESHOLDS, TYPICAL, **more)


@pytest.fixture(scope="module")
def phantom():
    return make_lung_phantom(3, size=96, slices=10)


def picture(path, plane: np.ndarray):
    Image.fromarray((scale_ct(plane.astype(np.float32), "hu") * 255).astype(np.uint8).T).save(path)
    return read_case(path)


def report_of(files) -> dict:
    return json.loads(files["report"].read_text())


def test_a_picture_gets_class_probabilities_and_no_reason(tmp_path, phantom):
    case = picture(tmp_path / "a.png", phantom.array[:, :, 5])
    files = writer(tmp_path / "out").write_case("a", case, {"pred": torch.tensor([[0.1], [0.7], [0.2]])})
    assert {path.name for path in files.values()} == {"a_report.json", "a_slices.csv", "a_overlay.png"}
    report = report_of(files)
    assert report["class"] == "mild"
    assert report["probabilities"] == pytest.approx({"normal": 0.1, "mild": 0.7, "severe": 0.2})
    assert (report["refer"], report["reason"]) == (False, None)
    assert "mild < 25 %" in report["rule"]
    assert "not a medical device" in report["use"]
    assert report["temperature"] == 1


def test_an_unsure_answer_is_referred(tmp_path, phantom):
    case = picture(tmp_path / "a.png", phantom.array[:, :, 5])
    pred = {"pred": torch.tensor([[0.3], [0.5], [0.2]])}
    unsure = report_of(writer(tmp_path / "out").write_case("a", case, pred))
    assert (unsure["class"], unsure["refer"]) == ("mild", True)
    assert "below 0.6" in unsure["reason"]
    assert not report_of(writer(tmp_path / "out", refer_below=0.4).write_case("a", case, pred))["refer"]


def test_a_slice_without_lung_gets_no_class(tmp_path, phantom):
    abdomen = picture(tmp_path / "abdomen.png", np.where(phantom.lungs[:, :, 0] > 0, 40, phantom.array[:, :, 0]))
    sure = {"pred": torch.tensor([[0.01], [0.0], [0.99]])}
    report = report_of(writer(tmp_path / "out").write_case("abdomen", abdomen, sure))
    assert (report["class"], report["refer"]) == (None, True)
    assert "too little aerated lung" in report["reason"]
    opaque = np.where(phantom.lungs[:, :, 5] > 0, 30, phantom.array[:, :, 5])
    report = report_of(writer(tmp_path / "out").write_case("o", picture(tmp_path / "opaque.png", opaque), sure))
    assert (report["class"], report["refer"]) == (None, True), "wholly opaque lungs are a person's to judge"


def test_one_lung_is_classified(tmp_path, phantom):
    alone = np.where(phantom.lungs[:, :, 5] == 2, 30, phantom.array[:, :, 5])
    case = picture(tmp_path / "one.png", alone)
    report = report_of(writer(tmp_path / "out").write_case("one", case, {"pred": torch.tensor([[0.0], [0.9], [0.1]])}))
    assert (report["class"], report["refer"]) == ("mild", False)


def volume_report(tmp_path, phantom, said: list[int], sure: float = 0.9, **more) -> dict:
    nib.save(nib.Nifti1Image(phantom.array, phantom.affine), tmp_path / "scan.nii.gz")
    pred = torch.full((3, len(said)), (1 - sure) / 2)
    pred[said, torch.arange(len(said))] = sure
    item = {"pred": pred}
    files = writer(tmp_path / "out", **more).write_case("scan", read_case(tmp_path / "scan.nii.gz"), item)
    rows = list(csv.DictReader(files["slices"].open(newline="")))
    assert len(rows) == len(said)
    return report_of(files)


def test_a_volume_is_the_mean_of_what_is_typical_of_its_slices(tmp_path, phantom):
    assert volume_report(tmp_path, phantom, [0] * 10)["class"] == "normal"
    assert volume_report(tmp_path, phantom, [2] * 10)["class"] == "severe"
    mixed = volume_report(tmp_path, phantom, [0, 0, 0, 0, 1, 1, 0, 0, 0, 0])
    assert (mixed["class"], mixed["refer"]) == ("mild", False)
    few = volume_report(tmp_path, phantom, [0, 0, 0, 0, 0, 2, 0, 0, 0, 0])
    assert (few["class"], few["refer"]) == ("normal", True), "one slice of ten may be a mistake, and is looked at"
    assert "not normal" in few["reason"]
    assert volume_report(tmp_path, phantom, [0, 0, 0, 0, 0, 2, 0, 0, 0, 0], tolerance=0)["class"] == "mild"
    number = mixed["slices_by_class"]
    assert sum(number.values()) == 10
    assert number["mild"] == 2
    assert number["unrated"] >= 1, "the first and the last slice show no lung"
    assert mixed["probabilities"]["normal"] > mixed["probabilities"]["mild"] > 0
    assert not mixed["refer"]


def test_a_volume_of_unsure_slices_is_referred(tmp_path, phantom):
    report = volume_report(tmp_path, phantom, [1] * 10, sure=0.5)
    assert report["refer"]
    assert "in slices that are referred" in report["reason"]


def test_a_scan_that_is_mostly_opaque_is_referred(tmp_path, phantom):
    opaque = phantom.array.copy()
    middle = np.s_[:, :, 3:7]
    opaque[middle][phantom.lungs[middle] > 0] = 30
    changed = dataclasses.replace(phantom, array=opaque)
    report = volume_report(tmp_path, changed, [0, 0, 0, 2, 2, 2, 2, 0, 0, 0], sure=0.96)
    assert report["slices_by_class"]["unrated"] >= 4
    assert report["refer"]
    assert "% of the lung is in slices that are referred" in report["reason"]


def test_lung_share_of_a_phantom(phantom):
    found = aerated_share(scale_ct(phantom.array.astype(np.float32), "hu"))
    true = (phantom.label > 0).mean(axis=(0, 1))
    assert found == pytest.approx(true, abs=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"refer_below": 1.2},
        {"tolerance": -0.1},
        {"typical_extents": [0.0, 0.1]},
        {"typical_extents": [0.0, 0.3, 0.4]},
        {"typical_extents": [0.0, 0.1, 40]},
        {"thresholds": [0.25, 0.001]},
    ],
    ids=str,
)
def test_configuration_that_cannot_be_is_refused(tmp_path, wrong):
    right = {"names": NAMES, "thresholds": THRESHOLDS, "typical_extents": TYPICAL}
    with pytest.raises(ConfigError):
        SliceClassWriter(str(tmp_path), **(right | wrong))
