"""What a node takes follows from its bundle, and agrees with the conformance statement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.uid import UID, RLELossless

from pipelines.dicom_node.sop_classes import CT, PHOTOGRAPH, XRAY, taken_sop_classes, transfer_syntaxes
from pipelines.errors import ConfigError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "dicom-conformance.md"


@pytest.mark.parametrize(
    ("bundle", "taken"),
    [
        ("covid_ct_lesion_segmentation", CT),
        ("covid_ct_severity_classification", CT),
        ("chest_xray_pneumonia_classification", XRAY),
        ("skin_lesion_segmentation", PHOTOGRAPH),
    ],
)
def test_the_modality_decides(project, bundle, taken) -> None:
    assert taken_sop_classes(project / "bundles" / bundle) == taken


def write(folder: Path, image: object) -> Path:
    (folder / "configs").mkdir(exist_ok=True)
    about = {"network_data_format": {"inputs": {"image": image}}}
    (folder / "configs" / "metadata.json").write_text(json.dumps(about))
    return folder


def test_a_bundle_that_names_no_modality_takes_what_its_dimensions_allow(tmp_path) -> None:
    assert taken_sop_classes(write(tmp_path, {"spatial_shape": [8, 8, 8], "num_channels": 1})) == CT
    assert taken_sop_classes(write(tmp_path, {"spatial_shape": [8, 8], "num_channels": 3})) == PHOTOGRAPH
    grey = taken_sop_classes(write(tmp_path, {"spatial_shape": [8, 8], "num_channels": 1}))
    assert grey == (*XRAY, *PHOTOGRAPH)
    with pytest.raises(ConfigError, match="do not say what the bundle looks at"):
        taken_sop_classes(write(tmp_path, 3))


def test_the_conformance_statement_has_every_class_and_syntax() -> None:
    text = PAGE.read_text(encoding="utf-8")
    reception = text.split("## Storage SCP")[1].split("\n## ")[0]
    for uid in {*CT, *XRAY, *PHOTOGRAPH}:
        assert f"`{uid}`" in reception, UID(uid).name
    for syntax in transfer_syntaxes():
        assert f"`{syntax}`" in reception, UID(syntax).name
    assert RLELossless in transfer_syntaxes()
