"""Severity by way of the mask, as it is written: on any grid, with the truth and without."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine

from pipelines.datasets import make_lung_phantom
from pipelines.errors import ConfigError
from pipelines.handlers import SeverityWriter
from pipelines.readers import read_case
from pipelines.severity import SCALES, slice_counts

SCALE = SCALES["normal_mild_severe"]


@pytest.fixture(scope="module")
def phantom():
    return make_lung_phantom(7, size=64, slices=12, extent=0.2)


def stored(phantom, folder, axes: str):
    """Image and label stored with other axes; the case, and its label in its own order."""
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(phantom.affine), nib.orientations.axcodes2ornt(axes)
    )
    for name, array in (("scan", phantom.array), ("label", phantom.label)):
        nib.save(nib.Nifti1Image(array, phantom.affine).as_reoriented(turn), folder / f"{name}.nii.gz")
    return read_case(folder / "scan.nii.gz"), np.asarray(nib.load(folder / "label.nii.gz").dataobj)


@pytest.mark.parametrize("axes", ["LPS", "RAI", "SAL", "PIR"])
def test_extents_do_not_depend_on_how_a_scan_is_stored(tmp_path, phantom, axes):
    case, label = stored(phantom, tmp_path, axes)
    lesion, lung = slice_counts(phantom.label)
    members = np.stack([np.stack([lesion, lung]), np.stack([lesion * 9 // 10, lung])])
    item = {
        "pred": torch.from_numpy(label[None]),
        "member_counts": members,
        "label_file": str(tmp_path / "label.nii.gz"),
        "patient": "p",
    }
    files = SeverityWriter(str(tmp_path / "out"), SCALE).write_case("scan", case, item)
    severity = json.loads(files["report"].read_text())["severity"]
    assert severity["extent"] == pytest.approx(0.2, abs=0.01)
    assert severity["extent_low"] < 0.2 < severity["extent_high"]
    assert severity["class"] == severity["true"]["class"] == "mild"
    assert [each["lesion_px"] for each in severity["slices"]] == lesion.tolist()
    assert all(each["true_extent"] == each["extent"] for each in severity["slices"])
    axis = next(k for k, code in enumerate(axes) if code in "SI")
    for each in severity["slices"]:
        plane = np.take(label, each["file_index"], axis=axis)
        assert (plane == 2).sum() == each["lesion_px"], "file_index leads to the slice"
    rows = list(csv.DictReader(files["severity"].open(newline="")))
    assert [float(row["extent"] or "nan") for row in rows] == pytest.approx(
        [float("nan") if each["extent"] is None else each["extent"] for each in severity["slices"]], nan_ok=True
    )
    assert files["page"].name == "scan_case_report.png"


def test_each_part_appears_and_the_table_when_the_engine_is_done(tmp_path, phantom):
    case, label = stored(phantom, tmp_path, "LPS")
    writer = SeverityWriter(str(tmp_path / "out"), SCALE, report_format="pdf")
    engine = Engine(lambda engine, batch: [])
    writer.attach(engine)
    writer.write_case("deep/scan", case, {"pred": torch.from_numpy(label[None])})
    engine.run([[]])
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {
        "deep/scan_mask.nii.gz",
        "deep/scan_overlay.png",
        "deep/scan_report.json",
        "deep/scan_severity.csv",
        "deep/scan_case_report.pdf",
        "severity.csv",
    }
    severity = json.loads((tmp_path / "out" / "deep" / "scan_report.json").read_text())["severity"]
    assert severity["interval"] is None
    assert severity["borderline"] is None


def test_configuration_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="png, pdf"):
        SeverityWriter(str(tmp_path), SCALE, report_format="docx")
    with pytest.raises(ConfigError, match="above 0"):
        SeverityWriter(str(tmp_path), SCALE, interval_width=0)
