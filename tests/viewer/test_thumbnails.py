"""The small pictures of the list."""

from __future__ import annotations

import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations
from PIL import Image
from written_folders import ct_volume, write_ct_case, write_manifest

from pipelines.tasks.lung_ct.case_report import volume_overlay
from pipelines.viewer.thumbnails import from_overlay


@pytest.mark.parametrize("codes", ["RAS", "PIR", "SAL", "LPS"])
@pytest.mark.parametrize("steps", [(1.5, 1.5, 4.0), (3.0, 1.0, 4.0), (1.0, 40.0, 1.0)])
@pytest.mark.parametrize("slices", [3, 5, 12])
def test_of_a_volumes_sheet_one_slice_is_shown(tmp_path: Path, codes: str, steps: tuple, slices: int) -> None:
    image, label = ct_volume()
    label[..., 2 + slices :] = 0
    sheet = volume_overlay(image[::-1, ::-1], label[::-1, ::-1], "hu", steps)
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(codes))
    affine = np.diag([*steps, 1.0]) @ orientations.inv_ornt_aff(turn, label.shape)
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(orientations.apply_orientation(label, turn), affine), path)
    picture = Image.fromarray(sheet)
    small = from_overlay(picture, {"kind": "volume", "labels": {"1": "lung"}, "shape": [1, 2, 3]}, path)
    columns, rows = min(slices, 4), -(-slices // 4)
    wide, high = picture.width / columns, picture.height / rows
    assert small.width / small.height == pytest.approx(wide / high, rel=0.2)
    assert np.asarray(small).max() > 100, "no empty tile"


def test_the_list_has_it(tmp_path: Path, client) -> None:
    folder = tmp_path / "out"
    write_manifest(folder, [write_ct_case(folder, tmp_path / "images", "scan", "SAL")])
    report = json.loads((folder / "scan_report.json").read_text())
    (folder / "scan_report.json").write_text(json.dumps({**report, "shape": [16, 20, 24]}))
    image, label = ct_volume()
    sheet = volume_overlay(image[::-1, ::-1], label[::-1, ::-1], "hu", (1.5, 1.25, 4.0))
    Image.fromarray(sheet).save(folder / "scan_overlay.png")
    with Image.open(io.BytesIO(client(folder).get("cases/0/thumbnail").content)) as small:
        assert small.width / small.height == pytest.approx(24 * 1.5 / (20 * 1.25), rel=0.1)
