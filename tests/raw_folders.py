"""Raw data to prepare: small phantoms as COVID-19-CT-Seg, pictures as COVID-SemiSeg, skin lesions, chest X-rays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.prepare import phantom_covid_ct

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


def draw_lesion(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Clouds of skin's colours with a dark ellipse, uint8 (48, 64, 3), and the ellipse, bool (48, 64)."""
    rng = np.random.default_rng(number)
    clouds = Image.fromarray(rng.integers(150, 256, (6, 8, 3), dtype=np.uint8)).resize((64, 48))
    rows, columns = np.mgrid[0:48, 0:64]
    row, column = rng.uniform(18, 30), rng.uniform(22, 42)
    mask = ((rows - row) / (5 + number % 7)) ** 2 + ((columns - column) / (8 + number % 5)) ** 2 < 1
    picture = np.asarray(clouds).copy()
    picture[mask] = picture[mask] // 3
    return picture, mask


@pytest.fixture(scope="session")
def skin_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("skin")
    (raw / "images").mkdir()
    (raw / "masks").mkdir()
    lines = ["image,diagnosis"]
    for i in range(12):
        picture, mask = draw_lesion(i)
        Image.fromarray(picture).save(raw / "images" / f"L{i:02d}.jpg", quality=95, subsampling=0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(raw / "masks" / f"L{i:02d}_lesion.png")
        lines.append(f"L{i:02d},{'Melanoma' if i % 4 == 0 else 'Common Nevus'}")
    (raw / "diagnosis.csv").write_text("\n".join(lines) + "\n")
    return raw


@pytest.fixture
def skin(skin_once: Path, tmp_path: Path) -> Path:
    """A copy of twelve skin lesions as images/, masks/ and diagnosis.csv: three melanomas, nine common nevi."""
    return Path(shutil.copytree(skin_once, tmp_path / "skin"))


@pytest.fixture
def isic(skin_once: Path, tmp_path: Path) -> Path:
    """The same in the layout of ISIC 2016: eight for training, four as the official test set."""
    raw = tmp_path / "isic"
    truth: dict[str, list[str]] = {"Training": [], "Test": []}
    for i in range(12):
        part = "Training" if i < 8 else "Test"
        images, masks = (raw / f"ISBI2016_ISIC_Part1_{part}_{kind}" for kind in ("Data", "GroundTruth"))
        images.mkdir(parents=True, exist_ok=True)
        masks.mkdir(exist_ok=True)
        shutil.copy(skin_once / "images" / f"L{i:02d}.jpg", images / f"ISIC_{i:07d}.jpg")
        shutil.copy(skin_once / "masks" / f"L{i:02d}_lesion.png", masks / f"ISIC_{i:07d}_Segmentation.png")
        words = ("benign", "malignant") if part == "Training" else ("0.0", "1.0")
        truth[part].append(f"ISIC_{i:07d},{words[i % 4 == 0]}")
    for part, lines in truth.items():
        (raw / f"ISBI2016_ISIC_Part3_{part}_GroundTruth.csv").write_text("\n".join(lines) + "\n")
    return raw


@pytest.fixture
def ph2(skin_once: Path, tmp_path: Path) -> Path:
    """The same in the layout of PH2, as BMP, inside PH2Dataset/."""
    root = tmp_path / "ph2" / "PH2Dataset"
    lines = [
        "||   Name  ||  Histological Diagnosis ||  Clinical Diagnosis || Asymmetry | Pigment Network ||  Colors ||"
    ]
    for i in range(12):
        name = f"IMD{i:03d}"
        for kind, source in ((f"{name}_Dermoscopic_Image/{name}", "images"), (f"{name}_lesion/{name}_lesion", "masks")):
            path = root / "PH2 Dataset images" / name / f"{kind}.bmp"
            path.parent.mkdir(parents=True)
            Image.open(next((skin_once / source).glob(f"L{i:02d}*"))).save(path)
        lines.append(f"|| {name} ||                         ||         {i % 3}          ||     0 |    T ||   4 ||")
    lines += ["", "Legend:", "Clinical Diagnosis: 0 - Common Nevus | 1 - Atypical Nevus | 2 - Melanoma"]
    (root / "PH2_dataset.txt").write_text("\n".join(lines) + "\n")
    return root.parent


def draw_clouds(number: int) -> np.ndarray:
    """Grey clouds, uint8 (40, 48); those of two numbers do not look alike."""
    coarse = np.random.default_rng(number).integers(0, 256, (8, 10), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC))


# Two bacterial and two viral pneumonias have a second picture; one patient has both kinds.
XRAYS = {
    "train/PNEUMONIA": [f"person{i}_{'virus' if i % 3 == 0 else 'bacteria'}_{i + 10}" for i in range(1, 9)]
    + ["person1_bacteria_31", "person2_bacteria_32", "person3_virus_33", "person6_virus_34", "person6_bacteria_35"],
    "train/NORMAL": [f"IM-{i:04d}-0001" for i in range(4)] + ["IM-0000-0001-0002", "NORMAL2-IM-0000-0001"],
    "val/PNEUMONIA": ["person9_bacteria_90"],
    "val/NORMAL": ["NORMAL2-IM-0009-0001"],
    "test/PNEUMONIA": ["person1_bacteria_1", "person2_virus_2", "person2_virus_3"],
    "test/NORMAL": ["IM-0050-0001", "NORMAL2-IM-0051-0001"],
}


@pytest.fixture(scope="session")
def xrays_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("xrays")
    for folder, names in XRAYS.items():
        (raw / folder).mkdir(parents=True)
        for name in names:
            number = [*XRAYS].index(folder) * 100 + names.index(name)
            Image.fromarray(draw_clouds(number)).save(raw / folder / f"{name}.jpeg", quality=95)
    return raw


@pytest.fixture
def xrays(xrays_once: Path, tmp_path: Path) -> Path:
    """A copy of 26 pictures with the folders and names of Kermany's set: 19 for training, 2 for validation, 5 to
    test."""
    return Path(shutil.copytree(xrays_once, tmp_path / "xrays"))


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
