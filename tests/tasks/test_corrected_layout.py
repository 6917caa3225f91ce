"""Look, correct, train: masks that were corrected in the page become labels, on the grid of their images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipelines.errors import PipelinesError
from pipelines.prediction import predict
from pipelines.preparation.datalist import load_datalist
from pipelines.tasks.dermoscopy.phantoms import phantom_isic2016
from pipelines.tasks.dermoscopy.prepare import prepare_skin_lesions
from pipelines.tasks.lung_ct.prepare import phantom_covid_ct, prepare_covid_ct
from pipelines.viewer import make_app, read_folder

HOST = "127.0.0.1:8123"


def correct(folder: Path, cache: Path, change) -> dict[str, np.ndarray]:
    """Load each mask of a folder as the page does, change it, save it; returns what was saved, in the page's order."""
    cache.mkdir()
    app = make_app([read_folder(folder)], "token", [HOST], cache)
    saved = {}
    with TestClient(app, base_url=f"http://{HOST}/token/") as page:
        for each in page.get("cases").json()["cases"]:
            shape = page.get(f"cases/{each['number']}/image.json").json()["shape"]
            sent = page.get(f"cases/{each['number']}/masks/0-mask").content
            mask = change(np.frombuffer(sent, np.uint8).reshape(shape, order="F").copy())
            headers = {"content-type": "application/octet-stream", "origin": f"http://{HOST}"}
            answer = page.post(
                f"cases/{each['number']}/masks/corrected", content=mask.tobytes(order="F"), headers=headers
            )
            assert answer.status_code == 200, answer.text
            saved[each["name"]] = mask
    return saved


@pytest.fixture
def ct(tmp_path: Path) -> tuple[Path, Path]:
    """Phantoms' volumes with their true masks as what predict wrote: (folder, its volumes)."""
    phantom_covid_ct(tmp_path / "raw", cases=4, size=64, slices=12, raw=True)
    images, out = tmp_path / "raw" / "ct_scans", tmp_path / "out"
    out.mkdir()
    lines = []
    for path in sorted(images.glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        truth = nib.load(tmp_path / "raw" / "lung_and_infection_mask" / path.name)
        label = np.choose(np.asarray(truth.dataobj).astype(int), [0, 1, 1, 2]).astype(np.uint8)
        nib.save(nib.Nifti1Image(label, truth.affine), out / f"{name}_mask.nii.gz")
        labels = {"0": "background", "1": "lung", "2": "lesion"}
        (out / f"{name}_report.json").write_text(json.dumps({"kind": "volume", "labels": labels}))
        paths = {"mask": str(out / f"{name}_mask.nii.gz"), "report": str(out / f"{name}_report.json")}
        lines.append(json.dumps({"input": str(path), "status": "done", "error": None, **paths}))
    (out / "manifest.jsonl").write_text("\n".join(lines))
    return out, images


def test_corrected_volumes_become_labels(ct: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = ct

    def change(mask: np.ndarray) -> np.ndarray:
        inside = np.argwhere(mask == 1)
        mask[tuple(inside[len(inside) // 2])] = 2
        return mask

    saved = correct(folder, tmp_path / "cache", change)
    (folder / "corrected" / "phantom_003_mask.nii.gz").unlink()
    prepared = prepare_covid_ct(folder, tmp_path / "data", validation=0.34, test=0.34)
    content = load_datalist(prepared.folder)
    cases = {each["case"]: each for section in ("training", "validation", "test") for each in content[section]}
    assert set(cases) == {"phantom_000", "phantom_001", "phantom_002"}, "what nobody corrected is no label"
    for name, each in cases.items():
        label = np.asarray(nib.as_closest_canonical(nib.load(each["label"])).dataobj)
        assert np.array_equal(label, saved[name])
        assert each["lung"] == "reference"
    assert "Cases without a corrected mask were left out: 1." in (prepared.folder / "report.md").read_text()


def test_an_image_that_is_gone_is_named(ct: tuple[Path, Path], tmp_path: Path) -> None:
    folder, images = ct
    correct(folder, tmp_path / "cache", lambda mask: mask)
    shutil.rmtree(images.parent)
    with pytest.raises(PipelinesError, match="the image of a corrected mask is gone"):
        prepare_covid_ct(folder, tmp_path / "data")


def test_predictions_that_nobody_corrected_are_no_layout(ct: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(PipelinesError, match="none of the layouts"):
        prepare_covid_ct(ct[0], tmp_path / "data")


@pytest.mark.slow
def test_predict_correct_prepare(project: Path, tmp_path: Path) -> None:
    """The whole loop, with the shipped networks, on a volume of each kind and on pictures."""
    phantom_covid_ct(tmp_path / "ct", cases=3, size=96, slices=12, raw=True)
    bundle = project / "bundles" / "covid_ct_lesion_segmentation"
    predict(bundle, tmp_path / "ct" / "ct_scans", tmp_path / "ct_out", network="tiny_unet", flips=False)

    def lesion_in_lung(mask: np.ndarray) -> np.ndarray:
        mask[mask == 2] = 1
        lung = np.argwhere(mask == 1)
        mask[tuple(lung[len(lung) // 2])] = 2
        return mask

    saved = correct(tmp_path / "ct_out", tmp_path / "cache_ct", lesion_in_lung)
    data = prepare_covid_ct(tmp_path / "ct_out", tmp_path / "ct_data", validation=0.34, test=0.34).folder
    assert sum((np.asarray(nib.load(path).dataobj) == 2).sum() for path in (data / "labels").iterdir()) == len(saved)

    phantom_isic2016(tmp_path / "skin", cases=3, size=96, raw=True)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in (tmp_path / "skin").glob("*_Data/*.jpg"):
        shutil.copy(path, pictures)
    predict(project / "bundles" / "skin_lesion_segmentation", pictures, tmp_path / "skin_out", scales=[1.0])

    def square(mask: np.ndarray) -> np.ndarray:
        mask[:] = 0
        mask[10:20, 30:50] = 1
        return mask

    correct(tmp_path / "skin_out", tmp_path / "cache_skin", square)
    data = prepare_skin_lesions(
        "skin_lesions", tmp_path / "skin_out", tmp_path / "skin_data", validation=0.34, test=0.34
    ).folder
    labels = sorted((data / "labels").iterdir())
    assert len(labels) == 3
    for path in labels:
        with Image.open(path) as label:
            found = np.asarray(label) > 0
        assert found[30:50, 10:20].all()
        assert found.sum() == 200
