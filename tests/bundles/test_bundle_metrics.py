"""Figures of the evaluation, against counts made here from the files on disk: original labels on their own grid."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import sklearn.metrics
from bundle_under_test import Bundle
from conftest import Chain, Runs
from PIL import Image
from stub_networks import GreyLevels

from pipelines.tracking.run_file import read_run_file
from pipelines.weights import save_weights


def stub(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """Overrides that put the network of known output in the place of the bundle's, and leave that output as it is."""
    arguments: dict[str, Any] = {"out_channels": bundle.output["num_channels"], "spatial_dims": bundle.spatial_dims}
    if len(bundle.input["value_range"]) == 2:
        arguments |= dict(zip(("low", "high"), map(float, bundle.input["value_range"]), strict=True))
    save_weights(GreyLevels(**arguments), folder / "stub.safetensors")
    network = {"_target_": "stub_networks.GreyLevels", **arguments}
    raw = {"largest_component": False} if "largest_component" in bundle.config("inference") else {}
    return {"network_def": network, "network_name": "stub", "checkpoint": folder / "stub.safetensors", **raw}


def read(path: Path) -> np.ndarray:
    if path.name.endswith((".nii", ".nii.gz")):
        return np.asarray(nib.load(path).dataobj)
    return np.asarray(Image.open(path))


def write(path: Path, values: np.ndarray) -> None:
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(values, nib.load(path).affine, nib.load(path).header), path)
    else:
        Image.fromarray(values).save(path)


@pytest.fixture
def measured(bundle: Bundle, phantoms: Path, tmp_path: Path) -> dict[str, Any]:
    """Test cases whose labels were made from the stub's masks; the masks, the labels, and the evaluation's metrics.

    Of the voxels that the stub gives the last class, the label leaves every second one to the class before it.
    """
    data = tmp_path / bundle.dataset
    shutil.copytree(phantoms, data)
    network = stub(bundle, tmp_path)
    workflow = bundle.workflow("infer", "inference", **network, dataset_dir=data, output_dir=tmp_path / "masks")
    workflow.initialize()
    workflow.run()
    classes = list(bundle.config("inference")["label_names"])
    masks, labels = [], []
    for item in json.loads((data / "datalist.json").read_text())["test"]:
        (path,) = (tmp_path / "masks").glob(f"{item['case']}_mask.*")
        mask = read(path).astype(np.uint8)
        label = mask.copy()
        places = np.flatnonzero(mask == classes[-1])
        assert places.size > 100, "the stub finds too little for the figures to mean anything"
        label.reshape(-1)[places[: places.size // 2 * 2 : 2]] = classes[-2]
        write(data / item["label"], label)
        masks.append(mask)
        labels.append(label)
    knobs = {"dataset_dir": data, "ckpt_dir": tmp_path / "ckpt", "output_dir": tmp_path / "evaluation"}
    workflow = bundle.workflow("train", "train", "evaluate", **network, **knobs)
    workflow.initialize()
    workflow.run()
    metrics, items = workflow.evaluator.state.metrics, json.loads((data / "datalist.json").read_text())["test"]
    return {"masks": masks, "labels": labels, "metrics": metrics, "items": items, "folder": tmp_path}


@pytest.mark.contract("segmentation")
def test_figures_worked_out_by_hand(bundle: Bundle, measured: dict[str, Any]) -> None:
    """Half of what is predicted as the last class is it: Dice 2/3, IoU 1/2, nothing of it missed."""
    name = list(bundle.config("inference")["label_names"].values())[-1]
    metrics, rounding = measured["metrics"], 1 / min((mask == mask.max()).sum() for mask in measured["masks"])
    assert metrics[f"test_{name}_dice"] == pytest.approx(2 / 3, abs=2 * rounding)
    assert metrics[f"test_{name}_iou"] == pytest.approx(1 / 2, abs=2 * rounding)
    assert metrics[f"test_{name}_sensitivity"] == 1


@pytest.mark.contract("segmentation")
def test_figures_equal_counts_on_the_original_grid(bundle: Bundle, measured: dict[str, Any]) -> None:
    names = {value: name for value, name in bundle.config("inference")["label_names"].items() if value != 0}
    pairs = list(zip(measured["masks"], measured["labels"], strict=True))
    for value, name in names.items():
        dice, specificity, accuracy = [], [], []
        for mask, label in pairs:
            said, true = mask == value, label == value
            dice.append(2 * (said & true).sum() / (said.sum() + true.sum()))
            specificity.append((~said & ~true).sum() / (~true).sum())
            accuracy.append((said == true).mean())
        for metric, values in {"dice": dice, "specificity": specificity, "accuracy": accuracy}.items():
            assert measured["metrics"][f"test_{name}_{metric}"] == pytest.approx(np.mean(values)), (name, metric)


@pytest.mark.contract("segmentation")
def test_the_masks_that_are_kept_are_those_of_predict_beside_what_they_are_of(
    bundle: Bundle, measured: dict[str, Any]
) -> None:
    kept = measured["folder"] / "evaluation" / "masks"
    listed = {each["case"]: each for each in json.loads((kept / "cases.json").read_text())}
    assert listed.keys() == {item["case"] for item in measured["items"]}
    data = measured["folder"] / bundle.dataset
    for item, mask in zip(measured["items"], measured["masks"], strict=True):
        entry = listed[item["case"]]
        assert (entry["image"], entry["label"]) == (str(data / item["image"]), str(data / item["label"]))
        np.testing.assert_array_equal(read(kept / entry["mask"]), mask)
        if entry["mask"].endswith(".nii.gz"):
            np.testing.assert_allclose(nib.load(kept / entry["mask"]).affine, nib.load(entry["image"]).affine)
    names = bundle.config("inference")["label_names"]
    assert json.loads((kept / "labels.json").read_text()) == {str(value): name for value, name in names.items()}


@pytest.mark.contract("segmentation")
def test_background_is_never_averaged_in(bundle: Bundle, measured: dict[str, Any]) -> None:
    """The accuracy over all pixels is reported, under a name that says so; background has no figure of its own."""
    names = bundle.config("inference")["label_names"]
    assert not any(name.startswith(f"test_{names[0]}_") for name in measured["metrics"])
    pixels = np.mean([(m == t).mean() for m, t in zip(measured["masks"], measured["labels"], strict=True)])
    assert measured["metrics"]["test_pixel_accuracy_with_background"] == pytest.approx(pixels)


@pytest.fixture
def classified(bundle: Bundle, evaluated: Chain) -> list[dict[str, str]]:
    """The rows of an evaluation's table of items, each with its true and its predicted class."""
    (table,) = [path for path in evaluated.evaluation.glob("*.csv") if path.name != "cases.csv"]
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.contract("classification")
def test_scores_of_classes_are_sklearns(
    bundle: Bundle, classified: list[dict[str, str]], evaluated: Chain, runs: Runs
) -> None:
    record = read_run_file(evaluated.ckpt_dir)
    assert record is not None
    metrics = runs.all()[record.run_id].data.metrics
    names = list(bundle.config("inference")["label_names"].values())
    true, said = ([row[key] for row in classified] for key in ("label", "predicted"))
    assert metrics["test_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(true, said))
    present = [name for name in names if name in true]
    recall = sklearn.metrics.recall_score(true, said, labels=present, average=None, zero_division=0)
    assert metrics["test_balanced_accuracy"] == pytest.approx(recall.mean())
    for name, value in zip(present, recall, strict=True):
        assert metrics[f"test_{name}_sensitivity"] == pytest.approx(value)
        probability = [float(row[f"p_{name}"]) for row in classified]
        if len(present) > 1:
            auc = sklearn.metrics.roc_auc_score([label == name for label in true], probability)
            assert metrics[f"test_{name}_auc"] == pytest.approx(auc)


@pytest.mark.contract("classification")
def test_the_class_that_is_said_is_the_likeliest_or_follows_the_operating_point(
    bundle: Bundle, classified: list[dict[str, str]], evaluated: Chain
) -> None:
    names = list(bundle.config("inference")["label_names"].values())
    point = json.loads(evaluated.checkpoint.with_suffix(".calibration.json").read_text())["operating_point"]
    for row in classified:
        values = {name: float(row[f"p_{name}"]) for name in names}
        assert sum(values.values()) == pytest.approx(1, abs=1e-5)
        if point is None:
            assert max(values, key=lambda name: values[name]) == row["predicted"]
        else:
            above = values[point["positive"]] >= point["threshold"]
            assert (row["predicted"] == point["positive"]) is above


@pytest.mark.contract("classification")
def test_serving_says_what_evaluation_measured(
    bundle: Bundle, classified: list[dict[str, str]], predicted: Chain
) -> None:
    """The same weights, preprocessing, flips and temperature: the probabilities of a report are those of the table."""
    names = list(bundle.config("inference")["label_names"].values())
    for row in classified:
        report = json.loads((predicted.predictions / f"{row['case']}_report.json").read_text())
        answer = report["slices"][int(row["slice"])] if "slices" in report else report
        for name in names:
            assert answer["probabilities"][name] == pytest.approx(float(row[f"p_{name}"]), abs=2e-5)
        assert answer["refer"] == bool(int(row["refer"]))
        assert answer["class"] in (row["predicted"], None)


@pytest.mark.contract("classification")
def test_a_calibration_is_stored_with_the_weights(bundle: Bundle, evaluated: Chain) -> None:
    stored = json.loads(evaluated.checkpoint.with_suffix(".calibration.json").read_text())
    assert stored["temperature"] > 0
    assert f"Temperature {stored['temperature']:.3f}" in (evaluated.evaluation / "summary.md").read_text()
    assert (evaluated.evaluation / "reliability.png").is_file()
