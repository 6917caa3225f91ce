"""A bundle as a Python call: what it says of an image in memory is what ``predict`` says of the file."""

from __future__ import annotations

import gc
import json
import logging
import pickle
import random
import threading
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import psutil
import pydicom
import pytest
import torch
from PIL import Image

from pipelines import load_bundle
from pipelines.__main__ import main
from pipelines.errors import (
    ConfigError,
    GeometryError,
    SeriesError,
    UnreadableFileError,
    UnsupportedImageError,
    UsageError,
)
from pipelines.inferers import SliceClassInferer
from pipelines.prediction import Model, Result, running
from pipelines.prediction.running import runtime_network
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.tasks.dermoscopy.phantoms import phantom_isic2016
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.prepare import phantom_covid_ct

CT, SKIN, XRAY = "covid_ct_lesion_segmentation", "skin_lesion_segmentation", "chest_xray_pneumonia_classification"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_bundle(CT, network="tiny_unet", fast=True)


@pytest.fixture(scope="module")
def volume() -> nib.Nifti1Image:
    phantom = make_lung_phantom(3, size=96, slices=9)
    affine = phantom.affine.astype(np.float32).astype(float)  # as a file holds it
    return nib.Nifti1Image(phantom.array.astype(np.int16)[:, :89], affine)


def xray_phantom() -> Image.Image:
    return Image.fromarray(make_chest_xray_phantom(1, 128, False).picture)


def predicted(bundle: str, source: Path, out: Path, *words: str) -> dict[str, Path]:
    assert main(["predict", bundle, str(source), "--out", str(out), *words]) == 0
    (line,) = [json.loads(each) for each in (out / "manifest.jsonl").read_text().splitlines()]
    return {kind: Path(line[kind]) for kind in ("mask", "report") if line[kind]}


def the_same(result: Result, files: dict[str, Path]) -> None:
    """Mask, grid and report of a call are those of the files; only the input is called otherwise."""
    on_disk = json.loads(files["report"].read_text())
    assert {**json.loads(json.dumps(result.report)), "input": 0} == {**on_disk, "input": 0}
    if "mask" in files and files["mask"].suffix == ".png":
        assert np.array_equal(result.mask, np.asarray(Image.open(files["mask"])))
    elif "mask" in files:
        mask = nib.load(files["mask"])
        assert np.array_equal(result.mask, np.asarray(mask.dataobj))
        assert np.allclose(result.mask_image.affine, mask.affine, atol=1e-4)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAL"])
def test_a_nifti_image_gives_what_predict_gives_of_its_file(model, tmp_path, volume, axes):
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(volume.affine), nib.orientations.axcodes2ornt(axes)
    )
    image = volume.as_reoriented(turn)
    nib.save(image, tmp_path / "scan.nii.gz")
    files = predicted(CT, tmp_path / "scan.nii.gz", tmp_path / "out", "--network", "tiny_unet", "--fast")
    result = model(image)
    the_same(result, files)
    assert result.mask.any(), "or any two answers would agree"
    the_same(model(str(tmp_path / "scan.nii.gz")), files)
    the_same(model(np.asarray(image.dataobj), affine=image.affine, spacing=image.header.get_zooms()), files)
    saved = model(nib.load(tmp_path / "scan.nii.gz"), name="again").save(tmp_path / "saved")
    assert np.array_equal(np.asarray(nib.load(saved["mask"]).dataobj), result.mask)
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "again_mask.nii.gz", "again_overlay.png", "again_report.json",
    }  # fmt: skip


def test_the_mask_of_an_itk_image_is_one_on_its_grid(model, tmp_path, volume):
    nib.save(volume, tmp_path / "scan.nii.gz")
    image = itk.imread(str(tmp_path / "scan.nii.gz"))
    result = model(image)
    expected = model(volume)
    assert np.array_equal(result.mask, expected.mask)
    assert np.allclose(result.report["spacing_mm"], expected.report["spacing_mm"])
    itk.imwrite(result.mask_image, str(tmp_path / "mask.nii.gz"))
    back = nib.load(tmp_path / "mask.nii.gz")
    assert np.allclose(back.affine, volume.affine, atol=1e-4)
    assert np.array_equal(np.asarray(back.dataobj), expected.mask)


def test_the_mask_of_a_simpleitk_image_is_one_on_its_grid(model, volume, tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK, of the extra `test`, is not installed")
    nib.save(volume, tmp_path / "scan.nii.gz")
    result = model(sitk.ReadImage(str(tmp_path / "scan.nii.gz")))
    assert np.array_equal(result.mask, model(volume).mask)
    assert np.array_equal(sitk.GetArrayFromImage(result.mask_image).transpose(2, 1, 0), result.mask)


def test_a_dicom_series_in_memory(model, tmp_path):
    phantom_covid_ct(tmp_path / "raw", cases=1, size=64, slices=8, raw=True, file_format="dicom")
    folder = next(path.parent for path in (tmp_path / "raw").rglob("*.dcm"))
    files = predicted(CT, folder, tmp_path / "out", "--network", "tiny_unet", "--fast")
    series = [pydicom.dcmread(path) for path in folder.iterdir()]
    the_same(model(series), files)
    with pytest.raises(SeriesError, match=r"in memory"):
        model([*series[:3], *series[4:]])
    for each in series:
        del each.PixelData
    with pytest.raises((UnreadableFileError, SeriesError), match="in memory"):
        model(series)


def test_pictures_in_memory(model, tmp_path):
    phantom = make_lung_phantom(3, size=96, slices=8)
    grey = (scale_ct(phantom.array[:, :, 4], "hu") * 255).astype(np.uint8).T[:77, :91]
    Image.fromarray(grey).save(tmp_path / "slice.png")
    files = predicted(CT, tmp_path / "slice.png", tmp_path / "out", "--network", "tiny_unet", "--fast")
    for given in (Image.open(tmp_path / "slice.png"), grey, Image.fromarray(grey), grey.astype(np.int64)):
        result = model(given)
        the_same(result, files)
        assert result.mask.shape == (77, 91)
        assert result.overlay().size == Image.open(tmp_path / "out" / "slice_overlay.png").size
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(grey)).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = model(Image.open(tmp_path / "turned.jpg"))
    assert turned.mask.shape == (77, 91)
    assert np.array_equal(turned.mask, model(tmp_path / "turned.jpg").mask)


def test_skin_and_xray_pictures_in_memory(tmp_path):
    phantom_isic2016(tmp_path / "skin", cases=2, size=96, raw=True)
    picture = next((tmp_path / "skin").rglob("*.jpg"))
    the_same(load_bundle(SKIN)(Image.open(picture)), predicted(SKIN, picture, tmp_path / "skin_out"))
    xray_phantom().save(tmp_path / "xray.png")
    xray = load_bundle(XRAY)
    result = xray(Image.open(tmp_path / "xray.png"))
    the_same(result, predicted(XRAY, tmp_path / "xray.png", tmp_path / "xray_out"))
    assert (result.mask, result.mask_image) == (None, None)
    drawn = np.asarray(Image.open(tmp_path / "xray_out" / "xray_overlay.png"))
    assert np.array_equal(np.asarray(result.overlay()), drawn)
    with pytest.raises(UsageError, match="no grid"):
        xray(np.zeros((64, 64), np.uint8), spacing=(1, 1))


def test_a_list_is_an_iterator_that_goes_on_behind_a_bad_image(model, volume):
    results = model([volume, np.zeros((64, 64), np.uint8), volume])
    assert next(results).name == "image_000"
    with pytest.raises(Exception, match=r"every|one value|constant"):
        next(results)
    last = next(results)
    assert (last.name, last.mask.any()) == ("image_002", True)
    assert list(results) == []


@pytest.mark.parametrize(
    ("image", "grid", "error", "words"),
    [
        (np.zeros((64, 64, 20), np.int16), {}, GeometryError, "give affine="),
        (np.zeros((64, 64, 20), np.int16), {"affine": np.eye(3)}, GeometryError, "4x4"),
        (
            np.random.default_rng(0).normal(size=(64, 64, 20)),
            {"affine": np.diag([1, 1, 2, 1]), "spacing": (1, 1, 1)},
            GeometryError,
            "decide which is right",
        ),
        (np.zeros((64, 64, 20, 2)), {"affine": np.diag([1, 1, 2, 1])}, UnsupportedImageError, "one volume"),
        (np.full((64, 64, 20), np.nan), {"affine": np.diag([1.0, 1, 2, 1])}, Exception, r"NaN|finite|number"),
        (np.zeros((64, 64), complex), {}, UnsupportedImageError, "no picture"),
        (np.zeros((64, 64, 2), np.uint8), {}, GeometryError, "affine"),
        (object(), {}, UsageError, "is no image"),
        (None, {}, UsageError, "is no image"),
        (np.zeros((64, 64, 20), np.int16), {"affine": "x"}, GeometryError, "no number"),
        (np.zeros((0, 5), np.uint8), {}, UnsupportedImageError, "no pixels"),
        (Image.new("HSV", (64, 64)), {}, UnsupportedImageError, "HSV"),
        (Image.new("L", (64, 64)), {"name": "../../x"}, UsageError, "cannot be the name"),
        (Image.new("L", (64, 64)), {"name": "/tmp/x"}, UsageError, "cannot be the name"),
        ("there/is/none.nii", {}, UnreadableFileError, "none.nii"),
        (nib.Nifti1Image(np.zeros((64, 64, 20), np.int16), None), {}, GeometryError, "sform"),
        (nib.Nifti1Image(np.zeros((64, 64, 9, 3), np.int16), np.diag([1, 1, 2, 1])), {}, UnsupportedImageError, "3"),
    ],
)  # fmt: skip
def test_faults_are_typed_and_say_what_to_do(model, image, grid, error, words):
    with pytest.raises(error, match=words):
        model(image, **grid)


def test_a_bad_image_leaves_the_next_one_alone(model, volume):
    before = model(volume).mask
    for bad in (np.zeros((64, 64), np.uint8), object()):
        with pytest.raises(Exception, match="memory"):
            model(bad)
    assert np.array_equal(model(volume).mask, before)


def test_a_picture_whose_file_went_before_it_was_read(model, tmp_path):
    xray_phantom().save(tmp_path / "a.png")
    late = Image.open(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UnreadableFileError, match="open the picture again"):
        model(late)


def test_a_result_goes_to_another_process_with_all_it_can_write(model, volume, tmp_path):
    result = load_bundle(CT, network="tiny_unet", fast=True, overlays=["severity"])(volume, name="a/b")
    back = pickle.loads(pickle.dumps(result))
    assert np.array_equal(back.mask, result.mask)
    assert np.array_equal(np.asarray(back.overlay()), np.asarray(result.overlay()))
    here, there = result.save(tmp_path / "here"), back.save(tmp_path / "there")
    assert {kind: path.name for kind, path in here.items()} == {kind: path.name for kind, path in there.items()}
    assert here["severity"].read_bytes() == there["severity"].read_bytes()


def test_nothing_of_the_caller_is_set(volume):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the caller's own, old or new
    random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    benchmark = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    level = logging.getLogger("monai.bundle.workflows").level
    given = np.asarray(volume.dataobj).copy()
    load_bundle(CT, network="tiny_unet", fast=True)(given, affine=volume.affine)
    assert np.array_equal(given, np.asarray(volume.dataobj)), "the caller's array stays as it is"
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == benchmark
    assert torch.is_grad_enabled()
    assert logging.getLogger("monai.bundle.workflows").level == level
    assert torch.equal(torch.get_rng_state(), states[0])


def test_two_bundles_in_two_threads(model, volume):
    picture = xray_phantom()
    xray = load_bundle(XRAY)
    alone = model(volume).mask, xray(picture).report
    found: list[tuple[str, object]] = []

    def of(name: str, call, image) -> None:
        for _ in range(4):
            found.append((name, call(image)))

    threads = [
        threading.Thread(target=of, args=words)
        for words in (("ct", model, volume), ("ct", model, volume), ("xray", xray, picture))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    for name, result in found:
        assert np.array_equal(result.mask, alone[0]) if name == "ct" else result.report == alone[1]


def test_fifty_calls_do_not_grow_memory(model, volume):
    def resident() -> int:
        gc.collect()
        return psutil.Process().memory_info().rss

    for _ in range(10):
        model(volume)
    before = resident()
    for _ in range(50):
        model(volume).overlay()
    assert resident() - before < 30 * 2**20


def test_options_are_the_bundles_own(tmp_path, volume):
    with pytest.raises(ConfigError, match="flipz"):
        load_bundle(CT, network="tiny_unet", flipz=True)
    with pytest.raises(UsageError, match="choose from"):
        load_bundle(CT, network="none")
    with pytest.raises(UsageError, match="bundle"):
        load_bundle("no_such_bundle")
    with pytest.raises(UsageError, match="device"):
        load_bundle(CT, network="tiny_unet", device="no_such_device")
    rated = load_bundle(CT, network="tiny_unet", fast=True, overlays=["severity"])(volume)
    assert rated.report["severity"]["class"] in ("normal", "mild", "severe", None)
    files = rated.save(tmp_path)
    assert {"mask", "overlay", "report", "severity", "page"} == set(files)
    assert not (Path.cwd() / "eval").exists()


def test_a_runtime_is_chosen_once_and_not_with_each_case(monkeypatch):
    """To choose is a pass of the network through the whole inferer."""
    called = load_bundle(XRAY, runtime="auto")
    called.cases = 100
    chosen: list[object] = []
    choose = running._choose

    def counted(*given):
        chosen.append(given)
        choose(*given)

    monkeypatch.setattr(running, "_choose", counted)
    for _ in range(3):
        called(xray_phantom())
    assert len(chosen) == 1


def test_after_a_failure_drawing_takes_turns_with_the_network_that_is_there(monkeypatch):
    called = load_bundle(XRAY)
    before = runtime_network(called.workflow).lock
    with monkeypatch.context() as patched:
        patched.setattr(SliceClassInferer, "__call__", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            called(xray_phantom())
    result = called(xray_phantom())
    now = runtime_network(called.workflow).lock
    assert now is not before
    drawing = threading.Thread(target=result.overlay)
    with now:
        drawing.start()
        drawing.join(1)
        assert drawing.is_alive(), "it is drawn while the network is another's"
    drawing.join(30)
    assert not drawing.is_alive()
