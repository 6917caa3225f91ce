"""Which masks can be corrected, and of two folders into which one a corrected mask goes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from written_folders import ORIGIN, SHAPE, ct_volume, refused_case, write_ct_case, write_manifest

POSTED = {"content-type": "application/octet-stream", **ORIGIN}
REASON = "only masks in a folder that predict wrote can be corrected, for data prepare to take"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same case."""
    for name in ("a", "b"):
        write_manifest(tmp_path / name, [write_ct_case(tmp_path / name, tmp_path / "images", "scan")])
    return tmp_path / "a", tmp_path / "b"


def corrected(voxel: tuple[int, int, int]) -> bytes:
    _, label = ct_volume()
    label[voxel] = 2
    return label.tobytes(order="F")


def test_of_two_folders_each_keeps_its_own_corrections(two: tuple[Path, Path], client) -> None:
    asking = client(*two)
    layers = asking.get("cases/0").json()["layers"]
    assert [(each["key"], each["correctable"], each["save"], each["version"]) for each in layers] == [
        ("0-mask", True, "0-corrected", "none"),
        ("1-mask", True, "1-corrected", "none"),
    ]
    base = {"x-base": layers[1]["version"]}
    saved = asking.post("cases/0/masks/1-corrected", content=corrected((5, 6, 7)), headers={**POSTED, **base})
    assert (saved.status_code, saved.json()["side"], saved.json()["key"]) == (200, 1, "1-corrected")
    assert not (two[0] / "corrected").exists()
    assert (two[1] / "corrected/scan_mask.nii.gz").is_file()
    details = asking.get("cases/0").json()
    (correction,) = details["corrections"]
    assert (correction["key"], correction["side"], correction["path"]) == (
        "1-corrected",
        1,
        "corrected/scan_mask.nii.gz",
    )
    assert correction["version"] == saved.json()["version"] == details["layers"][1]["version"]
    assert details["layers"][0]["version"] == "none"
    assert asking.get("cases").json()["cases"][0]["corrected"] is True
    sent = np.frombuffer(asking.get("cases/0/masks/1-corrected").content, np.uint8).reshape(SHAPE, order="F")
    assert sent[5, 6, 7] == 2
    assert asking.get("cases/0/masks/0-corrected").status_code == 404
    assert asking.get("cases/0/masks/1-corrected/measures").json()["labels"][1]["voxels"] == 49


def test_of_two_folders_a_save_that_does_not_say_which_is_refused(two: tuple[Path, Path], client) -> None:
    answer = client(*two).post("cases/0/masks/corrected", content=corrected((5, 6, 7)), headers=POSTED)
    assert (answer.status_code, answer.text) == (
        400,
        "both folders have a mask of this case: say which one was corrected",
    )
    assert not any((folder / "corrected").exists() for folder in two)


@pytest.mark.parametrize("key", ["corrected", "1-corrected"])
def test_a_mask_that_only_the_second_folder_has_goes_there(two: tuple[Path, Path], client, key: str) -> None:
    images = two[0].parent / "images"
    write_manifest(two[0], [{**refused_case(images), "input": str(images / "scan.nii.gz")}])
    asking = client(*two)
    assert asking.get("cases/0").json()["layers"][0]["save"] == "1-corrected"
    assert asking.post(f"cases/0/masks/{key}", content=corrected((5, 6, 7)), headers=POSTED).status_code == 200
    assert (two[1] / "corrected/scan_mask.nii.gz").is_file()
    refused = asking.post("cases/0/masks/0-corrected", content=corrected((5, 6, 7)), headers=POSTED)
    assert (refused.status_code, refused.text) == (404, "this case has no mask that could be corrected")
    for wrong in ("2-corrected", "1-mask", "xcorrected"):
        assert asking.post(f"cases/0/masks/{wrong}", content=b"", headers=POSTED).status_code == 404


def test_a_dataset_and_an_evaluation_say_that_they_cannot_be_corrected(tmp_path: Path, client) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_ct_case(data / "labels", data / "images", "one")
    item = {"case": "../one", "image": "images/one.nii.gz", "label": "labels/one_mask.nii.gz"}
    (data / "datalist.json").write_text(json.dumps({"labels": {"1": "lung", "2": "lesion"}, "training": [item]}))
    write_ct_case(run, tmp_path / "images", "one")
    listed = [{"case": str(tmp_path / "x"), "image": str(tmp_path / "images/one.nii.gz"), "mask": "one_mask.nii.gz"}]
    listed[0]["label"] = str(data / "labels/one_mask.nii.gz")
    (run / "cases.json").write_text(json.dumps(listed))
    before = sorted(tmp_path.rglob("*"))
    for folder in (data, run):
        asking = client(folder)
        layers = asking.get("cases/0").json()["layers"]
        assert (layers[0]["correctable"], layers[0]["reason"], layers[0]["save"]) == (False, REASON, None)
        for key in ("corrected", "0-corrected"):
            answer = asking.post(f"cases/0/masks/{key}", content=corrected((5, 6, 7)), headers=POSTED)
            assert (answer.status_code, answer.text) == (404, REASON)
    left = set(tmp_path.rglob("*")) - set(before)
    assert all(path.name.startswith("cache") or path.parent.name.startswith("cache") for path in left)
