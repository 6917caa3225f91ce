"""Severity by way of the mask, as it is written: on any grid, with the truth and without."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events

from pipelines.errors import ConfigError
from pipelines.networks import TinyUNet
from pipelines.prediction import open_inference
from pipelines.readers import read_case
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.severity import SCALES, slice_counts
from pipelines.tasks.lung_ct.writers import SeverityWriter
from pipelines.weights import save_weights

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
    report = json.loads(files["report"].read_text())
    assert report["slices_with_lesion"] == (lesion > 0).sum()
    along = np.moveaxis(label == 2, report["largest_lesion_slice_axis"], 0).sum(axis=(1, 2))
    assert along[report["largest_lesion_slice"]] == along.max() == lesion.max()
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
    with pytest.raises(ConfigError, match="from 0 to 1"):
        SeverityWriter(str(tmp_path), SCALE, interval_share=-1)


@pytest.mark.parametrize("axes", ["LPS", "SAR"])
def test_members_are_counted_in_the_slices_they_saw(project, tmp_path, phantom, axes):
    """From the inferer to the report, with a network that calls grey lesion: all its flips agree with their average."""
    stored(phantom, tmp_path, axes)
    save_weights(_grey_is_lesion(), tmp_path / "w.safetensors")
    workflow = open_inference(
        project / "bundles" / "covid_ct_lesion_segmentation", "tiny_unet", ["severity"],
        checkpoint=str(tmp_path / "w.safetensors"),
        input=str(tmp_path / "scan.nii.gz"), output_dir=str(tmp_path / "out"),
        slice_size=[64, 64], scales=[1.0],
    )  # fmt: skip
    seen = {}
    workflow.evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.update(e.state.output[0]))
    workflow.run()
    severity = json.loads((tmp_path / "out" / "scan_report.json").read_text())["severity"]
    counts = np.asarray(seen["member_counts"])
    assert counts.shape == (4, 2, 12)
    own = np.array([[each[key] for each in severity["slices"]] for key in ("lesion_px", "lung_px")])
    assert own[0].max() > 50
    assert np.abs(counts - own).max() <= 0.1 * own.max()
    assert np.corrcoef(counts[0, 0], own[0])[0, 1] > 0.99 > np.corrcoef(counts[0, 0][::-1], own[0])[0, 1]
    true, _ = slice_counts(phantom.label)
    along, against = (np.corrcoef(own[0][::step], true)[0, 1] for step in (1, -1))
    assert along > against + 0.2, "slices from the feet to the head, however they are stored"


def _grey_is_lesion() -> TinyUNet:
    """Lung below 0.25, lesion below 0.55, else background, whatever is around."""
    network = TinyUNet()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for conv in (network.top1, network.top2, network.bottom1, network.bottom2):
            conv.weight[0, 0, 1, 1] = 1.0
        network.up.weight[0, 0] = 1.0
        network.final.weight[:, 0, 0, 0] = torch.tensor([40.0, 0.0, 20.0])
        network.final.bias[:] = torch.tensor([-16.0, 0.0, -5.0])
    return network
