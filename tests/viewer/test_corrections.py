"""Corrected masks: where they lie, on which grid, and what is refused."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from written_folders import ORIGIN, SHAPE, ct_volume, write_ct_case, write_manifest

from pipelines.errors import OutputError
from pipelines.viewer import read_folder
from pipelines.viewer.cases import Case
from pipelines.viewer.corrections import Corrections
from pipelines.viewer.images import Images

POSTED = {"content-type": "application/octet-stream", **ORIGIN}


def corrected_label() -> np.ndarray:
    _, label = ct_volume()
    label[5, 6, 7] = 2  # one voxel that was lung
    return label


def in_one_order(path: Path) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "AIL"])
def test_a_volume_is_saved_as_its_prediction_is_stored(tmp_path: Path, client, codes: str) -> None:
    folder = tmp_path / "out"
    write_manifest(folder, [write_ct_case(folder, tmp_path / "images", "ward/scan", codes)])
    before = (folder / "ward" / "scan_mask.nii.gz").read_bytes()
    asking = client(folder)
    assert asking.get("cases/0").json()["corrected"] is None
    answer = asking.post("cases/0/masks/corrected", content=corrected_label().tobytes(order="F"), headers=POSTED)
    assert answer.status_code == 200
    assert answer.json()["corrected"] == "corrected/ward/scan_mask.nii.gz"
    saved, predicted = (nib.load(folder / part / "ward/scan_mask.nii.gz") for part in ("corrected", "."))
    assert saved.shape == predicted.shape
    assert np.array_equal(saved.affine, predicted.affine)
    assert saved.get_data_dtype() == np.uint8
    assert np.array_equal(in_one_order(folder / "corrected/ward/scan_mask.nii.gz"), corrected_label())
    assert np.count_nonzero(np.asarray(saved.dataobj) != np.asarray(predicted.dataobj)) == 1
    assert (folder / "ward" / "scan_mask.nii.gz").read_bytes() == before, "the prediction is never touched"
    again = np.frombuffer(asking.get("cases/0/masks/corrected").content, np.uint8).reshape(SHAPE, order="F")
    assert np.array_equal(again, corrected_label())
    assert asking.get("cases").json()["cases"][0]["corrected"] is True
    assert asking.get("cases/0/masks/corrected/measures").json()["labels"][1]["voxels"] == 49
    everything = [
        p.relative_to(folder / "corrected").as_posix() for p in (folder / "corrected").rglob("*") if p.is_file()
    ]
    assert sorted(everything) == ["ward/scan_mask.nii.gz"], "nothing half-written stays"


def test_a_picture_is_saved_as_png(predictions: Path, client) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[3, 50] = 1
    asking = client(predictions)
    assert asking.post("cases/1/masks/corrected", content=mask.tobytes(), headers=POSTED).status_code == 200
    with Image.open(predictions / "corrected" / "mole_mask.png") as saved:
        assert saved.mode == "L"
        assert np.array_equal(np.asarray(saved), mask)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (bytes(int(np.prod(SHAPE)) - 1), {}, 413),
        (bytes(int(np.prod(SHAPE)) + 1), {}, 413),
        (b"", {}, 413),
        (bytes([3]) * int(np.prod(SHAPE)), {}, 422),
        (bytes(int(np.prod(SHAPE))), {"content-type": "text/plain"}, 415),
    ],
)
def test_another_length_value_or_kind_is_refused(
    predictions: Path, client, body: bytes, headers: dict, status: int
) -> None:
    answer = client(predictions).post("cases/0/masks/corrected", content=body, headers={**POSTED, **headers})
    assert answer.status_code == status
    assert not list(predictions.glob("corrected/**/*.gz"))


def test_a_body_without_a_stated_length_is_not_read(predictions: Path, client) -> None:
    answer = client(predictions).post("cases/0/masks/corrected", content=iter([bytes(9)]), headers=POSTED)
    assert answer.status_code == 413


def test_a_case_without_a_mask_or_that_is_not_there(predictions: Path, client) -> None:
    asking = client(predictions)
    for number in (2, 3):
        answer = asking.post(f"cases/{number}/masks/corrected", content=b"\0", headers=POSTED)
        assert answer.status_code in (404, 422)
    assert not (predictions / "corrected").exists()


def test_links_do_not_lead_a_save_out_of_the_folder(predictions: Path, client, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    body = ct_volume()[1].tobytes(order="F")
    (predictions / "corrected").symlink_to(away)
    asking = client(predictions)
    answer = asking.post("cases/0/masks/corrected", content=body, headers=POSTED)
    assert answer.status_code == 507
    assert "a link leads out" in answer.json()["error"]
    (predictions / "corrected").unlink()
    (predictions / "corrected").mkdir()
    (predictions / "corrected" / "ward").symlink_to(away)
    assert asking.post("cases/0/masks/corrected", content=body, headers=POSTED).status_code == 507
    (predictions / "corrected" / "ward").unlink()
    (predictions / "corrected" / ".lock").unlink(missing_ok=True)
    (predictions / "corrected" / ".lock").symlink_to(away / "made")
    assert asking.post("cases/0/masks/corrected", content=body, headers=POSTED).status_code == 507
    (predictions / "corrected" / ".lock").unlink(missing_ok=True)
    (predictions / "corrected" / "ward").mkdir(exist_ok=True)
    (predictions / "corrected" / "ward" / "scan_mask.nii.gz").symlink_to(away / "target")
    assert asking.post("cases/0/masks/corrected", content=body, headers=POSTED).status_code == 200
    assert list(away.iterdir()) == [], "the link itself was replaced"


def test_what_was_saved_elsewhere_meanwhile_is_not_lost(predictions: Path, client) -> None:
    first, second = client(predictions), client(predictions)
    base = {"x-base": first.get("cases/0").json()["version"]}
    body = corrected_label().tobytes(order="F")
    saved = first.post("cases/0/masks/corrected", content=body, headers={**POSTED, **base})
    assert saved.status_code == 200
    late = second.post("cases/0/masks/corrected", content=bytes(len(body)), headers={**POSTED, **base})
    assert late.status_code == 409
    assert "saved elsewhere" in late.json()["error"]
    now = {"x-base": saved.json()["version"]}
    assert first.post("cases/0/masks/corrected", content=body, headers={**POSTED, **now}).status_code == 200


def test_one_writer_at_a_time(predictions: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    case = read_folder(predictions).cases[0]
    assert case.image is not None
    shown = Images(tmp_path).open(case.image, "volume")
    (predictions / "corrected").mkdir()
    with (predictions / "corrected" / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another call is writing here; save again in a moment"):
            Corrections().save(case, shown, corrected_label(), case.labels)
    writer = Corrections()
    threads = [
        threading.Thread(target=writer.save, args=(case, shown, corrected_label(), case.labels)) for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert np.array_equal(in_one_order(predictions / "corrected/ward/scan_mask.nii.gz"), corrected_label())


def test_a_write_that_fails_leaves_the_earlier_one(predictions: Path, client, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = client(predictions)
    body = corrected_label().tobytes(order="F")
    assert asking.post("cases/0/masks/corrected", content=body, headers=POSTED).status_code == 200
    before = (predictions / "corrected/ward/scan_mask.nii.gz").read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.viewer.corrections.os.fsync", full)
    answer = asking.post("cases/0/masks/corrected", content=bytes(len(body)), headers=POSTED)
    assert answer.status_code == 507
    assert "No space left on device" in answer.json()["error"]
    assert (predictions / "corrected/ward/scan_mask.nii.gz").read_bytes() == before
    assert not [
        path for path in (predictions / "corrected").rglob("*") if path.name.startswith(".") and path.name != ".lock"
    ]


@pytest.mark.parametrize("name", ["../mole", "a/../../mole", "{away}/x", "..", "", "a\0b", "a\\..\\..\\mole"])
def test_a_cases_name_does_not_lead_a_save_elsewhere(predictions: Path, tmp_path: Path, name: str) -> None:
    scan = read_folder(predictions).cases[0]
    assert scan.image is not None
    shown = Images(tmp_path).open(scan.image, "volume")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    case = Case(name.format(away=tmp_path / "away"), predictions, "done", scan.image)
    with pytest.raises(OutputError, match="the case's name leads out"):
        Corrections().save(case, shown, corrected_label(), scan.labels)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "away").exists()


def test_a_link_laid_for_the_half_written_file_is_not_followed(
    predictions: Path, client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.viewer.corrections.secrets.token_hex", lambda length: "guessed")
    target = tmp_path / "target"
    target.write_text("kept")
    (predictions / "corrected/ward").mkdir(parents=True)
    (predictions / "corrected/ward/.guessed.part").symlink_to(target)
    for name in (f".scan_mask.nii.gz.{os.getpid()}", ".scan_mask.nii.gz"):
        (predictions / "corrected/ward" / name).symlink_to(target)
    body = corrected_label().tobytes(order="F")
    answer = client(predictions).post("cases/0/masks/corrected", content=body, headers=POSTED)
    assert target.read_text() == "kept"
    assert answer.status_code == 507
