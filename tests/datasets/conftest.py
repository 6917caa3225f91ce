"""Raw data to prepare: six small phantoms as COVID-19-CT-Seg, and pictures as COVID-SemiSeg."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipelines.datasets import phantom_covid_ct
from pipelines.datasets.lung_phantom import make_lung_phantom

SIZE, SLICES, CASES = 64, 8, 6


@pytest.fixture(scope="session")
def phantoms_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantoms") / "raw"
    phantom_covid_ct(out, cases=CASES, size=SIZE, slices=SLICES, file_format="both", raw=True)
    return out


@pytest.fixture
def ct_seg(phantoms_once: Path, tmp_path: Path) -> Path:
    """A copy of the phantoms in the layout of COVID-19-CT-Seg, to be spoilt."""
    return Path(shutil.copytree(phantoms_once / "nifti", tmp_path / "ct_seg"))


@pytest.fixture
def dicom(phantoms_once: Path, tmp_path: Path) -> Path:
    """A copy of the phantoms as DICOM series with NIfTI masks."""
    return Path(shutil.copytree(phantoms_once / "dicom", tmp_path / "dicom"))


@pytest.fixture(scope="session")
def pictures_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("pictures")
    for name in ("images", "masks"):
        (raw / name).mkdir()
    for i in range(6):
        phantom = make_lung_phantom(50 + i, 96, 8, 0.05 + 0.04 * i)
        k = int(np.argmax((phantom.label == 2).sum(axis=(0, 1))))
        grey = np.clip((phantom.array[:, :, k] + 1000) / 1400 * 255, 0, 255).astype(np.uint8)
        # wider than high, so that a turned mask or picture shows
        Image.fromarray(grey[:, 10:86].T.copy()).save(raw / "images" / f"{i}.png")
        Image.fromarray(((phantom.label[:, 10:86, k] == 2) * 255).astype(np.uint8).T.copy()).save(
            raw / "masks" / f"{i}.png"
        )
    return raw


@pytest.fixture
def pictures(pictures_once: Path, tmp_path: Path) -> Path:
    """A copy of six phantom slices as pictures with lesion masks."""
    return Path(shutil.copytree(pictures_once, tmp_path / "pictures"))


@pytest.fixture
def change() -> Callable[..., None]:
    """Rewrites a NIfTI file with its voxels put through a function, and its affine if one is given."""

    def rewrite(path: Path, function: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
        old = nib.Nifti1Image.from_filename(path)
        array = function(np.asarray(old.dataobj).copy())
        new = nib.Nifti1Image(array, old.affine if affine is None else affine)
        new.set_sform(new.affine, code=1)
        new.set_qform(new.affine, code=1)
        new.header.set_xyzt_units("mm")
        nib.save(new, path)

    return rewrite
