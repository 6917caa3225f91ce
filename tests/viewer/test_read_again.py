"""What changes in a folder while the page is open."""

from __future__ import annotations

import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from written_folders import SHAPE, ct_volume, save_turned, write_ct_case, write_manifest, write_skin_case

from pipelines.viewer import read_folder
from pipelines.viewer.pairs import kept, pair


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_case_that_predict_adds_is_seen_and_the_others_keep_their_numbers(
    predictions: Path, client, tmp_path: Path
) -> None:
    asking = client(predictions)
    before = asking.get("cases").json()["cases"]
    scan, mole, broken = lines(predictions)
    added = write_skin_case(predictions, tmp_path / "images", "new")
    again = write_ct_case(predictions, tmp_path / "images", "broken")
    write_manifest(predictions, [added, mole, scan, {**again, "input": broken["input"]}])
    now = asking.get("cases").json()["cases"]
    assert [(each["number"], each["name"]) for each in before] == [(0, "ward/scan"), (1, "mole"), (2, "broken.nii.gz")]
    names = [(each["number"], each["name"], each["status"]) for each in now]
    assert names == [(0, "ward/scan", "done"), (1, "mole", "done"), (2, "broken", "done"), (3, "new", "done")]
    assert asking.get("cases/3/image").status_code == 200
    report = json.loads((predictions / "mole_report.json").read_text())
    (predictions / "mole_report.json").write_text(json.dumps({**report, "parts": 7}))
    figures = asking.get("cases").json()["cases"][1]["sides"][0]["figures"]
    assert "7" in [each["text"] for each in figures]


def test_a_case_that_is_gone_leaves_no_number_to_another(predictions: Path, client) -> None:
    asking = client(predictions)
    scan, mole, _ = lines(predictions)
    write_manifest(predictions, [mole])
    assert asking.get("cases").json()["cases"][1]["name"] == "mole"
    (predictions / "manifest.jsonl").write_text("")
    assert len(asking.get("cases").json()["cases"]) == 3, "it cannot be read just now"
    write_manifest(predictions, [scan])
    assert asking.get("cases/1").json()["name"] == "mole"


def test_cases_of_one_name_keep_their_order(predictions: Path) -> None:
    entry = lines(predictions)[2]
    write_manifest(predictions, [{**entry, "input": f"/{part}/x.png"} for part in "ab"])
    before = pair([read_folder(predictions)])
    write_manifest(predictions, [{**entry, "input": f"/{part}/x.png"} for part in "cba"])
    now = kept(before, pair([read_folder(predictions)]))
    assert [str(each.first.image) for each in now] == ["/a/x.png", "/b/x.png", "/c/x.png"]


def test_a_replaced_picture_and_overlay_are_shown_as_they_are_now(predictions: Path, client, tmp_path: Path) -> None:
    asking = client(predictions)

    def shown(path: str) -> np.ndarray:
        with Image.open(io.BytesIO(asking.get(f"cases/1/{path}").content)) as picture:
            return np.asarray(picture.convert("RGB"))

    assert shown("image")[0, 0].tolist() == [210, 160, 140]
    assert shown("thumbnail")[0, 0].tolist() == [210, 160, 140]
    pixels = np.full((40, 60, 3), (1, 2, 30), np.uint8)
    pixels[20:, 30:] = 200, 100, 50
    other = Image.fromarray(pixels)
    other.save(tmp_path / "images" / "mole.png")
    assert shown("image")[0, 0].tolist() == [1, 2, 30]
    other.save(predictions / "mole_overlay.png")
    assert shown("thumbnail")[0, 0].tolist() == [1, 2, 30]


@pytest.mark.parametrize("codes", ["LPS", "SRA"])
def test_a_mask_lies_on_the_image_as_it_is_now(tmp_path: Path, client, codes: str) -> None:
    folder, images = tmp_path / "out", tmp_path / "images"
    write_manifest(folder, [write_ct_case(folder, images, "scan")])
    asking = client(folder)
    assert asking.get("cases/0/masks/0-mask").status_code == 200
    assert asking.get("cases/0/masks/0-mask/measures").json()["labels"][1]["ml"] == pytest.approx(0.36)
    image, label = ct_volume()
    save_turned(image, codes, images / "scan.nii.gz")
    save_turned(label, codes, folder / "scan_mask.nii.gz")
    sent = nib.Nifti1Image.from_bytes(asking.get("cases/0/image").content)
    assert np.array_equal(np.asarray(sent.dataobj), np.maximum(image, -1024))
    mask = np.frombuffer(asking.get("cases/0/masks/0-mask").content, np.uint8).reshape(SHAPE, order="F")
    assert np.array_equal(mask, label)
    other = nib.load(images / "scan.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(other.dataobj), np.diag([2, 2, 2, 1.0])), images / "scan.nii.gz")
    assert asking.get("cases/0/masks/0-mask").status_code == 422, "the grid is another one now"


def test_a_series_is_another_when_one_of_its_files_is(tmp_path: Path) -> None:
    from pipelines.viewer.images import stamp

    (tmp_path / "series").mkdir()
    for name in "ab":
        (tmp_path / "series" / name).write_text(name)
    before = stamp(tmp_path / "series"), stamp(Path(f"{tmp_path / 'series'}::1.2.3"))
    assert before[0] == before[1] != ""
    (tmp_path / "series" / "b").write_text("other")
    assert stamp(tmp_path / "series") != before[0]
    assert stamp(tmp_path / "none") == ""
