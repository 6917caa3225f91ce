"""A predicted mask lies on its input's grid, and on what it was predicted from, however the input is stored.

The network's output is known (``stub_networks``): a brighter pixel gets a higher label, so a mask that is shifted,
mirrored or turned no longer goes with its image. The inputs are the task's own phantoms: pictures or volumes, of one or
several channels; a series beside them where the task draws both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bundle_under_test import SIDE, Bundle
from numpy.typing import NDArray
from PIL import Image, ImageOps
from stub_networks import GreyLevels
from test_bundle_metrics import stub

from pipelines.tasks.registry import DATASETS, Dataset

pytestmark = pytest.mark.contract("segmentation")
ODD = (slice(3, None), slice(0, -2), slice(1, None))  # an odd number of voxels along each axis of a phantom


@dataclass(frozen=True)
class Masks:
    """Where the inputs lie, and their masks."""

    inputs: Path
    outputs: Path
    volumes: bool
    series: bool  # one of DICOM, and the same scan as NIfTI
    labels: int  # how many the bundle has, background too


@pytest.fixture(scope="module")
def masks(bundle: Bundle, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Masks:
    """One inference over a folder of one phantom stored in many ways."""
    folder = tmp_path_factory.mktemp("geometry")
    inputs, outputs = folder / "inputs", folder / "outputs"
    inputs.mkdir()
    first = phantoms / json.loads((phantoms / "datalist.json").read_text())["test"][0]["image"]
    volumes = first.name.endswith(".nii.gz")
    both = volumes and bundle.dataset in DATASETS and "both" in phantom_formats(DATASETS[bundle.dataset])
    if volumes:
        store_volumes(nib.load(first), inputs, picture=bundle.takes_pictures)
    if both:
        draw = DATASETS[bundle.dataset].phantoms()
        draw(folder / "raw", raw=True, cases=1, size=SIDE, file_format="both")
        series = next((folder / "raw").rglob("*.dcm")).parent
        (volume,) = [path for path in (folder / "raw").rglob("*.nii.gz") if np.ptp(nib.load(path).get_fdata()) > 10]
        shutil.copytree(series, inputs / "series")
        shutil.copy(volume, inputs / "volume.nii.gz")
    if not volumes:
        picture = Image.open(first)
        picture.crop((0, 0, picture.width - 1, picture.height - 3)).save(inputs / "odd.png")
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(inputs / "mirrored.png")
        picture.save(inputs / "plain.png")
        stored = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
        for orientation, turn in stored.items():  # stored on its side, seen upright
            exif = Image.Exif()
            exif[274] = orientation
            picture.transpose(turn).save(inputs / f"turned{orientation}.png", exif=exif)
    workflow = bundle.workflow("infer", "inference", **stub(bundle, folder), input=inputs, output_dir=outputs)
    workflow.initialize()
    workflow.run()
    return Masks(inputs, outputs, volumes, both, len(bundle.config("inference")["label_names"]))


def phantom_formats(dataset: Dataset) -> tuple[str, ...]:
    """The file formats that a dataset's phantoms can be drawn in, where there is a choice."""
    option = dataset.phantom_options.get("--format")
    return (option.choices or ()) if option else ()


def store_volumes(volume: nib.Nifti1Image, folder: Path, *, picture: bool) -> None:
    """The same volume with odd sizes, unequal spacing, other orders of the axes, and a tilt; with ``picture`` one slice
    as a picture, too. A fourth axis holds channels."""

    def save(name: str, image: nib.Nifti1Image) -> None:
        nib.save(image, folder / f"{name}.nii.gz")

    def turned(axes: str) -> nib.Nifti1Image:
        return volume.as_reoriented(nib.orientations.ornt_transform(
            nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(axes)
        ))  # fmt: skip

    save("plain", volume)
    save("odd", volume.slicer[ODD])
    for axes in ("RAS", "PIR", "SAL", "ASR"):
        save(f"stored_{axes}", turned(axes))
    angle = np.deg2rad(8)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    save("tilted", nib.Nifti1Image(np.asarray(volume.dataobj), tilt @ volume.affine, volume.header))
    if not picture:
        return
    values = grey(np.asarray(volume.dataobj, dtype=np.float32))
    low, high = np.percentile(values, [1, 97])
    plane = np.clip((values[ODD][:, :, values.shape[2] // 2] - low) / (high - low), 0, 1)
    Image.fromarray((plane.T * 255).astype(np.uint8)).save(folder / "picture.png")


def grey(volume: NDArray) -> NDArray:
    """(X, Y, Z) of a volume: the mean of its channels if it has a fourth axis."""
    return volume.mean(axis=3) if volume.ndim == 4 else volume


def goes_with(mask: NDArray, image: NDArray) -> float:
    """Correlation of labels with grey values, within the box of the labels: 1 where they lie on one another."""
    inside = np.nonzero(mask)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in inside)
    values = np.clip(image.astype(float), *np.percentile(image, [2, 98]))[box]
    return float(np.corrcoef(mask[box].reshape(-1), values.reshape(-1))[0, 1])


def best_fit(image: NDArray, labels: int) -> float:
    """How well as many equal steps of an image's own grey values go with it: no mask of the stub's can do better, and
    in a textured image it is less than 1."""
    low, high = np.percentile(image, [0.5, 99.5])
    steps = np.clip((image - low) / (high - low) * labels, 0, labels - 1)
    return goes_with(steps.astype(np.uint8), image)


def check_lies_on(mask: NDArray, image: NDArray, least: float, name: str) -> None:
    """Holds a mask against its image: it goes with it, and no mirrored or shifted one goes as well.

    Args:
        mask, image: (X, Y, Z).
        least: the correlation that is asked for.
        name: said where it fails.
    """
    fit = goes_with(mask, image)
    assert fit > least, name
    moved: dict[str, Callable[[NDArray], NDArray]] = {
        f"{change.__name__} {axis}": lambda a, c=change, x=axis: c(a, x)
        for axis in range(3)
        for change in (lambda a, x: np.flip(a, x), lambda a, x: np.roll(a, 3, x))
    }
    for what, change in moved.items():
        assert goes_with(change(mask), image) < fit - 0.02, f"{name}: {what} would not show"


def canonical(path: Path) -> nib.Nifti1Image:
    return nib.as_closest_canonical(nib.load(path))


def agreement(one: NDArray, other: NDArray) -> float:
    return float((np.asarray(one) == np.asarray(other)).mean())


def volumes_only(masks: Masks) -> None:
    if not masks.volumes:
        pytest.skip("the dataset has no volumes")


def test_every_input_has_a_mask_of_its_kind(masks: Masks) -> None:
    wanted = {path.name for path in masks.inputs.glob("*.*")} | ({"series.nii.gz"} if masks.series else set())
    found = {path.name.replace("_mask", "") for path in masks.outputs.glob("*_mask.*")}
    assert found == wanted


def test_shape_and_affine_are_the_inputs(masks: Masks) -> None:
    volumes_only(masks)
    for path in masks.inputs.glob("*.nii.gz"):
        image, mask = nib.load(path), nib.load(masks.outputs / path.name.replace(".nii.gz", "_mask.nii.gz"))
        assert mask.shape == image.shape[:3], path.name
        np.testing.assert_array_equal(mask.affine, image.affine, err_msg=path.name)
        assert mask.get_data_dtype() == np.uint8


def test_mask_lies_on_its_image(masks: Masks) -> None:
    volumes_only(masks)
    for path in masks.inputs.glob("*.nii.gz"):
        mask = np.asarray(nib.load(masks.outputs / path.name.replace(".nii.gz", "_mask.nii.gz")).dataobj)
        image = grey(np.asarray(nib.load(path).dataobj))
        least = min(0.9 if masks.labels > 2 else 0.8, 0.97 * best_fit(image, masks.labels))
        check_lies_on(mask, image, least, path.name)


def test_mask_does_not_depend_on_how_the_volume_is_stored(masks: Masks) -> None:
    volumes_only(masks)
    plain = canonical(masks.outputs / "plain_mask.nii.gz")
    assert len(np.unique(np.asarray(plain.dataobj))) == masks.labels
    for path in masks.outputs.glob("stored_*_mask.nii.gz"):
        stored = canonical(path)
        np.testing.assert_allclose(stored.affine, plain.affine, atol=1e-3)
        assert agreement(stored.dataobj, plain.dataobj) > 0.99, path.name
    tilted = nib.load(masks.outputs / "tilted_mask.nii.gz")
    assert agreement(tilted.dataobj, nib.load(masks.outputs / "plain_mask.nii.gz").dataobj) > 0.99


def test_mask_of_a_dicom_series_lies_where_that_of_its_nifti_twin_does(masks: Masks) -> None:
    if not masks.series:
        pytest.skip("the task draws no phantom as both a series and a volume")
    series, volume = (canonical(masks.outputs / f"{name}_mask.nii.gz") for name in ("series", "volume"))
    assert series.shape == volume.shape
    np.testing.assert_allclose(series.affine, volume.affine, atol=0.01)  # mm
    assert agreement(series.dataobj, volume.dataobj) > 0.99


def test_mask_of_a_picture_has_its_size_and_lies_on_it(masks: Masks) -> None:
    pictures = list(masks.inputs.glob("*.png"))
    if masks.volumes and not pictures:
        pytest.skip("the bundle takes no pictures")
    assert pictures
    for path in pictures:
        image, mask = ImageOps.exif_transpose(Image.open(path)), Image.open(masks.outputs / f"{path.stem}_mask.png")
        assert mask.size == image.size
        assert mask.mode == "L"
        values = np.asarray(mask)
        assert values.max() <= 10, "label values, not grey ones"
        assert goes_with(values, np.asarray(image.convert("L"))) > 0.8


@pytest.mark.parametrize("channels", [1, 2])
def test_volumes_of_several_channels_are_held_against_a_network_of_volumes(tmp_path: Path, channels: int) -> None:
    """What a bundle of another task, whose network sees three axes, is measured by: a right mask passes, no other."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in (40, 36, 28)], indexing="ij")
    outer, inner = (
        sum((axis - at) ** 2 for axis, at in zip(axes, middle, strict=True))
        for middle in ((0.1, -0.1, 0.1), (0.3, 0.1, -0.15))
    )
    drawn = 0.05 + 0.45 * (outer < 0.6) + 0.45 * (inner < 0.2)
    values = np.stack([drawn * (1 - 0.1 * channel) for channel in range(channels)], axis=-1)
    if channels == 1:
        values = values[..., 0]
    volume = nib.Nifti1Image(values.astype(np.float32), np.diag([1.0, 1.2, 2.5, 1.0]))
    store_volumes(volume, tmp_path, picture=False)
    stored = list(tmp_path.glob("*"))
    assert {"odd.nii.gz", "plain.nii.gz", "stored_SAL.nii.gz", "tilted.nii.gz"} < {path.name for path in stored}
    network = GreyLevels(3, spatial_dims=3)
    for path in stored:
        image = np.asarray(nib.load(path).dataobj, dtype=np.float32)
        assert image.ndim == (3 if channels == 1 else 4)
        given = torch.from_numpy(image.reshape(*image.shape[:3], channels)).movedim(-1, 0)[None]
        with torch.no_grad():
            mask = network(given)[0].argmax(0).numpy()
        check_lies_on(mask, grey(image), 0.9, path.name)
        with pytest.raises(AssertionError):
            check_lies_on(np.flip(mask, 1), grey(image), 0.9, path.name)
