"""Dictionary transforms that save DICOM in anybody's MONAI config."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch
from dicom_inputs import SAGITTAL, write_enhanced, write_photograph, write_series
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged, Orientationd, Spacingd

from pipelines.dicom_writing import SaveDicomPreviewd, SaveDicomReportd, SaveDicomSegd
from pipelines.errors import ConfigError, GeometryError, UsageError
from pipelines.readers import read_case
from pipelines.transforms import LoadPictured, LoadVolumed

NAMES = {0: "background", 1: "lung", 2: "lesion"}


def labelled(image: MetaTensor) -> MetaTensor:
    """Lungs of `write_series` by their values: one side 1, the other 2."""
    values = torch.as_tensor(image)
    return MetaTensor((values < -855).float() + 2 * ((values > -855) & (values < -800)).float(), meta=image.meta)


def placed(values: np.ndarray, affine: np.ndarray) -> set[tuple[float, ...]]:
    index = np.argwhere(values > 0)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    return {(*np.round(place, 2).tolist(), int(values[tuple(i)])) for place, i in zip(places, index, strict=True)}


@pytest.mark.parametrize("axcodes", ["RAS", "PSR", "LPI"])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), SAGITTAL])
@pytest.mark.parametrize("load", [LoadVolumed, LoadImaged])
def test_a_label_map_in_any_orientation_lies_where_it_lay(tmp_path, axcodes, orientation, load) -> None:
    folder = write_series(tmp_path / "series", (40, 36, 5), orientation=orientation)
    steps = Compose(
        [load("image", **({"ensure_channel_first": True, "reader": "ITKReader"} if load is LoadImaged else {})),
         Orientationd("image", axcodes, labels=None)]
    )  # fmt: skip
    data = steps({"image": str(folder), "case": "c"})
    data["pred"] = labelled(data["image"])
    assert set(np.unique(data["pred"])) == {0, 1, 2}
    done = SaveDicomSegd("pred", str(tmp_path / "out"), NAMES)(data)
    assert done["pred_dicom"] == str(tmp_path / "out" / "c_seg.dcm")
    volume = hd.seg.segread(done["pred_dicom"]).get_volume(combine_segments=True)
    case = read_case(folder)
    truth = np.asarray(labelled(MetaTensor(case.array[None])))[0]
    assert placed(volume.array, volume.affine) == placed(truth, np.diag([-1, -1, 1, 1]) @ case.affine)


def test_a_label_map_on_another_grid_is_refused(tmp_path) -> None:
    folder = write_series(tmp_path / "series", (40, 36, 5))
    data = LoadVolumed("image")({"image": str(folder)})
    data["pred"] = labelled(data["image"])
    finer = Spacingd("pred", (0.5, 0.5, 2.0), mode="nearest")(data)
    with pytest.raises(GeometryError, match="grid of its series"):
        SaveDicomSegd("pred", str(tmp_path / "out"), NAMES)(finer)
    moved = {**data, "pred": data["pred"].clone()}
    moved["pred"].affine[2, 3] += 1
    with pytest.raises(GeometryError, match="grid of its series"):
        SaveDicomSegd("pred", str(tmp_path / "out"), NAMES)(moved)
    assert not (tmp_path / "out").exists()


def test_report_and_preview_from_a_config(tmp_path) -> None:
    folder = write_series(tmp_path / "series")
    data = LoadVolumed("image")({"image": str(folder)})
    data["pred"] = labelled(data["image"])
    data["report"] = {"lung_ml": 3.5, "lesion_ml": 0.25, "extent": 0.07}
    data["overlay"] = torch.zeros(3, 400, 100) + torch.tensor([0.0, 90.4, 0.0])[:, None, None]
    parser = ConfigParser(
        {
            "post": [
                {"_target_": "pipelines.dicom_writing.SaveDicomSegd", "keys": "pred", "output_dir": str(tmp_path),
                 "label_names": NAMES},
                {"_target_": "pipelines.dicom_writing.SaveDicomReportd", "keys": "report", "output_dir": str(tmp_path),
                 "seg_key": "pred_dicom", "label_names": NAMES,
                 "figures": [{"key": "lesion_ml", "unit": "mL", "label": 2}, {"key": "extent", "unit": "percent",
                                                                              "factor": 100}]},
                {"_target_": "pipelines.dicom_writing.SaveDicomPreviewd", "keys": "overlay",
                 "output_dir": str(tmp_path)},
            ]
        }
    )  # fmt: skip
    for transform in parser.get_parsed_content("post"):
        data = transform(data)
    report = hd.sr.srread(data["report_dicom"])
    (roi,) = report.content.get_volumetric_roi_measurement_groups()
    assert roi.get_measurements()[0].value == 0.25
    seg = pydicom.dcmread(data["pred_dicom"])
    assert roi.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
    assert list(roi.referenced_segment[0].referenced_segment_numbers) == [2]
    pixels = pydicom.dcmread(data["overlay_dicom"]).pixel_array
    assert pixels.shape[1] == 400
    assert (pixels[-100:] == (0, 90, 0)).all()


def test_an_enhanced_ct_and_a_photograph(tmp_path) -> None:
    path = write_enhanced(tmp_path / "enhanced.dcm")
    data = LoadVolumed("image")({"image": str(path)})
    data["pred"] = labelled(data["image"])
    volume = hd.seg.segread(SaveDicomSegd("pred", str(tmp_path / "out"), NAMES)(data)["pred_dicom"]).get_volume(
        combine_segments=True
    )
    case = read_case(path)
    truth = np.asarray(data["pred"])[0]
    assert placed(volume.array, volume.affine) == placed(truth, np.diag([-1, -1, 1, 1]) @ case.affine)
    rgb = np.zeros((50, 60, 3), np.uint8)
    rgb[5:20, 30:50] = 200
    data = LoadPictured("image")({"image": str(write_photograph(tmp_path / "p.dcm", rgb))})
    data["pred"] = (torch.as_tensor(data["image"])[:1] > 0.4).float()
    seg = hd.seg.segread(SaveDicomSegd("pred", str(tmp_path / "out"), {0: "background", 1: "spot"})(data)["pred_dicom"])
    np.testing.assert_array_equal(np.squeeze(seg.pixel_array), rgb[..., 0] > 100)


def test_an_empty_label_map_and_a_source_that_is_no_dicom(tmp_path) -> None:
    folder = write_series(tmp_path / "series")
    data = LoadVolumed("image")({"image": str(folder)})
    data["pred"] = torch.zeros_like(data["image"])
    assert SaveDicomSegd("pred", str(tmp_path / "out"), NAMES)(data)["pred_dicom"] is None
    (tmp_path / "a.txt").write_text("no image")
    data["image"].meta["filename_or_obj"] = str(tmp_path / "a.txt")
    for transform in (
        SaveDicomSegd("pred", str(tmp_path / "out"), NAMES),
        SaveDicomReportd("pred", str(tmp_path / "out"), []),
        SaveDicomPreviewd("pred", str(tmp_path / "out")),
    ):
        with pytest.raises(UsageError, match="no DICOM"):
            transform(data)
    assert list(Path(tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize("wrong", [{"segments": {1: {"type": ["1", "SCT"]}}}, {"segmentation_type": "FRACTIONAL"}])
def test_a_config_that_cannot_be_meant_is_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        SaveDicomSegd("pred", "out", NAMES, **wrong)
