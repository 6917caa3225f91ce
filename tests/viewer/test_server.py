"""The server: who may ask, what it gives, and that no path leads out of the folder."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from written_folders import HOST, ORIGIN, SHAPE, ct_volume, write_ct_case, write_manifest, write_skin_case

OCTETS = {"content-type": "application/octet-stream"}


def test_the_token_is_due(predictions: Path, client) -> None:
    asking = client(predictions)
    assert asking.get("cases").status_code == 200
    assert asking.get("").status_code == 200
    for path in ("/", "/cases", "/wrong/cases", "//cases", f"/{'a-token-of-this-test'[:-1]}/cases", "/é/cases"):
        answer = asking.get(f"http://{HOST}{path}")
        assert answer.status_code == 404, path
        assert "scan" not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:8123"}, 421),
        ({"host": "127.0.0.1:9"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        (ORIGIN, 200),
    ],
)
def test_another_host_or_origin_is_refused(predictions: Path, client, headers: dict, status: int) -> None:
    assert client(predictions).get("cases", headers=headers).status_code == status


def test_a_save_from_nowhere_or_of_another_page_is_refused(predictions: Path, client) -> None:
    asking = client(predictions)
    body = bytes(int(np.prod(SHAPE)))
    for headers in ({}, {"origin": "http://evil.example"}, {"origin": "null"}):
        answer = asking.post("cases/0/masks/corrected", content=body, headers={**OCTETS, **headers})
        assert answer.status_code == 403
    assert not (predictions / "corrected").exists()


def test_every_answer_has_a_policy_without_other_hosts(predictions: Path, client) -> None:
    asking = client(predictions)
    for path in ("", "cases", "cases/0/image", "cases/99", "static/none.js", "static/viewer.css"):
        headers = asking.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "http" not in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "static/../server.py",
        "static/..%2fserver.py",
        "static/%2e%2e/server.py",
        "static//etc/passwd",
        "static/vendor/../../cases.py",
        "cases/../../../etc/passwd",
        "cases/0/masks/..%2f..%2fimages%2fscan",
        "cases/0/masks//etc/passwd",
        "cases/-1/image",
        "cases/7/image",
        "static/vendor/niivue.json",
    ],
)
def test_no_path_leads_elsewhere(predictions: Path, client, path: str) -> None:
    answer = client(predictions).get(path)
    assert answer.status_code in (404, 405)
    assert "root:" not in answer.text


def test_what_the_readers_refuse_is_never_sent(predictions: Path, client, tmp_path: Path) -> None:
    (predictions / "linked_mask.png").symlink_to("/etc/passwd")
    (predictions / "page_overlay.png").write_text("<script>alert(1)</script>")
    entries = [
        {"input": "/etc/passwd", "status": "done"},
        {"input": str(predictions / "linked_mask.png"), "status": "done"},
        {"input": str(tmp_path / "images" / "mole.png"), "status": "done", "mask": "/etc/passwd"},
        {
            "input": str(tmp_path / "images" / "mole.png"),
            "status": "done",
            "mask": str(predictions / "linked_mask.png"),
            "files": {"overlay": str(predictions / "page_overlay.png")},
        },
    ]
    for entry in entries:
        write_manifest(predictions, [entry])
        asking = client(predictions)
        for path in ("image", "image.json", "masks/0-mask", "overlay/0", "thumbnail"):
            answer = asking.get(f"cases/0/{path}")
            assert b"root:" not in answer.content
            assert b"<script>" not in answer.content
        if entry["input"].startswith(("/etc", str(predictions))):
            refused = asking.get("cases/0/image")
            assert refused.status_code in (404, 422)
            assert "is not a kind of image" in refused.json()["error"] or "picture" in refused.json()["error"]


def test_a_mask_that_became_a_link_is_not_followed(predictions: Path, client, tmp_path: Path) -> None:
    asking = client(predictions)
    assert asking.get("cases/0/masks/0-mask").status_code == 200
    shutil.move(predictions / "ward" / "scan_mask.nii.gz", tmp_path / "away.nii.gz")
    (predictions / "ward" / "scan_mask.nii.gz").symlink_to(tmp_path / "away.nii.gz")
    answer = asking.get("cases/0/masks/0-mask")
    assert answer.status_code == 404
    assert "not there any more" in answer.json()["error"]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "AIL"])
def test_a_volume_comes_in_one_order_whatever_the_file_has(tmp_path: Path, client, codes: str) -> None:
    write_manifest(tmp_path / "out", [write_ct_case(tmp_path / "out", tmp_path / "images", "scan", codes)])
    asking = client(tmp_path / "out")
    image, label = ct_volume()
    facts = asking.get("cases/0/image.json").json()
    assert (facts["kind"], facts["intensity"], tuple(facts["shape"])) == ("volume", "hu", SHAPE)
    assert facts["spacing"] == [1.5, 1.25, 4.0]
    sent = nib.Nifti1Image.from_bytes(asking.get("cases/0/image").content)
    assert nib.aff2axcodes(sent.affine) == ("R", "A", "S")
    assert np.array_equal(np.asarray(sent.dataobj), np.maximum(image, -1024))
    assert sent.affine[:3, 3] == pytest.approx([-10, 20, -30])
    mask = np.frombuffer(asking.get("cases/0/masks/0-mask").content, np.uint8).reshape(SHAPE, order="F")
    assert np.array_equal(mask, label)
    upwards = list(range(SHAPE[2]))
    assert facts["slices"] == (upwards[::-1] if "I" in codes else upwards)


def test_measures_are_the_masks(predictions: Path, client) -> None:
    asking = client(predictions)
    found = asking.get("cases/0/masks/0-mask/measures").json()
    _, label = ct_volume()
    lesion = found["labels"][1]
    assert (lesion["name"], lesion["voxels"], lesion["slices"]) == (
        "lesion",
        int((label == 2).sum()),
        (label == 2).sum(axis=(0, 1)).tolist(),
    )
    assert lesion["ml"] == pytest.approx((label == 2).sum() * 1.5 * 1.25 * 4 / 1000)
    assert found["extent"] == pytest.approx((label == 2).sum() / (label > 0).sum(), abs=1e-6)
    assert found["curve"]["values"][9] == pytest.approx(16 / (label[:, :, 9] > 0).sum(), abs=1e-6)
    assert found["curve"]["values"][0] is None, "no lung to divide by"
    assert found["most"] == 9
    picture = asking.get("cases/1/masks/0-mask/measures").json()
    assert picture["curve"]["values"] == [pytest.approx(200 / 2400, abs=1e-6)]
    assert picture["labels"][0]["ml"] is None


def test_pictures_come_as_png(predictions: Path, client, tmp_path: Path) -> None:
    asking = client(predictions)
    with (
        Image.open(io.BytesIO(asking.get("cases/1/image").content)) as sent,
        Image.open(tmp_path / "images" / "mole.png") as stored,
    ):
        assert np.array_equal(np.asarray(sent), np.asarray(stored))
    mask = np.frombuffer(asking.get("cases/1/masks/0-mask").content, np.uint8).reshape(40, 60)
    assert mask[5:15, 30:50].all()
    assert mask.sum() == 200
    for path in ("thumbnail", "overlay/0"):
        assert asking.get(f"cases/1/{path}").headers["content-type"] == "image/png"
    assert asking.get("cases/2/thumbnail").status_code == 204


def test_two_folders_are_compared(tmp_path: Path, client) -> None:
    images = tmp_path / "images"
    for name in ("a", "b"):
        write_manifest(
            tmp_path / name,
            [write_ct_case(tmp_path / name, images, "scan"), write_skin_case(tmp_path / name, images, "mole")],
        )
    path = tmp_path / "b" / "scan_mask.nii.gz"
    stored = nib.load(path)
    _, label = ct_volume()
    other = label.copy()
    other[15] = np.where(other[15] == 2, 1, other[15])
    nib.save(nib.Nifti1Image(other, stored.affine, stored.header), path)
    asking = client(tmp_path / "a", tmp_path / "b")
    found = asking.get("cases/0/comparison/0-mask/1-mask").json()
    lesion = found["labels"][1]
    assert (lesion["first"], lesion["second"]) == (48, 36)
    assert lesion["dice"] == pytest.approx(2 * 36 / (48 + 36), abs=1e-6)
    assert found["extents"][1] == pytest.approx(36 / (label > 0).sum(), abs=1e-6)
    coloured = np.frombuffer(asking.get("cases/0/comparison/0-mask/1-mask/2").content, np.uint8).reshape(
        SHAPE, order="F"
    )
    assert (coloured[15][label[15] == 2] == 1).all()
    assert (coloured[16][label[16] == 2] == 3).all()
    assert (coloured == 2).sum() == 0
    assert asking.get("cases/0").json()["layers"][1]["side"] == 1


def test_a_picture_of_another_size_than_its_mask_is_said(predictions: Path, client, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)).save(
        tmp_path / "images" / "mole.png"
    )
    answer = client(predictions).get("cases/1/masks/0-mask")
    assert answer.status_code == 422
    assert "the shape differs" in answer.json()["error"]


def test_a_missing_image_is_said_and_its_overlay_still_shown(predictions: Path, client, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "images")
    asking = client(predictions)
    answer = asking.get("cases/1/image.json")
    assert answer.status_code == 404
    assert "there is no such file" in answer.json()["error"]
    assert asking.get("cases/1/overlay/0").status_code == 200


def test_the_cache_forgets_what_was_seen_long_ago(tmp_path: Path) -> None:
    from pipelines.viewer.images import Images

    write_ct_case(tmp_path / "out", tmp_path / "images", "one")
    write_ct_case(tmp_path / "out", tmp_path / "images", "two")
    images = Images(tmp_path, most_bytes=20_000)
    first = images.open(tmp_path / "images" / "one.nii.gz", "volume")
    assert images.open(tmp_path / "images" / "one.nii.gz", "volume") is first
    second = images.open(tmp_path / "images" / "two.nii.gz", "volume")
    assert not first.file.exists()
    assert second.file.exists()


def test_a_cache_that_is_full_is_said(predictions: Path, client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.viewer.images._write_nifti", full)
    answer = client(predictions).get("cases/0/image")
    assert answer.status_code == 507
    assert "set TMPDIR" in answer.json()["error"]


def test_the_vendored_niivue_is_the_one_that_is_stated() -> None:
    import hashlib
    import json

    from pipelines.viewer.server import STATIC

    stated = json.loads((STATIC / "vendor" / "niivue.json").read_text())
    content = (STATIC / "vendor" / "niivue.umd.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == stated["sha256"]
    assert (STATIC / "vendor" / "LICENSE.niivue").read_text().startswith("BSD 2-Clause")


def test_the_pages_modules_are_small() -> None:
    from pipelines.viewer.server import STATIC

    for path in STATIC.glob("*.js"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
