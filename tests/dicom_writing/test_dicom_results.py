"""Findings as DICOM: the same voxels in the same place, what they are called, and objects without a fault."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_inputs import SAGITTAL, write_enhanced, write_photograph, write_series, write_xray
from PIL import Image

from pipelines.dicom_writing import DicomResults
from pipelines.errors import ConfigError
from pipelines.handlers import Finding
from pipelines.readers import read_case
from pipelines.readers.dicom_series import stack_of

NAMES = {0: "background", 1: "lung", 2: "lesion"}
SEGMENTS = {1: {"category": ["123037004", "SCT", "Body structure"], "type": ["39607008", "SCT", "Lung"]}}
FIGURES = [
    {"key": "lung_ml", "name": ["118565006", "SCT", "Volume"], "unit": "mL", "label": 1},
    {"key": "lesion_ml", "name": ["118565006", "SCT", "Volume"], "unit": "mL", "label": 2},
    {"key": "extent", "unit": "percent", "factor": 100},
    {"key": ["severity", "class"], "values": {"mild": ["255604002", "SCT", "Mild"]}},
    {"key": "missing", "unit": "mm"},
]
REPORT = {"lung_ml": 3.5, "lesion_ml": 0.25, "extent": 0.07, "severity": {"class": "mild"}, "notes": ["a note"]}


def results(project: Path, **more: Any) -> DicomResults:
    bundle = project / "bundles" / "covid_ct_lesion_segmentation"
    weights = str(bundle / "models" / "tiny_unet.safetensors")
    given = {"label_names": NAMES, "segments": SEGMENTS, "figures": FIGURES} | more
    return DicomResults(str(bundle), "tiny_unet", weights, **given)


def a_mask(shape: tuple[int, ...]) -> np.ndarray:
    """Labels that no turn or mirror maps onto themselves; the first and the last slice hold none."""
    mask = np.zeros(shape, np.uint8)
    mask[5:12, 8:30] = 1
    mask[6:9, 10:15] = 2
    mask[20:22, 3] = 2
    if len(shape) == 3 and shape[2] > 2:
        mask[30, 30, 1] = 1
        mask[:, :, 0] = mask[:, :, -1] = 0
    return mask


def draw(file: Any) -> None:
    Image.new("RGB", (200, 100), (0, 90, 0)).save(file, "PNG")


def written(handler: DicomResults, path: Path, mask: Any, out: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    finding = handler.extended(Finding("case", REPORT, mask, draw), path)
    return finding.write(out), dict(finding.report)


def check(files: dict[str, Path]) -> None:
    """No error by dciodvfy, where it is installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    for kind in files.keys() & {"seg", "sr", "preview"}:
        said = subprocess.run(["dciodvfy", str(files[kind])], capture_output=True, text=True, check=False)
        errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
        assert errors == [], kind


def placed(values: np.ndarray, affine_lps: np.ndarray) -> set[tuple[float, ...]]:
    """Where each labelled voxel lies in mm, and its value."""
    index = np.argwhere(values > 0)
    places = index @ affine_lps[:3, :3].T + affine_lps[:3, 3]
    return {(*np.round(place, 2).tolist(), int(values[tuple(i)])) for place, i in zip(places, index, strict=True)}


def hand_volume(seg: hd.seg.Segmentation) -> tuple[np.ndarray, np.ndarray]:
    volume = seg.get_volume(combine_segments=True)
    return volume.array, volume.affine


SERIES: dict[str, dict[str, Any]] = {
    "three slices": {},
    "files against the stack": {"backwards": True, "shape": (40, 36, 6)},
    "sagittal": {"orientation": SAGITTAL, "shape": (40, 36, 5)},
    "anisotropic": {"spacing": (0.5, 1.5, 7.0), "shape": (40, 36, 4)},
}


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("name", SERIES)
def test_a_segmentation_has_the_mask_where_it_lies(project, tmp_path, name, kind) -> None:
    folder = write_series(tmp_path / "series", **SERIES[name])
    case = read_case(folder)
    mask = a_mask(case.array.shape)
    files, _ = written(
        results(project, segmentation_type=kind), folder, nib.Nifti1Image(mask, case.affine), tmp_path / "out"
    )
    seg = hd.seg.segread(files["seg"])
    assert seg.SegmentationType == kind
    lps = np.diag([-1, -1, 1, 1]) @ case.affine
    assert placed(*hand_volume(seg)) == placed(mask, lps)
    source = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
    planes = seg.get_pixels_by_source_instance(
        [each.SOPInstanceUID for each in source], combine_segments=True, assert_missing_frames_are_empty=True
    )
    normal = np.cross(case.affine[:3, 0], case.affine[:3, 1])  # of row x column, in RAS
    heights = [float(np.array(each.ImagePositionPatient) * [-1, -1, 1] @ normal) for each in source]
    for plane, k in zip(planes, np.argsort(np.argsort(heights)), strict=True):
        np.testing.assert_array_equal(plane, mask[:, :, k].T)
    if kind == "BINARY":  # dciodvfy does not know label maps
        check(files)


def test_a_segmentation_is_one_that_viewers_show(project, tmp_path) -> None:
    folder = write_series(tmp_path / "series", (40, 36, 5))
    case = read_case(folder)
    mask = a_mask(case.array.shape)
    files, report = written(results(project), folder, nib.Nifti1Image(mask, case.affine), tmp_path / "out")
    seg, source = pydicom.dcmread(files["seg"]), pydicom.dcmread(folder / "0001.dcm")
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID"):
        assert seg[keyword].value == source[keyword].value
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID
    assert "RESEARCH USE ONLY" in seg.SeriesDescription
    assert [each.SegmentNumber for each in seg.SegmentSequence] == [1, 2]
    assert [each.SegmentLabel for each in seg.SegmentSequence] == ["lung", "lesion"]
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "39607008"
    assert seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator.startswith("99")
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "covid_ct_lesion_segmentation"
    assert "weights_sha256" in algorithm.AlgorithmParameters
    assert "none" not in algorithm.AlgorithmParameters
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID
    assert len(referenced.ReferencedInstanceSequence) == 5
    frames = np.atleast_3d(hd.seg.segread(files["seg"]).pixel_array)
    assert frames.shape[0] == seg.NumberOfFrames == 6  # of 2 segments in 3 slices; the first and last hold none
    assert frames.any(axis=(1, 2)).all()
    assert report["notes"] == ["a note"]
    check(files)


def test_an_enhanced_ct_is_segmented_frame_by_frame(project, tmp_path) -> None:
    path = write_enhanced(tmp_path / "enhanced.dcm")
    case = read_case(path)
    mask = a_mask(case.array.shape)
    files, report = written(results(project), path, nib.Nifti1Image(mask, case.affine), tmp_path / "out")
    assert report["notes"] == ["a note"]
    lps = np.diag([-1, -1, 1, 1]) @ case.affine
    assert placed(*hand_volume(hd.seg.segread(files["seg"]))) == placed(mask, lps)
    check(files)


def test_a_report_has_the_figures_by_their_names(project, tmp_path) -> None:
    folder = write_series(tmp_path / "series")
    mask = nib.Nifti1Image(a_mask((40, 36, 3)), read_case(folder).affine)
    files, _ = written(results(project), folder, mask, tmp_path / "out")
    report = hd.sr.srread(files["sr"])
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [each.finding_type.meaning for each in groups] == ["Lung", "lesion"]
    assert [each.get_measurements()[0].value for each in groups] == [3.5, 0.25]
    assert groups[0].referenced_segment.referenced_sop_instance_uid == pydicom.dcmread(files["seg"]).SOPInstanceUID
    (whole,) = report.content.get_image_measurement_groups()
    (extent,) = whole.get_measurements()
    assert (extent.value, extent.unit.value) == (pytest.approx(7.0), "%")
    said = [each.value.meaning for each in whole.get_qualitative_evaluations()]
    assert said == ["Mild", "Research use only"]
    assert "weights_sha256" in report.to_json()


def test_a_report_says_why_it_is_doubtful_or_referred(project, tmp_path) -> None:
    folder = write_series(tmp_path / "series")
    said = REPORT | {"doubt": "the lungs are small", "refer": True, "reason": "not sure", "notes": ["a note", "a note"]}
    finding = results(project).extended(Finding("case", said, None, None), folder)
    files = finding.write(tmp_path)
    (whole,) = hd.sr.srread(files["sr"]).content.get_image_measurement_groups()
    comments = [each.value for each in whole[0].ContentSequence if each.name.meaning == "Comment"]
    assert comments == ["the lungs are small", "to be seen by a person: not sure", "a note"]
    check(files)


@pytest.mark.parametrize("kind", ["xray", "photograph"])
def test_a_picture_has_its_own(project, tmp_path, kind) -> None:
    rows, columns = np.mgrid[0:50, 0:60]
    grey = (rows * 3 + columns).astype(np.uint8)
    if kind == "xray":
        path, mask = write_xray(tmp_path / "x.dcm", grey), None
    else:
        path = write_photograph(tmp_path / "p.dcm", np.stack([grey] * 3, axis=-1))
        mask = Image.fromarray(np.ascontiguousarray(a_mask((60, 50)).T))
    files, report = written(results(project), path, mask, tmp_path / "out")
    assert report["notes"] == ["a note"]
    assert files.keys() >= {"sr", "preview"}
    assert ("seg" in files) == (mask is not None)
    if mask is not None:
        source = [pydicom.dcmread(path).SOPInstanceUID]
        planes = hd.seg.segread(files["seg"]).get_pixels_by_source_instance(source, combine_segments=True)
        np.testing.assert_array_equal(planes[0], np.asarray(mask))
    check(files)


def test_the_preview_says_in_its_pixels_that_it_is_for_research(project, tmp_path) -> None:
    folder = write_series(tmp_path / "series")
    files, _ = written(
        results(project), folder, nib.Nifti1Image(a_mask((40, 36, 3)), read_case(folder).affine), tmp_path / "out"
    )
    image = pydicom.dcmread(files["preview"])
    pixels = image.pixel_array
    band = pixels[: pixels.shape[0] - 200]
    assert (pixels[-200:] == (0, 90, 0)).all(axis=-1).all()
    assert (band == 255).all(axis=-1).sum() > 200
    assert "RESEARCH USE ONLY" in image.SeriesDescription


def test_nothing_found_is_no_empty_segmentation(project, tmp_path) -> None:
    folder = write_series(tmp_path / "series")
    empty = nib.Nifti1Image(np.zeros((40, 36, 3), np.uint8), read_case(folder).affine)
    files, report = written(results(project), folder, empty, tmp_path / "out")
    assert "seg" not in files
    assert "sr" in files
    assert "nothing was found" in report["notes"][-1]


def test_an_input_that_is_no_dicom_gets_none(project, tmp_path) -> None:
    path = tmp_path / "case.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), path)
    files, report = written(results(project), path, None, tmp_path / "out")
    assert files.keys() == {"overlay", "report"}
    assert report["notes"][-1] == "no DICOM was written: the input is none"


def test_a_source_that_lacks_what_is_due_stops_nothing(project, tmp_path) -> None:
    folder = write_series(tmp_path / "series")
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        del dataset.StudyInstanceUID
        dataset.save_as(file)
    mask = nib.Nifti1Image(a_mask((40, 36, 3)), read_case(folder).affine)
    files, report = written(results(project), folder, mask, tmp_path / "out")
    assert files.keys() == {"mask", "overlay", "report"}
    assert report["notes"][-1] == "no DICOM was written: the source has no StudyInstanceUID"


def spoilt(folder: Path, **values: Any) -> Path:
    """Elements of each file set, or deleted where None."""
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        with pydicom.config.disable_value_validation():
            for keyword, value in values.items():
                if value is None:
                    del dataset[keyword]
                else:
                    setattr(dataset, keyword, value)
            dataset.save_as(file)
    return folder


def written_of(project: Path, folder: Path, out: Path) -> tuple[dict[str, Path], list[str]]:
    mask = nib.Nifti1Image(a_mask((40, 36, 3)), read_case(folder).affine)
    files, report = written(results(project), folder, mask, out)
    return files, report["notes"][1:]


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 192", "Ærøskøbing^Åse"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_in_any_letters_are_repeated(project, tmp_path, charset, name) -> None:
    folder = spoilt(write_series(tmp_path / "series"), SpecificCharacterSet=charset, PatientName=name)
    files, notes = written_of(project, folder, tmp_path / "out")
    assert notes == []
    for kind in ("seg", "sr", "preview"):
        dataset = pydicom.dcmread(files[kind])
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert str(dataset.PatientName).rstrip("=") == name
    check(files)


REPEATED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


def test_what_an_anonymiser_took_out_is_empty(project, tmp_path) -> None:
    folder = spoilt(write_series(tmp_path / "series"), **dict.fromkeys(REPEATED))
    files, notes = written_of(project, folder, tmp_path / "out")
    assert notes == []
    assert files.keys() >= {"seg", "sr", "preview"}
    dataset = pydicom.dcmread(files["seg"])
    assert [str(dataset[keyword].value or "") for keyword in REPEATED] == [""] * len(REPEATED)
    check(files)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientBirthDate", "19610230"), ("PatientBirthDate", "1961-02-03"), ("PatientName", ["Geheim^A", "Geheim^B"])],
)
def test_what_is_not_well_formed_is_empty_and_not_quoted(project, tmp_path, keyword, value, capfd) -> None:
    folder = spoilt(write_series(tmp_path / "series"), **{keyword: value})
    files, notes = written_of(project, folder, tmp_path / "out")
    assert notes == [f"{keyword} is not well-formed in the source, and empty in what is written"]
    assert not pydicom.dcmread(files["sr"])[keyword].value
    said = "".join(capfd.readouterr()) + json.dumps(notes)
    assert "1961" not in said
    assert "Geheim" not in said
    check(files)


def test_a_series_without_frame_of_reference_is_told_so(project, tmp_path) -> None:
    folder = spoilt(write_series(tmp_path / "series"), FrameOfReferenceUID=None)
    files, notes = written_of(project, folder, tmp_path / "out")
    assert notes == ["no DICOM was written: the source has no FrameOfReferenceUID"]
    assert files.keys() == {"mask", "overlay", "report"}


def test_long_names_of_labels_stay_apart(project, tmp_path) -> None:
    folder = write_series(tmp_path / "series")
    names = {0: "background", 1: "lobe_" * 14 + "left", 2: "lobe_" * 14 + "right"}
    mask = nib.Nifti1Image(a_mask((40, 36, 3)), read_case(folder).affine)
    files, _ = written(results(project, label_names=names, segments={}), folder, mask, tmp_path / "out")
    segments = pydicom.dcmread(files["seg"]).SegmentSequence
    assert len({each.SegmentLabel for each in segments}) == 2
    assert len({each.SegmentedPropertyTypeCodeSequence[0].CodeValue for each in segments}) == 2
    assert max(len(each.SegmentLabel) for each in segments) <= 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"segmentation_type": "FRACTIONAL"},
        {"figures": [{"unit": "mL"}]},
        {"figures": [{"key": "a", "unit": "%"}]},
        {"figures": [{"key": "a", "name": ["118565006", "SCT"]}]},
        {"figures": [{"key": "a", "values": {"mild": ["1" * 17, "SCT", "Mild"]}}]},
        {"segments": {1: {"type": ["39607008", "SCT", ""]}}},
        {"segments": {1: {"kind": ["39607008", "SCT", "Lung"]}}},
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(project, wrong) -> None:
    with pytest.raises(ConfigError):
        results(project, **wrong)


@pytest.mark.thorough
@pytest.mark.slow
def test_600_slices(project, tmp_path, record_property) -> None:
    folder = write_series(tmp_path / "series", (512, 512, 600), spacing=(0.7, 0.7, 0.6))
    mask = np.zeros((512, 512, 600), np.uint8)
    mask[100:400, 100:400, 20:580] = 1
    mask[200:250, 200:260, 100:300] = 2
    affine = stack_of(folder)[0].affine
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    files, _ = written(results(project), folder, nib.Nifti1Image(mask, affine), tmp_path / "out")
    seconds, more = time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    record_property("seconds", seconds)
    record_property("MiB", more)
    record_property("SEG MiB", files["seg"].stat().st_size / 2**20)
    assert more < 2500
    seg = hd.seg.segread(files["seg"])
    uids = [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in sorted(folder.iterdir())]
    for k in (19, 20, 150, 579):
        (plane,) = seg.get_pixels_by_source_instance(
            [uids[k]], combine_segments=True, assert_missing_frames_are_empty=True
        )
        np.testing.assert_array_equal(plane, mask[:, :, k].T)
