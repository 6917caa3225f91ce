"""Which series of a study a bundle takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_inputs import write_enhanced, write_series, write_xray
from served_studies import Served

from pipelines.dicomweb import Server, modalities_of, series_of, sort_out
from pipelines.errors import ConfigError, SeriesError, UnreadableFileError

CT = ("CT",)


def changed(path: Path, study: str = "", **values: object) -> Path:
    """A file with other values, of another series."""
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.SeriesInstanceUID = pydicom.uid.generate_uid()
    dataset.StudyInstanceUID = study or dataset.StudyInstanceUID
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    target = path.with_name(f"{dataset.SOPInstanceUID}.dcm")
    dataset.save_as(target, enforce_file_format=True)
    return target


def reasons(server: Server, study: str, modalities: tuple[str, ...]) -> tuple[list[int | None], dict[int | None, str]]:
    taken, passed = sort_out(server, series_of(server, study), modalities)
    return [each.number for each in taken], {each.number: reason for each, reason in passed}


@pytest.mark.parametrize(
    ("bundle", "modality"),
    [
        ("covid_ct_lesion_segmentation", "CT"),
        ("covid_ct_severity_classification", "CT"),
        ("skin_lesion_segmentation", "XC"),
        ("chest_xray_pneumonia_classification", "DX"),
    ],
)
def test_what_a_bundle_looks_at(project: Path, bundle: str, modality: str) -> None:
    assert modality in modalities_of(project / "bundles" / bundle)


@pytest.mark.parametrize(
    ("image", "takes", "leaves"),
    [
        ({"spatial_shape": ["n", "n", "n"], "num_channels": 1}, "CT", "CR"),
        ({"spatial_shape": ["n", "n"], "num_channels": 3}, "XC", "CR"),
        ({"spatial_shape": ["n", "n"], "num_channels": 1}, "CR", "CT"),
    ],
)
def test_a_bundle_that_names_no_modality(tmp_path: Path, image: dict, takes: str, leaves: str) -> None:
    (tmp_path / "configs").mkdir()
    metadata = tmp_path / "configs" / "metadata.json"
    metadata.write_text(json.dumps({"network_data_format": {"inputs": {"image": image}}}))
    found = modalities_of(tmp_path)
    assert takes in found
    assert leaves not in found
    metadata.write_text("{}")
    with pytest.raises(ConfigError, match="what the bundle looks at"):
        modalities_of(tmp_path)


@pytest.mark.parametrize("paged", [True, False])
def test_the_scan_is_taken_and_the_rest_passed_over_with_the_reason(served: Served, tmp_path: Path, paged) -> None:
    served.paged = paged
    slices = sorted(write_series(tmp_path / "ct", (40, 36, 5)).iterdir())
    study = served.add(*slices)
    served.add(
        changed(slices[0], SeriesNumber=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        changed(slices[0], SeriesNumber=2),
        changed(slices[0], SeriesNumber=3, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
        changed(slices[0], SeriesNumber=5, Modality="SR"),
        changed(slices[0], SeriesNumber=6, SeriesDescription="RESEARCH USE ONLY: segmentation by x"),
        changed(slices[0], SeriesNumber=7, Manufacturer="imaging-bundles"),
        changed(write_enhanced(tmp_path / "e.dcm"), study, SeriesNumber=8),
        changed(write_xray(tmp_path / "x.dcm", np.zeros((64, 64), np.uint8)), study, SeriesNumber=9),
    )
    server = Server(served.url)
    taken, passed = reasons(server, study, CT)
    assert taken == [4, 8]
    assert passed == {
        1: "a scout", 2: "1 image, too few for a scan", 3: "no images of a patient", 5: "SR, and CT is due",
        6: "a result of this project", 7: "a result of this project", 9: "CR, and CT is due",
    }  # fmt: skip
    assert reasons(server, study, ("CR", "DX"))[0] == [9]
    chosen, passed_over = sort_out(server, series_of(server, study), CT, "2")
    assert ([each.number for each in chosen], passed_over) == ([2], [])
    assert sort_out(server, series_of(server, study), CT, chosen[0].uid)[0] == chosen
    with pytest.raises(SeriesError, match=r"no series 77; choose one of 1: "):
        sort_out(server, series_of(server, study), CT, "77")
    with pytest.raises(SeriesError, match=r"no series that the bundle takes \(series 1: CT, and XC is due"):
        sort_out(server, series_of(server, study), ("XC",))


def test_a_series_is_called_the_same_each_time_and_tells_no_uid(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    (first,), (second,) = series_of(Server(served.url), study), series_of(Server(served.url), study)
    assert first.name == second.name
    assert study not in first.name
    assert first.name.startswith("study-")
    assert "/series-4-" in first.name


def test_an_unknown_study_is_named(served: Served) -> None:
    with pytest.raises(UnreadableFileError, match=r"no study 1\.2\.3"):
        series_of(Server(served.url), "1.2.3")


def test_uids_that_are_none_are_passed_over(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    served.entries = [{"0020000E": {"vr": "UI", "Value": [each]}} for each in ("../../etc", "1.2/3", "1" * 65, 7)]
    served.paged = False
    assert [each.number for each in series_of(Server(served.url), study)] == [4]


def test_a_list_that_is_shorter_than_the_count_is_incomplete(served: Served, tmp_path: Path) -> None:
    study = served.add(*write_series(tmp_path / "ct").iterdir())
    served.uncounted = 2
    with pytest.raises(SeriesError, match="counts 5 instances, and lists 3"):
        sort_out(Server(served.url), series_of(Server(served.url), study), CT)
