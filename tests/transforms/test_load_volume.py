"""A volume whose values may mean anything: read as strictly as a CT, and nobody asks for Hounsfield units."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, Orientationd, Spacingd
from PIL import Image

from pipelines.errors import (
    GeometryError,
    IntensityError,
    LabelError,
    PipelinesError,
    UnreadableFileError,
    UnsupportedImageError,
)
from pipelines.transforms import LoadCTd, LoadLabeld, LoadVolumed

SHAPE = (24, 20, 18)
AFFINE = np.array([[0.0, -1.5, 0, 30], [0, 0, 2.0, -10], [-3.0, 0, 0, 5], [0, 0, 0, 1]])  # axes I, L, A


def mr(seed: int = 0) -> np.ndarray:
    """Values as an MR has them: 0 around, some hundreds inside, not whole, no unit."""
    values = np.random.default_rng(seed).gamma(2.0, 150.0, SHAPE).astype(np.float32)
    values[:4] = 0
    return values


def save(array: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def test_values_axes_and_grid_are_those_of_the_file(tmp_path: Path) -> None:
    path = save(mr(), tmp_path / "a.nii.gz")
    with pytest.raises(IntensityError, match="neither Hounsfield units"):
        LoadCTd("image")({"image": str(path)})
    loaded = LoadVolumed("image")({"image": str(path)})["image"]
    assert (loaded.shape, loaded.dtype.itemsize) == ((1, *SHAPE), 4)
    np.testing.assert_array_equal(loaded[0].numpy(), mr())
    np.testing.assert_allclose(loaded.affine.numpy(), AFFINE)
    assert (loaded.meta["kind"], loaded.meta["intensity"]) == ("volume", "any")
    assert loaded.meta["filename_or_obj"] == str(path)
    assert tuple(loaded.meta["spatial_shape"]) == SHAPE


def test_monai_turns_and_resamples_it_as_it_lies(tmp_path: Path) -> None:
    path = save(mr(), tmp_path / "a.nii")
    steps = Compose(
        [LoadVolumed("image"), Orientationd("image", "RAS", labels=None), Spacingd("image", (1.5, 2.0, 1.5))]
    )
    loaded = steps({"image": str(path)})["image"]
    assert nib.aff2axcodes(loaded.affine.numpy()) == ("R", "A", "S")
    assert loaded.shape == (1, 20, 18, 47)  # L has 20 voxels of 1.5 mm, A 18 of 2 mm, I 24 of 3 mm
    where = nib.affines.apply_affine(np.linalg.inv(loaded.affine.numpy()), nib.affines.apply_affine(AFFINE, (9, 4, 7)))
    np.testing.assert_allclose(where, np.rint(where), atol=1e-6)
    assert float(loaded[(0, *np.rint(where).astype(int))]) == pytest.approx(float(mr()[9, 4, 7]), rel=1e-5)


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_nrrd_and_metaimage_are_read_too(tmp_path: Path, ending: str) -> None:
    itk = pytest.importorskip("itk")
    image = itk.image_from_array(np.ascontiguousarray(mr().transpose(2, 1, 0)))
    image.SetSpacing([1.5, 1.5, 4.0])
    itk.imwrite(image, str(tmp_path / f"a.{ending}"))
    loaded = LoadVolumed("image")({"image": tmp_path / f"a.{ending}"})["image"]
    np.testing.assert_array_equal(loaded[0].numpy(), mr())
    np.testing.assert_allclose(np.diag(loaded.affine.numpy()), (-1.5, -1.5, 4.0, 1.0))


def test_an_image_in_memory_is_held_to_the_same(tmp_path: Path) -> None:
    loader = LoadVolumed("image")
    for given, more in ((nib.Nifti1Image(mr(), AFFINE), {}), (mr(), {"affine": AFFINE})):
        loaded = loader({"image": loader.take(given, **more)})["image"]
        np.testing.assert_array_equal(loaded[0].numpy(), mr())
        np.testing.assert_allclose(loaded.affine.numpy(), AFFINE)
        assert loaded.meta["intensity"] == "any"
    with pytest.raises(GeometryError, match="left and right"):
        loader.take(mr())
    with pytest.raises(IntensityError, match="mask"):
        loader.take((mr() > 100).astype(np.uint8), affine=AFFINE)
    with pytest.raises(UnsupportedImageError, match="a volume is due"):
        loader.take(Image.fromarray(mr()[:, :, 3].clip(0, 255).astype(np.uint8)).resize((64, 64)))


def spoilt(fault: str) -> np.ndarray:
    values = mr()
    if fault == "nan":
        values[5, 5, 5] = np.nan
    elif fault == "infinite":
        values[5, 5, 5] = np.inf
    elif fault == "constant":
        values[:] = 7
    elif fault == "mask":
        values = (mr() > 100).astype(np.uint8)
    elif fault == "few":
        values = (mr() / 100).clip(0, 6).astype(np.int16) - 3
    elif fault == "channels":
        values = np.stack([mr(), mr(1)], axis=-1)
    elif fault == "thin":
        values = mr()[:, :12, :12]
    return values


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("nan", IntensityError, "NaN or infinite"),
        ("infinite", IntensityError, "NaN or infinite"),
        ("constant", IntensityError, "every voxel has the value 7"),
        ("mask", IntensityError, "only two steps look like a mask, not like an image"),
        ("few", IntensityError, "few steps look like a mask"),
        ("channels", UnsupportedImageError, "one three-dimensional volume is due; save the one volume or channel"),
        ("thin", UnsupportedImageError, "too small"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path: Path, fault: str, kind: type[PipelinesError], said: str) -> None:
    path = save(spoilt(fault), tmp_path / "a.nii")
    with pytest.raises(kind, match=said):
        LoadVolumed("image").read(path)


def test_grids_and_files_are_held_to_the_same_as_a_ct(tmp_path: Path) -> None:
    load = LoadVolumed("image").read
    metres = nib.Nifti1Image(mr(), AFFINE)
    metres.header.set_xyzt_units("meter")
    nib.save(metres, tmp_path / "metres.nii")
    with pytest.raises(GeometryError, match="metres"):
        load(tmp_path / "metres.nii")
    unset = nib.Nifti1Image(mr(), None)
    nib.save(unset, tmp_path / "unset.nii")
    with pytest.raises(GeometryError, match="neither sform nor qform"):
        load(tmp_path / "unset.nii")
    with pytest.raises(GeometryError, match="cannot be that of a CT or another scan"):
        load(save(mr(), tmp_path / "large.nii", np.diag([900.0, 1, 1, 1])))
    (tmp_path / "cut.nii").write_bytes(save(mr(), tmp_path / "whole.nii").read_bytes()[:-5000])
    with pytest.raises(UnreadableFileError):
        load(tmp_path / "cut.nii")
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(tmp_path / "picture.png")
    with pytest.raises(UnsupportedImageError, match="is a picture, and a volume is due"):
        load(tmp_path / "picture.png")


def test_labels_of_any_values_lie_on_it(tmp_path: Path) -> None:
    image = save(mr(), tmp_path / "a.nii")
    values = np.zeros(SHAPE, np.uint8)
    values[5:9, 3:8, 2:7] = 3
    values[10:12, 3:8, 2:7] = 5
    turned = nib.Nifti1Image(values, AFFINE).as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.io_orientation(AFFINE), nib.orientations.axcodes2ornt(("R", "A", "S"))
        )
    )
    nib.save(turned, tmp_path / "label.nii")
    item = {"image": str(image), "label": str(tmp_path / "label.nii")}
    loaded = Compose([LoadVolumed("image"), LoadLabeld("label", values=(0, 3, 5))])(item)
    np.testing.assert_array_equal(loaded["label"][0].numpy(), values)
    np.testing.assert_allclose(loaded["label"].affine.numpy(), AFFINE)
    with pytest.raises(LabelError, match=r"label values \[5\] are not among \[0, 3\]"):
        LoadLabeld("label", values=(0, 3))({**LoadVolumed("image")(item)})
