"""MONAI's ``LoadImaged`` over the strict reader: what ``LoadVolumed`` and its like give, and their refusals."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, list_data_collate
from monai.transforms import Compose, Invertd, LoadImage, LoadImaged, Orientationd, Spacingd
from PIL import Image

from pipelines.errors import (
    GeometryError,
    LabelError,
    SeriesError,
    UnreadableFileError,
    UnsupportedImageError,
    UsageError,
)
from pipelines.readers import read_label, read_volume
from pipelines.transforms import LoadCTd, LoadPictured, LoadVolumed, LoadXrayd, StrictReader

READER = "pipelines.transforms.StrictReader"
AFFINE = np.array([[0.0, -1.5, 0, 30], [0, 0, 2.0, -10], [-3.0, 0, 0, 5], [0, 0, 0, 1]])  # axes I, L, A


def mr(shape: tuple[int, ...] = (24, 20, 18)) -> np.ndarray:
    return np.random.default_rng(0).gamma(2.0, 150.0, shape).astype(np.float32)


def load(path: Any, **more: Any) -> Any:
    return LoadImaged("image", reader=READER, ensure_channel_first=True, **more)({"image": path})["image"]


@pytest.fixture
def series(dicom: Path) -> Path:
    """The folder of one phantom's slices."""
    return sorted(path.parent for path in dicom.rglob("*.dcm"))[0]


@pytest.fixture
def files(tmp_path: Path, series: Path) -> dict[str, str]:
    """One volume a format."""
    itk = pytest.importorskip("itk")
    paths = {"nifti": tmp_path / "a.nii.gz", "nrrd": tmp_path / "a.nrrd", "metaimage": tmp_path / "a.mha"}
    nib.save(nib.Nifti1Image(mr(), AFFINE), paths["nifti"])
    image = itk.image_from_array(np.ascontiguousarray(mr().transpose(2, 1, 0)))
    image.SetSpacing([1.5, 1.5, 4.0])
    for kind in ("nrrd", "metaimage"):
        itk.imwrite(image, str(paths[kind]))
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", series)
    slice_ = sorted(series.iterdir())[0]
    return {kind: str(path) for kind, path in paths.items()} | {
        "folder": str(series), "archive": packed, "one slice": str(slice_)
    }  # fmt: skip


def same(theirs: torch.Tensor, ours: torch.Tensor) -> None:
    assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype)
    np.testing.assert_array_equal(theirs.numpy(), ours.numpy())
    np.testing.assert_allclose(theirs.affine.numpy(), ours.affine.numpy())  # type: ignore[attr-defined]
    assert theirs.affine.dtype == torch.float64  # type: ignore[attr-defined]
    for key in ours.meta.keys() - {"affine", "original_affine", "spatial_shape", "original_channel_dim"}:  # type: ignore[attr-defined]
        assert theirs.meta[key] == ours.meta[key], key  # type: ignore[attr-defined]
    np.testing.assert_allclose(theirs.meta["original_affine"], ours.meta["original_affine"])  # type: ignore[attr-defined]
    assert tuple(theirs.meta["spatial_shape"]) == tuple(ours.meta["spatial_shape"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["nifti", "nrrd", "metaimage", "folder", "archive", "one slice"])
def test_it_gives_what_our_transform_gives(files: dict[str, str], kind: str) -> None:
    same(load(files[kind]), LoadVolumed("image")({"image": files[kind]})["image"])
    plain = LoadImage(reader=READER)(files[kind])
    assert plain.ndim == 3  # as MONAI's readers: one channel is none


def test_the_other_kinds(tmp_path: Path, series: Path) -> None:
    same(load(series, kind="ct"), LoadCTd("image")({"image": str(series)})["image"])
    colour = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(colour).save(tmp_path / "a.png")
    same(load(tmp_path / "a.png", kind="picture"), LoadPictured("image")({"image": str(tmp_path / "a.png")})["image"])
    grey = (np.add.outer(np.arange(128), np.arange(100)) % 251).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    same(load(tmp_path / "grey.png", kind="xray"), LoadXrayd("image")({"image": str(tmp_path / "grey.png")})["image"])
    values = np.zeros((24, 20, 18), np.uint8)
    values[5:9, 3:8, 2:7] = 3
    nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / "label.nii.gz")
    label = load(tmp_path / "label.nii.gz", kind="label", dtype=np.uint8)
    assert label.dtype == torch.uint8
    np.testing.assert_array_equal(label[0].numpy(), read_label(tmp_path / "label.nii.gz"))
    np.testing.assert_allclose(label.affine.numpy(), AFFINE)


def test_an_object_in_a_config_and_a_path(files: dict[str, str], tmp_path: Path) -> None:
    """Both ways in which a config names it, and what stands behind it: turned, resampled, turned back, saved."""
    for reader in ({"_target_": READER, "kind": "volume"}, READER):
        parser = ConfigParser({"load": {"_target_": "LoadImaged", "keys": "image", "reader": reader}})
        image = parser.get_parsed_content("load")({"image": files["nifti"]})["image"]
        np.testing.assert_array_equal(image.numpy(), mr())
    steps = Compose(
        [
            LoadImaged("image", reader=READER, ensure_channel_first=True),
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", (1.0, 1.0, 1.5)),
        ]
    )
    changed = steps({"image": files["nifti"]})
    assert changed["image"].shape != (1, *mr().shape)
    back = Invertd("image", steps, orig_keys="image")(changed)["image"]
    assert back.shape == (1, *mr().shape)
    np.testing.assert_allclose(back.affine.numpy(), AFFINE, atol=1e-6)


def test_several_files_are_channels_of_one_image(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 0.0), ("c", 4.0)):
        affine = AFFINE.copy()
        affine[0, 3] += shift
        nib.save(nib.Nifti1Image(mr() + len(name), affine), tmp_path / f"{name}.nii")
    both = load([tmp_path / "a.nii", tmp_path / "b.nii"])
    assert both.shape == (2, 24, 20, 18)
    np.testing.assert_allclose(both.affine.numpy(), AFFINE)
    with pytest.raises(GeometryError, match=r"c\.nii: lies on another grid than .*a\.nii"):
        load([tmp_path / "a.nii", tmp_path / "c.nii"])


def test_a_refusal_comes_out_of_load_image_and_no_other_reader_gets_the_file(series: Path, tmp_path: Path) -> None:
    """A missing slice: MONAI would go on to its own readers, and these would give a volume."""
    by_place = sorted(series.iterdir())
    by_place[3].unlink()
    assert LoadImage(image_only=True)(str(series)).ndim == 3  # what MONAI says by itself
    for reader in (READER, StrictReader(), StrictReader):
        with pytest.raises(SeriesError, match="a slice is missing between"):
            LoadImage(reader=reader)(str(series))
    with pytest.raises(RuntimeError) as raised:
        Compose([LoadImaged("image", reader=READER)])({"image": str(series)})
    assert isinstance(raised.value.__cause__, SeriesError)
    for kind, path, fault in (
        ("volume", tmp_path / "nothing.nii.gz", UnreadableFileError),
        ("label", series, UnsupportedImageError),
        ("ct", f"{series}::1.2.3", SeriesError),
    ):
        with pytest.raises(fault):
            LoadImage(reader=StrictReader(kind))(str(path))


def test_what_nobody_expects_is_no_reason_to_try_another_reader(files: dict[str, str], monkeypatch: Any) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(LoadVolumed, "read", fails)
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        LoadImage(reader=READER)(files["nifti"])


def test_labels_that_are_none(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(mr() + 0.3, AFFINE), tmp_path / "a.nii")
    with pytest.raises(LabelError, match="fractions"):
        LoadImage(reader=READER, kind="label")(tmp_path / "a.nii")


def test_what_it_is_not_asked_for(files: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="there is no kind 'hu'; choose one of volume, ct, picture, xray, label"):
        StrictReader("hu")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="StrictReader has no swap_ij"):  # MONAI would drop `kind` too, with a warning
        LoadImage(reader=READER, kind="ct", swap_ij=True)
    reader = StrictReader()
    assert all(reader.verify_suffix(path) for path in files.values())
    assert reader.verify_suffix([f"{files['folder']}::1.2", f"{files['archive']}::a/b"])
    assert not reader.verify_suffix("a.npy")
    assert not reader.verify_suffix([files["nifti"], "notes.txt"])
    assert not reader.verify_suffix("nowhere::at all")


def test_it_goes_to_workers_and_its_faults_come_back(files: dict[str, str]) -> None:
    assert pickle.loads(pickle.dumps(StrictReader("ct"))).kind == "ct"
    data = Dataset([{"image": files["nifti"]}] * 2, LoadImaged("image", reader=READER, ensure_channel_first=True))
    (batch,) = DataLoader(data, batch_size=2, num_workers=1, collate_fn=list_data_collate)
    assert batch["image"].shape == (2, 1, *mr().shape)
    broken = Dataset([{"image": "nothing.nii"}], LoadImaged("image", reader=READER))
    with pytest.raises(RuntimeError, match=r"(?s)UnreadableFileError: nothing\.nii: there is no such file.*LoadImaged"):
        next(iter(DataLoader(broken, num_workers=1)))


def test_registered_beside_monais_readers_it_is_chosen_first(series: Path) -> None:
    sorted(series.iterdir())[3].unlink()
    loader = LoadImage()
    loader.register(StrictReader())
    with pytest.raises(SeriesError, match="a slice is missing"):
        loader(str(series))


def blocks(project: Path, language: str) -> list[str]:
    text = (project / "docs" / "how-to" / "use-the-strict-reader.md").read_text(encoding="utf-8")
    return [part.split("```")[0] for part in text.split(f"```{language}\n")[1:]]


def test_the_config_of_the_how_to_loads_and_saves(project: Path, series: Path, tmp_path: Path) -> None:
    (config,) = (yaml.safe_load(block) for block in blocks(project, "yaml"))
    parser = ConfigParser(config | {"input": str(series), "output_dir": str(tmp_path / "out")})
    parser.get_parsed_content("run")
    (saved,) = (tmp_path / "out").iterdir()
    assert saved.name == f"{series.name}_2mm.nii.gz"
    steps = [LoadVolumed("image"), Orientationd("image", "RAS", labels=None), Spacingd("image", (2.0, 2.0, 2.0))]
    ours = Compose(steps)({"image": str(series)})["image"]
    written = read_volume(saved)
    np.testing.assert_allclose(written.array, ours[0].numpy(), atol=1e-3)
    np.testing.assert_allclose(written.affine, ours.affine.numpy(), atol=1e-4)
    command = blocks(project, "bash")[0]
    assert "--config_file resample.yaml --input SERIES" in command


def test_the_python_of_the_how_to(project: Path, series: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (code,) = blocks(project, "python")
    shutil.copytree(series, tmp_path / "elsewhere" / "series")
    monkeypatch.chdir(tmp_path / "elsewhere")
    exec(code, {})
    assert capsys.readouterr().out.startswith("torch.Size([1, 64, 64, 8])")
    sorted((tmp_path / "elsewhere" / "series").iterdir())[3].unlink()
    exec(code, {})
    assert capsys.readouterr().out.startswith("series: a slice is missing between")
