"""A label lies on its image, or it is refused: through the transform, and through the chains of a bundle's training and
evaluation with a datalist that somebody wrote by hand."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.transforms import Compose
from PIL import Image

from pipelines.datasets import files
from pipelines.errors import GeometryError, LabelError
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.transforms import LoadCTd, LoadLabeld, LoadPictured

LPS = np.diag([-2.0, -2.0, 5.0, 1.0])
SHAPE = (24, 20, 6)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    """Lungs at the sides, and nothing that is the same from another side."""
    array = np.full(SHAPE, 40, np.int16)
    array[2:8, 3:16] = -850
    array[15:21, 3:14] = -840
    array[0, :, :], array[:, 0, :] = -1000, -990
    return array


@pytest.fixture(scope="module")
def label(volume: np.ndarray) -> np.ndarray:
    values = (volume < -800).astype(np.uint8)
    values[3:6, 4:8, 4] = 2
    return values


def save(array: np.ndarray, affine: np.ndarray, path: Path, axes: str = "LPS") -> Path:
    image = nib.Nifti1Image(array, affine)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    nib.save(image.as_reoriented(turn), path)
    return path


def load(image: Path, mask: Path, loader=LoadCTd, values=(0, 1, 2)) -> dict:
    return Compose([loader("image"), LoadLabeld("label", values=values)])({"image": str(image), "label": str(mask)})


@pytest.mark.parametrize("image_axes", ["LPS", "SAR"])
@pytest.mark.parametrize("label_axes", ["LPS", "RAS", "LAS", "LPI", "PSR", "SAL"])
def test_a_label_stored_along_other_axes_is_turned_onto_its_image(tmp_path, volume, label, image_axes, label_axes):
    item = load(
        save(volume, LPS, tmp_path / "image.nii", image_axes), save(label, LPS, tmp_path / "label.nii", label_axes)
    )
    stored = np.asarray(nib.load(save(label, LPS, tmp_path / "same.nii", image_axes)).dataobj)
    np.testing.assert_array_equal(item["label"][0].numpy(), stored)
    np.testing.assert_array_equal(item["label"].affine, item["image"].affine)
    assert item["label"].is_contiguous()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda affine: affine @ np.diag([-1, 1, 1, 1]), "another affine"),  # mirrored, of equal shape
        (lambda affine: affine @ np.diag([-1, -1, 1, 1]), "another affine"),
        (lambda affine: affine @ np.diag([1, 1, -1, 1]), "another affine"),
        (lambda affine: affine + np.array([[0, 0, 0, 2]] + [[0] * 4] * 3), "another affine"),  # a voxel aside
        (lambda affine: affine + np.array([[0] * 4] * 2 + [[0, 0, 0, -5]] + [[0] * 4]), "another affine"),
        (lambda affine: affine @ np.diag([1.1, 1.1, 1, 1]), "another affine"),
        (lambda affine: affine @ np.diag([1, 1, 0.5, 1]), "another affine"),
        (lambda affine: np.eye(4), "another affine"),
        (lambda affine: affine[:, [2, 0, 1, 3]], "has the shape"),
    ],
    ids=["left right", "turned over", "head feet", "aside", "lower", "wider", "thinner", "identity", "axes swapped"],
)
def test_a_label_that_lies_elsewhere_is_refused(tmp_path, volume, label, change, fault):
    image = save(volume, LPS, tmp_path / "image.nii")
    nib.save(nib.Nifti1Image(label, change(LPS)), tmp_path / "label.nii")
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around ours
        load(image, tmp_path / "label.nii")
    assert isinstance(caught.value.__cause__, GeometryError)
    assert fault in str(caught.value.__cause__)


def test_values_that_are_no_class_are_named(tmp_path, volume, label):
    with pytest.raises(RuntimeError) as caught:
        load(save(volume, LPS, tmp_path / "image.nii"), save(label * np.uint8(3), LPS, tmp_path / "label.nii", "RAS"))
    assert isinstance(caught.value.__cause__, LabelError)
    assert "[3, 6]" in str(caught.value.__cause__)


def photograph(tmp_path: Path, orientation: int, side: tuple[int, int] = (50, 40)) -> tuple[Path, np.ndarray]:
    """A picture as its file stores it, with an EXIF orientation, and a lesion's mask stored as the picture is."""
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 255, (*side, 3)).astype(np.uint8)
    mask = np.zeros(side, np.uint8)
    mask[5:15, 8:30] = 1
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(tmp_path / "picture.png", exif=exif)
    return tmp_path / "picture.png", mask


def upright(mask: np.ndarray, orientation: int) -> np.ndarray:
    turns = {3: lambda a: a[::-1, ::-1], 6: lambda a: np.rot90(a, -1), 8: np.rot90}
    return turns[orientation](mask)


@pytest.mark.parametrize("orientation", [6, 8])
def test_the_mask_of_a_picture_on_its_side_is_turned_as_the_picture_is(tmp_path, orientation):
    picture, mask = photograph(tmp_path, orientation)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    item = load(picture, tmp_path / "mask.png", LoadPictured, (0, 1))
    assert item["label"].shape[1:] == item["image"].shape[1:]
    np.testing.assert_array_equal(item["label"][0].numpy().T, upright(mask, orientation))


@pytest.mark.parametrize(("orientation", "side"), [(3, (50, 40)), (6, (40, 40))])
def test_a_mask_that_fits_either_way_is_refused_but_not_one_that_says_how_it_lies(tmp_path, orientation, side):
    picture, mask = photograph(tmp_path, orientation, side)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(RuntimeError) as caught:
        load(picture, tmp_path / "mask.png", LoadPictured, (0, 1))
    assert isinstance(caught.value.__cause__, GeometryError)
    assert "which way up" in str(caught.value.__cause__)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(mask).save(tmp_path / "mask.png", exif=exif)
    item = load(picture, tmp_path / "mask.png", LoadPictured, (0, 1))
    np.testing.assert_array_equal(item["label"][0].numpy().T, upright(mask, orientation))


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory) -> Path:
    """A dataset that no command prepared: images in LPS; labels in LPS, in RAS, and mirrored under an LPS affine."""
    folder = tmp_path_factory.mktemp("by_hand")
    phantom = make_lung_phantom(5, size=48, slices=7)
    content: dict = {"labels": {"0": "background", "1": "lung", "2": "lesion"}}
    for number, section in enumerate(("training", "validation", "test")):
        image = save(phantom.array.astype(np.int16), phantom.affine, folder / f"image{number}.nii.gz")
        content[section] = [
            {"image": image.name, "label": f"label{number}.nii.gz", "case": f"c{number}", "patient": f"p{number}"}
        ]
    save(phantom.label, phantom.affine, folder / "label0.nii.gz", "RAS")
    save(phantom.label, phantom.affine, folder / "label1.nii.gz", "SPL")
    mirrored = phantom.affine @ np.diag([-1, 1, 1, 1])
    nib.save(nib.Nifti1Image(phantom.label[::-1], mirrored), folder / "label2.nii.gz")
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("bundle", ["covid_ct_lesion_segmentation", "covid_ct_severity_classification"])
def test_training_and_evaluation_see_labels_as_their_images_lie(project, by_hand, bundle):
    config = ConfigParser()
    config.read_config(str(project / "bundles" / bundle / "configs" / "train.yaml"))
    names = {0: "background", 1: "lung", 2: "lesion"}
    load_only = slice(0, 3)  # image, label, Orientationd: what comes after does not move one against the other
    for part, section in (("train", "training"), ("validate", "validation")):
        chain = Compose(config.get_parsed_content(f"{part}#deterministic_transforms")[load_only])
        (item,) = files(by_hand, "datalist.json", section, labels=names)
        out = chain(item)
        label, image = out["label"][0].numpy(), out["image"][0].numpy()
        if part == "validate":  # there the label stays where it was, on the file's own grid
            image = np.asarray(nib.load(item["image"]).dataobj)
        phantom_label = np.asarray(nib.load(item["label"]).as_reoriented(_to_lps(item["label"])).dataobj)
        np.testing.assert_array_equal(label, phantom_label)
        assert (image[label == 1] < -500).mean() > 0.8, "lung is dark"
    (item,) = files(by_hand, "datalist.json", "test", labels=names)
    chain = Compose(config.get_parsed_content("validate#deterministic_transforms")[load_only])
    with pytest.raises(RuntimeError) as caught:
        chain(item)
    assert isinstance(caught.value.__cause__, GeometryError)


def _to_lps(path: str) -> np.ndarray:
    return nib.orientations.ornt_transform(
        nib.orientations.io_orientation(nib.load(path).affine), nib.orientations.axcodes2ornt("LPS")
    )
