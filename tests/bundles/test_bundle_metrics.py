"""Figures of the evaluation, against counts made here from the files on disk: original labels on their own grid."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bundle_under_test import Bundle
from PIL import Image
from stub_networks import GreyLevels

from pipelines.weights import save_weights


@pytest.fixture(autouse=True)
def only_masks(bundle: Bundle) -> None:
    if bundle.task != "segmentation":
        pytest.skip("no masks")


def stub(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """Overrides that put the network of known output in the place of the bundle's."""
    classes = bundle.metadata["network_data_format"]["outputs"]["pred"]["num_channels"]
    save_weights(GreyLevels(classes), folder / "stub.safetensors")
    network = {"_target_": "stub_networks.GreyLevels", "out_channels": classes}
    return {"network_def": network, "network_name": "stub", "checkpoint": folder / "stub.safetensors"}


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
    return {"masks": masks, "labels": labels, "metrics": workflow.evaluator.state.metrics}


def test_figures_worked_out_by_hand(bundle: Bundle, measured: dict[str, Any]) -> None:
    """Half of what is predicted as the last class is it: Dice 2/3, IoU 1/2, nothing of it missed."""
    name = list(bundle.config("inference")["label_names"].values())[-1]
    metrics, rounding = measured["metrics"], 1 / min((mask == mask.max()).sum() for mask in measured["masks"])
    assert metrics[f"test_{name}_dice"] == pytest.approx(2 / 3, abs=2 * rounding)
    assert metrics[f"test_{name}_iou"] == pytest.approx(1 / 2, abs=2 * rounding)
    assert metrics[f"test_{name}_sensitivity"] == 1


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


def test_background_is_never_averaged_in(bundle: Bundle, measured: dict[str, Any]) -> None:
    """The accuracy over all pixels is reported, under a name that says so; background has no figure of its own."""
    names = bundle.config("inference")["label_names"]
    assert not any(name.startswith(f"test_{names[0]}_") for name in measured["metrics"])
    pixels = np.mean([(m == t).mean() for m, t in zip(measured["masks"], measured["labels"], strict=True)])
    assert measured["metrics"]["test_pixel_accuracy_with_background"] == pytest.approx(pixels)
