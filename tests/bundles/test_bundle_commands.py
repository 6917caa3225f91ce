"""train, evaluate, inference as a user types them, from another working directory, on phantoms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bundle_under_test import Bundle, listing, python
from conftest import Chain
from PIL import Image

from pipelines.weights import load_weights, read_weights

pytestmark = pytest.mark.contract("supervised")


def test_training_leaves_weights_of_its_network(bundle: Bundle, trained: Chain) -> None:
    network = bundle.network(bundle.smallest)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_weights(network, trained.checkpoint)
    assert any(not torch.equal(value, before[key]) for key, value in network.state_dict().items())
    progress = torch.load(trained.ckpt_dir / "last.pt", weights_only=True)["progress"]
    assert progress["epoch"] == bundle.small("train")["epochs"]


def test_evaluation_measures_every_test_case(phantoms: Path, evaluated: Chain) -> None:
    with (evaluated.evaluation / "cases.csv").open(newline="") as file:
        cases = [row["case"] for row in csv.DictReader(file)]
    tested = json.loads((phantoms / "datalist.json").read_text())["test"]
    assert sorted(cases) == sorted(item["case"] for item in tested)


def test_evaluation_leaves_intervals_and_pictures(evaluated: Chain) -> None:
    summary = json.loads((evaluated.evaluation / "summary.json").read_text())
    assert all(name.startswith("test_") for name in summary)
    assert {"estimate", "low", "high", "n"} <= next(iter(summary.values())).keys()
    assert (evaluated.evaluation / "summary.md").is_file()
    assert list(evaluated.evaluation.glob("*.png")), "no picture of the worst cases"


@pytest.mark.contract("segmentation")
def test_inference_writes_a_mask_a_picture_and_a_report_a_case(
    bundle: Bundle, phantoms: Path, predicted: Chain
) -> None:
    for item in json.loads((phantoms / "datalist.json").read_text())["test"]:
        (mask,) = predicted.predictions.glob(f"{item['case']}_mask.*")
        image = phantoms / item["image"]
        if mask.name.endswith(".nii.gz"):
            assert nib.load(mask).shape == nib.load(image).shape
            np.testing.assert_array_equal(nib.load(mask).affine, nib.load(image).affine)
            values = np.unique(np.asarray(nib.load(mask).dataobj))
        else:
            assert Image.open(mask).size == Image.open(image).size
            values = np.unique(np.asarray(Image.open(mask)))
        assert set(values.tolist()) <= set(bundle.config("inference")["label_names"])
        assert (predicted.predictions / f"{item['case']}_overlay.png").is_file()
        report = json.loads((predicted.predictions / f"{item['case']}_report.json").read_text())
        assert report["network"] == bundle.smallest


def test_nothing_is_written_where_nobody_asked(bundle: Bundle, evaluated: Chain, predicted: Chain) -> None:
    assert listing(predicted.cwd) == set()
    assert listing(bundle.root) == evaluated.in_bundle_before


@pytest.mark.slow
def test_every_network_trains_evaluates_and_infers(
    bundle: Bundle, network: str, phantoms: Path, env: dict[str, str], tmp_path: Path
) -> None:
    """The default is chosen by no overlay; the smallest went through all that in ``trained`` and what follows."""
    if network == bundle.smallest != bundle.default:
        pytest.skip("the chain of commands that most tests look at is of this network")
    data, overlay = {"dataset_dir": phantoms}, [network] if network != bundle.default else []
    python(bundle.command("train", *overlay, **data, ckpt_dir=tmp_path / "ckpt", epochs=1), tmp_path, env)
    weights = tmp_path / "ckpt" / "model.pt"
    assert read_weights(weights).keys() == bundle.network(network).state_dict().keys()
    python(bundle.command("train", *overlay, "evaluate", **data, ckpt_dir=tmp_path / "ckpt"), tmp_path, env)
    assert (tmp_path / "ckpt" / "evaluation" / "summary.json").is_file()
    knobs = {"checkpoint": weights, "output_dir": tmp_path / "out"}
    python(bundle.command("inference", *overlay, **data, **knobs), tmp_path, env)
    assert list((tmp_path / "out").glob("*_report.json"))


@pytest.mark.parametrize("name", ["train", "inference"])
def test_a_fault_in_what_the_user_gave_is_named(bundle: Bundle, name: str, tmp_path: Path, env: dict[str, str]) -> None:
    """A dataset_dir with nothing in it: not a success, the folder and the way out are said, and nothing is written."""
    knobs = {"dataset_dir": tmp_path / "nothing", "ckpt_dir": tmp_path / "ckpt", "output_dir": tmp_path / "out"}
    knobs = {key: value for key, value in knobs.items() if key in bundle.config(name)}
    done = python(bundle.command(name, bundle.smallest, **knobs), tmp_path, env, code=None)
    assert done.returncode != 0
    assert "DatalistError" in done.stderr
    last = done.stderr.splitlines()[-1]  # after MONAI's trace
    assert last.startswith("error: ")
    assert str(tmp_path / "nothing") in last
    assert listing(tmp_path) == set()
