"""What is doubtful of a picture's window or of its mask is said in the report, and no extent or class is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.readers import read_case
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.plausibility import implausible
from pipelines.tasks.lung_ct.severity import SCALES
from pipelines.tasks.lung_ct.writers import LungMaskWriter, SeverityWriter, SliceClassWriter

SCALE = SCALES["normal_mild_severe"]


@pytest.fixture(scope="module")
def phantom() -> Any:
    return make_lung_phantom(3, extent=0.15)


@pytest.fixture(scope="module")
def slice_(phantom: Any) -> tuple[np.ndarray, np.ndarray]:
    """A slice in Hounsfield units and its label, (X, Y)."""
    return phantom.array[:, :, 12].astype(np.float32), phantom.label[:, :, 12]


def save(hu: np.ndarray, window: tuple[float, float], path: Path) -> Path:
    grey = np.rint(np.clip((hu - window[0]) / (window[1] - window[0]), 0, 1) * 255).astype(np.uint8)
    Image.fromarray(grey.T).save(path)
    return path


def report(writer: Any, path: Path, pred: np.ndarray) -> dict[str, Any]:
    files = writer.write_case("a", read_case(path), {"pred": torch.from_numpy(pred)})
    return json.loads(files["report"].read_text())


def test_a_true_mask_is_not_doubted(tmp_path: Path, slice_: tuple[np.ndarray, np.ndarray]) -> None:
    hu, label = slice_
    for window, words in (((-1000, 400), []), ((-1350, 150), ["the darkest of the lungs is at grey"])):
        found = report(LungMaskWriter(str(tmp_path)), save(hu, window, tmp_path / "a.png"), label[None, :, :, None])
        assert found["doubt"] is None
        assert len(found["notes"]) == len(words)
        assert all(note.startswith(each) for note, each in zip(found["notes"], words, strict=True))
        assert found["extent"] > 0.05


def test_a_wide_window_is_noted_and_its_extent_given(tmp_path: Path, slice_: tuple[np.ndarray, np.ndarray]) -> None:
    hu, label = slice_
    found = report(LungMaskWriter(str(tmp_path)), save(hu, (-1024, 1500), tmp_path / "a.png"), label[None, :, :, None])
    assert found["doubt"] is None
    assert "wide window" in found["notes"][0]
    assert found["extent"] > 0.05


@pytest.mark.parametrize("writer", [LungMaskWriter, SeverityWriter])
def test_chest_wall_called_lesion_is_doubted_and_gets_no_extent(
    tmp_path: Path, slice_: tuple[np.ndarray, np.ndarray], writer: type
) -> None:
    """What came out of pictures in other windows."""
    hu, label = slice_
    wrong = np.where((label == 0) & (hu > -200), 2, label).astype(np.uint8)
    options = {"scale": SCALE} if writer is SeverityWriter else {}
    found = report(
        writer(str(tmp_path), **options), save(hu, (-1350, 150), tmp_path / "a.png"), wrong[None, :, :, None]
    )
    assert "of what is called lesion lies outside the lungs" in found["doubt"]
    assert found["doubt"] in found["notes"]
    assert found["extent"] is None
    if writer is SeverityWriter:
        assert found["severity"]["class"] is None
        assert found["severity"]["reason"] == found["doubt"]
        assert [each["class"] for each in found["severity"]["slices"]] == [None]
        assert found["severity"]["slices"][0]["lesion_px"] == (wrong == 2).sum()


def test_a_share_that_no_lung_holds(phantom: Any) -> None:
    image = scale_ct(phantom.array.astype(np.float32), "hu")
    ill = np.where(phantom.label > 0, 2, 0)
    (words,) = implausible(ill, None)
    assert "100 % of what is called lung is called lesion" in words
    assert implausible(phantom.label, image) == []
    assert implausible(np.zeros_like(ill), image) == []


def test_lesion_without_any_lung_lies_outside_it(phantom: Any) -> None:
    mask = np.zeros((40, 40, 1), np.uint8)
    mask[10:20, 10:20] = 1
    mask[20:26, 10:20] = 2
    assert "100 % of what is called lesion lies outside" in implausible(mask, np.full(mask.shape, 0.74))[0]


def test_a_slice_whose_window_cannot_be_told_is_referred(tmp_path: Path) -> None:
    x, y = np.mgrid[-60:60, -60:60]
    body = (x / 50) ** 2 + (y / 40) ** 2 < 1
    grey = np.where(body, 120 + np.random.default_rng(0).normal(0, 4, body.shape), 0)
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "a.png")
    writer = SliceClassWriter(str(tmp_path), SCALE.names, SCALE.thresholds, [0.0, 0.08, 0.4])
    found = report(writer, tmp_path / "a.png", np.array([[0.98], [0.01], [0.01]]))
    assert found["refer"] is True
    assert "no lung is in view" in found["reason"]


def test_a_wide_window_is_rated_as_a_lung_window_is(tmp_path: Path, slice_: tuple[np.ndarray, np.ndarray]) -> None:
    found = {}
    for window in ((-1000, 400), (-1024, 3071)):
        writer = SliceClassWriter(str(tmp_path), SCALE.names, SCALE.thresholds, [0.0, 0.08, 0.4])
        path = save(slice_[0], window, tmp_path / "a.png")
        found[window] = report(writer, path, np.array([[0.98], [0.01], [0.01]]))
    assert [each["class"] for each in found.values()] == ["normal", "normal"]
    assert [len(each["notes"]) for each in found.values()] == [0, 1]


@pytest.mark.parametrize(("step", "said"), [(0.5, True), (5.0, False)])
def test_a_scan_that_is_too_low_for_a_chest_is_noted_along_its_own_axis(
    tmp_path: Path, phantom: Any, step: float, said: bool
) -> None:
    """Slices 5 mm apart, stated in centimetres: the lungs' volume alone may still be a person's."""
    side = 400 / phantom.array.shape[0]
    affine = np.array([[0, side, 0, 0], [0, 0, side, 0], [step, 0, 0, 0], [0, 0, 0, 1]])
    image = nib.Nifti1Image(phantom.array.transpose(2, 0, 1).astype(np.int16), affine)
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "a.nii")
    mask = phantom.label.transpose(2, 0, 1)[None]
    notes = report(LungMaskWriter(str(tmp_path / "out")), tmp_path / "a.nii", mask)["notes"]
    slices = mask.shape[1]
    words = f"{slices * step:.4g} mm high ({slices} voxels of {step:.3g} mm)"
    assert any(words in note for note in notes) is said
    assert any(" mm high" in note for note in notes) is said
