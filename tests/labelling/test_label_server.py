"""A real MONAI Label server with every bundle: masks and scores are those of ``predict``, and it learns from labels.

It runs where MONAI Label's environment is (``make label-env``, or ``PIPELINES_LABEL_PYTHON``).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import nibabel as nib
import numpy as np
import pytest
import requests
import SimpleITK
from nibabel import orientations
from PIL import Image

from pipelines import browser, load_bundle
from pipelines.__main__ import main
from pipelines.bundle import GENERATION, bundle_kind, bundles_in
from pipelines.errors import UsageError
from pipelines.labelling import label_python

pytestmark = pytest.mark.slow
BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
LABELLING = [name for name, folder in bundles_in(BUNDLES).items() if bundle_kind(folder) != GENERATION]
LESIONS, SKIN = "covid_ct_lesion_segmentation", "skin_lesion_segmentation"
SEVERITY, XRAY = "covid_ct_severity_classification", "chest_xray_pneumonia_classification"
FAST = {"fast": True}


@dataclass(frozen=True)
class Served:
    address: str
    studies: Path
    labels: Path
    app: Path
    store: str

    def infer(self, model: str, image: str, output: str = "image", **params: Any) -> requests.Response:
        address = f"{self.address}infer/{model}?image={image}&output={output}"
        return requests.post(address, files={"params": (None, json.dumps(params))}, timeout=300)

    def submit(self, image: str, label: Path, segments: list[str]) -> None:
        info = {"label_info": [{"name": name, "idx": number} for number, name in enumerate(segments, start=1)]}
        with label.open("rb") as file:
            files = {"label": (label.name, file), "params": (None, json.dumps(info))}
            requests.put(f"{self.address}datastore/label?image={image}", files=files, timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> Iterator[Served]:
    try:
        label_python()
    except UsageError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("label")
    studies, labels = folder / "studies", folder / "drawn"
    studies.mkdir()
    labels.mkdir()
    small = ("--size", "96")
    for dataset, cases, more in (("covid_ct", "4", ("--slices", "7")), ("isic2016", "4", ()), ("chest_xray", "6", ())):
        assert main(["data", "phantom", dataset, "--out", str(folder / dataset), "--cases", cases, *small, *more]) == 0
        for kind, target in (("images", studies), ("labels", labels)):
            for number, path in enumerate(sorted((folder / dataset / kind).glob("*"))):
                shutil.copy(path, target / f"{dataset}_{number}.{path.name.partition('.')[2]}")
    middle = np.asarray(nib.load(studies / "covid_ct_0.nii.gz").dataobj)[:, :, 3].T.astype(float)
    grey = Image.fromarray((255 * ((middle + 1350) / 1500).clip(0, 1)).astype(np.uint8))
    grey.save(studies / "slice.png")
    grey.save(studies / "slice_lossy.jpeg", quality=95)
    with socket.socket() as free:
        free.bind((browser.HOST, 0))
        port = free.getsockname()[1]
    store = new_store(folder)
    command = [
        sys.executable, "-m", "pipelines", "label", *LABELLING, "--studies", str(studies),
        "--app", str(folder / "app"), "--port", str(port),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store}
    with subprocess.Popen(command, env=environment, cwd=BUNDLES.parent) as process:
        try:
            assert browser.answers(process, port)
            yield Served(f"http://{browser.HOST}:{port}/", studies, labels, folder / "app", store)
        finally:
            browser.end(process)


def test_it_says_what_it_serves(served: Served) -> None:
    info = requests.get(f"{served.address}info/", timeout=30).json()
    assert sorted(info["models"]) == sorted(LABELLING)
    assert info["labels"] == ["lung", "lesion"]
    assert info["models"][SKIN]["labels"] == {"lesion": 1}
    assert info["models"][SEVERITY]["type"] == "classification"
    assert sorted(info["trainers"]) == [LESIONS, SKIN]


def test_a_volumes_mask_is_that_of_predict_on_the_volumes_grid(served: Served, tmp_path: Path) -> None:
    given = served.studies / "covid_ct_0.nii.gz"
    expected = load_bundle(LESIONS, fast=True)(given)
    answer = served.infer(LESIONS, "covid_ct_0", **FAST)
    (tmp_path / "mask.nii.gz").write_bytes(answer.content)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert (np.asarray(mask.dataobj) == expected.mask).all()
    assert expected.mask is not None
    assert expected.mask.any()
    assert np.array_equal(mask.affine, nib.load(given).affine)

    asked = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}  # as 3D Slicer does
    (tmp_path / "mask.nrrd").write_bytes(served.infer(LESIONS, "covid_ct_0", **FAST, **asked).content)
    as_slicer, image = SimpleITK.ReadImage(tmp_path / "mask.nrrd"), SimpleITK.ReadImage(given)
    assert (expected.mask == SimpleITK.GetArrayFromImage(as_slicer).T).all()
    for of in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.allclose(getattr(as_slicer, of)(), getattr(image, of)(), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "name"), [(LESIONS, "slice.png"), (LESIONS, "slice_lossy.jpeg"), (SKIN, "isic2016_0.jpg")]
)
def test_a_pictures_mask_is_that_of_predict_as_png(served: Served, model: str, name: str) -> None:
    expected = load_bundle(model, fast=True)(served.studies / name)
    answer = served.infer(model, name.partition(".")[0], **FAST)
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as mask:
        assert mask.mode == "L"
        assert (np.asarray(mask) == expected.mask).all()
    said = served.infer(model, name.partition(".")[0], "json", **FAST).json()
    assert said["report"] == expected.report


@pytest.mark.parametrize(
    ("model", "name"), [(XRAY, "chest_xray_0.jpg"), (SEVERITY, "slice.png"), (SEVERITY, "covid_ct_0.nii.gz")]
)
def test_scores_have_names_and_are_those_of_predict(served: Served, model: str, name: str) -> None:
    expected = load_bundle(model)(served.studies / name).report
    said = served.infer(model, name.partition(".")[0], "json").json()
    assert {each["label"]: each["score"] for each in said["prediction"]} == expected["probabilities"]
    for key in ("class", "refer", "reason", "refer_below"):
        assert said[key] == expected[key]
    if model == XRAY:
        assert said["operating_point"] == expected["operating_point"]
        assert said["operating_point"]["threshold"] > 0
    if name.endswith(".nii.gz"):
        assert len(said["slices"]) == 7


def test_faults_are_named_and_no_fault_of_the_server(served: Served) -> None:
    volume = served.infer(XRAY, "covid_ct_0", "json")
    assert (volume.status_code, volume.json()["error"]) == (422, "UnsupportedImageError")
    assert "one picture" in volume.json()["detail"]
    missing = served.infer(LESIONS, "nothing", "json")
    assert (missing.status_code, "no such image" in missing.json()["detail"]) == (422, True)
    assert served.infer("nothing", "covid_ct_0", "json").status_code == 404
    assert served.infer(LESIONS, "covid_ct_0", "json", model_filename="none.pt").status_code == 422


def test_pages_of_elsewhere_may_not_call_it(served: Served) -> None:
    address = f"{served.address}info/"
    assert requests.get(address, headers={"Origin": "https://elsewhere.example"}, timeout=30).status_code == 403
    assert requests.get(address, headers={"Host": "elsewhere.example"}, timeout=30).status_code == 400
    assert requests.get(address, headers={"Origin": served.address.rstrip("/")}, timeout=30).status_code == 200


def train(served: Served, model: str) -> dict[str, Any]:
    """One epoch, as 3D Slicer starts it: a process of its own; how it ended."""
    address = f"{served.address}train/"
    requests.post(f"{address}{model}", json={"max_epochs": 1}, timeout=60).raise_for_status()
    for _ in range(300):
        time.sleep(1)
        if requests.get(f"{address}?check_if_running=true", timeout=60).status_code == 404:
            break
    return dict(requests.get(address, timeout=60).json())


def test_it_learns_from_labels_and_each_bundle_from_its_own(served: Served, tmp_path: Path) -> None:
    assert requests.post(f"{served.address}train/{SKIN}?run_sync=true", json={}, timeout=60).status_code == 422
    turned = nib.load(served.labels / "covid_ct_3.nii.gz")  # the last by name is the one for validation
    turn = orientations.ornt_transform(
        orientations.io_orientation(turned.affine), orientations.axcodes2ornt(("P", "S", "R"))
    )
    nib.save(turned.as_reoriented(turn), tmp_path / "turned.nii.gz")
    swapped = nib.load(served.labels / "covid_ct_2.nii.gz")
    values = np.array([0, 2, 1], dtype=np.uint8)[np.asarray(swapped.dataobj).astype(int)]
    nib.save(nib.Nifti1Image(values, swapped.affine), tmp_path / "swapped.nii.gz")
    served.submit("covid_ct_2", tmp_path / "swapped.nii.gz", ["lesion", "lung"])
    served.submit("covid_ct_3", tmp_path / "turned.nii.gz", ["lung", "lesion"])
    for number in (0, 1):  # of pictures 3D Slicer sends volumes of one slice
        flat = SimpleITK.JoinSeries(SimpleITK.ReadImage(served.labels / f"isic2016_{number}.png"))
        SimpleITK.WriteImage(SimpleITK.Cast(flat > 0, SimpleITK.sitkUInt8), tmp_path / "flat.nii.gz")
        served.submit(f"isic2016_{number}", tmp_path / "flat.nii.gz", ["lesion"])

    client = mlflow.MlflowClient(served.store)
    for model, metric in ((LESIONS, "val_lung_dice"), (SKIN, "val_lesion_dice")):
        ended = train(served, model)
        assert ended["status"] == "DONE", ended
        experiment = client.get_experiment_by_name(model)
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        assert run.data.params["data_training_cases"] == run.data.params["data_validation_cases"] == "1"
        # the shipped weights know the phantoms: a label that arrived wrong would agree with little
        assert run.data.metrics[metric] > 0.8
    record = served.app / "model" / LESIONS / "labels" / "covid_ct_2.nii.gz"
    assert (np.asarray(nib.load(record).dataobj) == np.asarray(swapped.dataobj)).all()

    info = requests.get(f"{served.address}info/", timeout=30).json()
    assert info["models"][SKIN]["config"]["model_filename"] == ["trained.pt", "model.pt"]
    said = served.infer(SKIN, "isic2016_0", "json", **FAST).json()
    assert said["report"]["weights"] == "trained.pt"
    said = served.infer(SKIN, "isic2016_0", "json", model_filename="model.pt", **FAST).json()
    assert said["report"]["weights"] == "skips.safetensors"
