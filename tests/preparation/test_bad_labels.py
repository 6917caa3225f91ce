"""Item 5 of bad-inputs.md: each fault is fed to `prepare` and gets its error, with nothing written."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipelines.errors import GeometryError, LabelError, PipelinesError, UnreadableFileError
from pipelines.tasks.lung_ct.prepare import prepare_covid_ct

FIRST = "phantom_001.nii.gz"


def refused(raw: Path, kind: type[PipelinesError], words: str, where: str) -> None:
    out = raw.parent / "out"
    with pytest.raises(PipelinesError, match=words) as caught:
        prepare_covid_ct(raw, out)
    assert type(caught.value) is kind
    assert where in str(caught.value)
    assert sorted(p.name for p in raw.parent.iterdir()) == [raw.name]


def _value(mask: np.ndarray, old: int, new: int) -> np.ndarray:
    mask[mask == old] = new
    return mask


def test_unseen_value(ct_seg: Path, change) -> None:
    change(ct_seg / "lung_mask" / FIRST, lambda m: _value(m, 2, 7))
    refused(ct_seg, LabelError, "values 0, 1, 7", FIRST)


def test_255_in_a_volume(ct_seg: Path, change) -> None:
    change(ct_seg / "infection_mask" / FIRST, lambda m: _value(m, 1, 255))
    refused(ct_seg, LabelError, "values 0, 255", FIRST)


def test_fractions(ct_seg: Path, change) -> None:
    change(ct_seg / "infection_mask" / FIRST, lambda m: m.astype(np.float32) * 0.7)
    refused(ct_seg, LabelError, "fractions", FIRST)


def test_another_shape(ct_seg: Path, change) -> None:
    change(ct_seg / "lung_mask" / FIRST, lambda m: m[:, :, :-1])
    refused(ct_seg, GeometryError, "shape", FIRST)


def test_another_affine(ct_seg: Path, change) -> None:
    path = ct_seg / "lung_mask" / FIRST
    affine = nib.Nifti1Image.from_filename(path).affine.copy()
    affine[:3, 3] += 30
    change(path, lambda m: m, affine)
    refused(ct_seg, GeometryError, "affine", FIRST)


def test_all_background(ct_seg: Path, change) -> None:
    for kind in ("lung_mask", "infection_mask", "lung_and_infection_mask"):
        change(ct_seg / kind / FIRST, lambda m: m * 0)
    refused(ct_seg, LabelError, "all background", FIRST)


def test_lesion_outside_the_lung(ct_seg: Path, change) -> None:
    def outside(mask: np.ndarray) -> np.ndarray:
        mask[:20, :20, 3] = 1
        return mask

    change(ct_seg / "infection_mask" / FIRST, outside)
    change(ct_seg / "lung_and_infection_mask" / FIRST, lambda m: np.where(outside(m * 0) == 1, 3, m).astype(np.uint8))
    refused(ct_seg, LabelError, "outside the lung", FIRST)


def test_a_voxel_outside_the_lung_is_mended_and_noted(ct_seg: Path, change, tmp_path: Path) -> None:
    def drop_one(mask: np.ndarray) -> np.ndarray:
        infected = np.asarray(nib.Nifti1Image.from_filename(ct_seg / "infection_mask" / FIRST).dataobj)
        mask[tuple(np.argwhere(infected)[0])] = 0
        return mask

    change(ct_seg / "lung_mask" / FIRST, drop_one)
    out = tmp_path / "out"
    prepare_covid_ct(ct_seg, out)
    label = np.asarray(nib.Nifti1Image.from_filename(out / "labels" / FIRST).dataobj)
    infected = np.asarray(nib.Nifti1Image.from_filename(ct_seg / "infection_mask" / FIRST).dataobj)
    assert np.array_equal(label == 2, infected == 1)
    assert "outside the lung mask" in (out / "report.md").read_text()


def test_masks_that_contradict_each_other(ct_seg: Path, change) -> None:
    change(ct_seg / "lung_and_infection_mask" / FIRST, lambda m: np.roll(m, 5, axis=0))
    refused(ct_seg, LabelError, "joint mask differs", FIRST)


def test_mask_of_another_place_lies_on_tissue(ct_seg: Path, change) -> None:
    for kind in ("lung_mask", "infection_mask", "lung_and_infection_mask"):
        change(ct_seg / kind / FIRST, lambda m: np.roll(m, 14, axis=1))
    refused(ct_seg, LabelError, "as dense as muscle", FIRST)


@pytest.mark.parametrize("grey", [1, 127, 254])
def test_grey_in_a_picture_mask(pictures: Path, grey: int) -> None:
    path = pictures / "masks" / "3.png"
    mask = np.array(Image.open(path))
    mask[5, 5:9] = grey
    Image.fromarray(mask).save(path)
    refused(pictures, LabelError, f"values 0, {grey}", "3.png")


def test_jpeg_mask(pictures: Path) -> None:
    path = pictures / "masks" / "3.png"
    Image.open(path).save(path.with_suffix(".jpg"), quality=60)
    path.unlink()
    refused(pictures, LabelError, "never JPEG", "3.jpg")


def test_picture_mask_of_another_shape(pictures: Path) -> None:
    path = pictures / "masks" / "3.png"
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    refused(pictures, GeometryError, "shape", "3.png")


def test_picture_mask_all_background(pictures: Path) -> None:
    path = pictures / "masks" / "3.png"
    Image.fromarray(np.zeros_like(np.array(Image.open(path)))).save(path)
    refused(pictures, LabelError, "all background", "3.png")


def test_mask_missing_and_mask_left_over(pictures: Path) -> None:
    (pictures / "masks" / "3.png").rename(pictures / "masks" / "33.png")
    with pytest.raises(UnreadableFileError, match="2 faults") as caught:
        prepare_covid_ct(pictures, pictures.parent / "out")
    assert "has no mask" in str(caught.value)
    assert "has no picture" in str(caught.value)


def test_two_masks_of_one_name_and_neither_is_taken(pictures: Path, tmp_path: Path) -> None:
    Image.open(pictures / "masks" / "3.png").save(pictures / "masks" / "3.bmp")
    refused(pictures, UnreadableFileError, "two masks have this name", "3.bmp")
    split = prepare_covid_ct(pictures, tmp_path / "prepared", skip_bad=True).split
    assert "3" not in [name for names in split.values() for name in names]


def test_all_faults_are_named_at_once(pictures: Path) -> None:
    for i in (1, 2):
        (pictures / "masks" / f"{i}.png").write_bytes(b"")
    with pytest.raises(UnreadableFileError) as caught:
        prepare_covid_ct(pictures, pictures.parent / "out")
    assert "1.png" in str(caught.value)
    assert "2.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dicom_masks_without_a_2_are_ambiguous(dicom: Path, change, tmp_path: Path) -> None:
    for path in (dicom / "masks").iterdir():
        change(path, lambda m: (m == 2).astype(np.uint8))
    refused(dicom, LabelError, "may mean lung or lesion", "--mask-values")
    for empty in ("phantom_000", "phantom_001", "phantom_002", "phantom_003", "phantom_004", "phantom_005"):
        if not np.asarray(nib.Nifti1Image.from_filename(dicom / "masks" / f"{empty}.nii.gz").dataobj).any():
            (dicom / "masks" / f"{empty}.nii.gz").unlink()
    prepared = prepare_covid_ct(dicom, tmp_path / "out", mask_values="lesion", skip_bad=True)
    assert len(prepared.left_out) == 2
