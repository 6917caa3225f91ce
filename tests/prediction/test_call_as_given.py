"""What is given to a bundle's call is taken as it is now, and held to what a file is held to."""

from __future__ import annotations

import itk
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipelines import load_bundle
from pipelines.errors import GeometryError, IntensityError, UnsupportedImageError
from pipelines.prediction import Model
from pipelines.tasks.dermoscopy.phantom import make_dermoscopy_phantom
from pipelines.tasks.lung_ct.phantom import make_lung_phantom

CT, SKIN = "covid_ct_lesion_segmentation", "skin_lesion_segmentation"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_bundle(CT, network="tiny_unet", fast=True)


@pytest.fixture(scope="module")
def volume() -> nib.Nifti1Image:
    phantom = make_lung_phantom(3, size=96, slices=9)
    affine = phantom.affine.astype(np.float32).astype(float)  # as a file holds it
    return nib.Nifti1Image(phantom.array.astype(np.int16)[:, :89], affine)


def test_an_affine_that_was_changed_in_place_counts(model, volume, tmp_path):
    changed = nib.Nifti1Image(np.asarray(volume.dataobj), volume.affine.copy())
    changed.affine[:3, :3] *= 0.5
    result = model(changed)
    nib.save(changed, tmp_path / "a.nii.gz")
    assert result.report["lung_ml"] == pytest.approx(model(tmp_path / "a.nii.gz").report["lung_ml"])
    assert np.allclose(result.mask_image.affine, changed.affine)
    changed.header["dim"][1:4] = (89, 96, 9)
    assert model(changed).mask.shape == (96, 89, 9)


def test_an_itk_image_that_was_cut_out_of_another_lies_where_it_lay(model, volume, tmp_path):
    nib.save(volume, tmp_path / "scan.nii.gz")
    whole = itk.imread(str(tmp_path / "scan.nii.gz"))
    region = itk.ImageRegion[3]()
    region.SetIndex([4, 2, 1])
    region.SetSize([88, 84, 7])
    cut = itk.ExtractImageFilter.New(whole, ExtractionRegion=region)
    cut.Update()
    result = model(cut.GetOutput())
    itk.imwrite(cut.GetOutput(), str(tmp_path / "cut.nii.gz"))
    itk.imwrite(result.mask_image, str(tmp_path / "mask.nii.gz"))
    due, back = nib.load(tmp_path / "cut.nii.gz"), nib.load(tmp_path / "mask.nii.gz")
    assert np.allclose(back.affine, due.affine, atol=1e-3)
    assert np.array_equal(np.asarray(back.dataobj), model(tmp_path / "cut.nii.gz").mask)


def test_a_turned_tiff_is_turned_once(tmp_path):
    picture = Image.fromarray(make_dermoscopy_phantom(1, 96, 72).picture)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.tif", exif=exif)
    skin = load_bundle(SKIN)
    on_disk = skin(tmp_path / "a.tif").mask
    assert np.array_equal(skin(Image.open(tmp_path / "a.tif")).mask, on_disk)
    seen = Image.open(tmp_path / "a.tif")
    seen.load()
    assert np.array_equal(skin(seen).mask, on_disk)


def test_pages_and_deep_colours_are_judged_as_their_file_is(tmp_path, model):
    page = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    page.save(tmp_path / "two.tif", save_all=True, append_images=[page])
    with pytest.raises(UnsupportedImageError, match="several pages"):
        model(Image.open(tmp_path / "two.tif"))
    deep = np.random.default_rng(0).integers(0, 4096, (64, 64, 3), dtype=np.uint16)
    itk.imwrite(itk.image_view_from_array(deep, is_vector=True), str(tmp_path / "deep.png"))
    with pytest.raises(IntensityError, match="16-bit colours"):
        load_bundle(SKIN)(Image.open(tmp_path / "deep.png"))


def test_what_cannot_be_is_said(model):
    with pytest.raises(UnsupportedImageError, match="one volume"):
        model(np.zeros((64, 64, 0)), affine=np.diag([1.0, 1, 2, 1]))
    with pytest.raises(GeometryError, match="spacing"):
        model(np.random.default_rng(0).normal(size=(64, 64, 9)), affine=np.diag([1.0, 1, 2, 1]), spacing=(3, 3))


def test_a_save_that_fails_leaves_earlier_files(model, volume, tmp_path):
    result = model(volume, name="a")
    paths = result.save(tmp_path)
    paths["mask"].unlink()
    paths["mask"].mkdir()
    with pytest.raises(Exception, match="cannot be written"):
        result.save(tmp_path)
    assert paths["report"].is_file()
    assert paths["overlay"].is_file()


def test_the_how_to_works(project, tmp_path, volume, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("scan", "a", "c"):
        nib.save(volume, tmp_path / f"{name}.nii.gz")
    text = (project / "docs" / "how-to" / "call-a-bundle-from-python.md").read_text()
    first, many = (block.split("```")[0] for block in text.split("```python\n")[1:])
    known: dict[str, object] = {}
    exec(first.replace('segmentation")', 'segmentation", network="tiny_unet", fast=True)'), known)
    exec(many, known)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("(96, 89, 9)")
    assert len(said) == 4
    assert "b.nii.gz: there is no such file" in said[2]
    assert said[1] == said[3]
    assert {path.name for path in tmp_path.iterdir()} == {"scan.nii.gz", "a.nii.gz", "c.nii.gz"}
