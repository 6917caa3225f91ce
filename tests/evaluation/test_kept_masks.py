"""The masks that an evaluation keeps: what was measured, on the original grid, and nothing of another evaluation."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted
from PIL import Image

from pipelines.bundle import leave_process_group
from pipelines.errors import OutputError
from pipelines.evaluation import EvaluationReport
from pipelines.evaluation.kept_masks import pool_masks
from pipelines.readers import read_label
from pipelines.readers.raw import Grid

AFFINE = np.array([[0, 0.7, 0, -30], [-0.8, 0, 0, 12], [0, 0, 2.5, 5], [0, 0, 0, 1]], dtype=float)  # no RAS grid


class Answer(torch.nn.Module):
    """Logits whose argmax is the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-((x - value) ** 2) for value in range(3)], dim=1)


def item(name: str, *, kind: str = "volume", shape: tuple[int, ...] = (8, 6, 4)) -> dict[str, Any]:
    """A case whose prediction is its image: lung, and some lesion at one corner."""
    label = torch.zeros((1, *shape), dtype=torch.uint8)
    label[:, :5, :2] = 1
    image = label.float()
    image[0, :2, 0] = 2
    meta = {"kind": kind, "filename_or_obj": f"/data/{name}.img", "original_affine": torch.as_tensor(AFFINE)}
    return {
        "image": MetaTensor(image, affine=torch.as_tensor(AFFINE), meta=meta),
        "label": MetaTensor(label, affine=torch.as_tensor(AFFINE), meta={"filename_or_obj": f"/data/{name}.lab"}),
        "case": name,
        "patient": name,
    }


def evaluate(items: list[dict[str, Any]], out: Path, **arguments: Any) -> None:
    report = EvaluationReport(out, {1: "lung", 2: "lesion"}, n_worst=0, n_resamples=20, **arguments)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=1),
        network=Answer(),
        postprocessing=AsDiscreted(keys="pred", argmax=True),
        val_handlers=[report],
    )
    evaluator.logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator.run()


def listed(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "masks" / "cases.json").read_text())


def test_a_volume_is_kept_on_its_own_grid(tmp_path: Path) -> None:
    case = item("scan")
    evaluate([case], tmp_path, keep_masks=5)
    (entry,) = listed(tmp_path)
    assert entry == {"case": "scan", "image": "/data/scan.img", "label": "/data/scan.lab", "mask": "scan.nii.gz"}
    stored = nib.load(tmp_path / "masks" / "scan.nii.gz")
    assert stored.get_data_dtype() == np.uint8
    np.testing.assert_allclose(stored.affine, AFFINE)
    np.testing.assert_array_equal(np.asarray(stored.dataobj), case["image"][0].numpy())
    names = json.loads((tmp_path / "masks" / "labels.json").read_text())
    assert names == {"0": "background", "1": "lung", "2": "lesion"}
    assert "masks/cases.json lists them" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize("shape", [(8, 6, 1), (8, 6)])
def test_a_picture_is_kept_as_a_picture_of_label_values(tmp_path: Path, shape: tuple[int, ...]) -> None:
    case = item("slide", kind="picture", shape=shape)
    evaluate([case], tmp_path, keep_masks=5)
    expected = case["image"][0].numpy().reshape(8, 6)
    with Image.open(tmp_path / "masks" / "slide.png") as picture:
        assert (picture.mode, picture.size) == ("L", (8, 6))
        np.testing.assert_array_equal(np.asarray(picture), expected.T)
    read = read_label(tmp_path / "masks" / "slide.png", Grid((8, 6, 1), np.eye(4), "picture", "slide.img"))
    np.testing.assert_array_equal(read[:, :, 0], expected)


@pytest.mark.parametrize("most", [0, 2])
def test_too_many_cases_leave_nothing_and_say_so(tmp_path: Path, most: int) -> None:
    evaluate([item(name) for name in "abc"], tmp_path, keep_masks=3)
    assert len(listed(tmp_path)) == 3
    evaluate([item(name) for name in "abc"], tmp_path, keep_masks=most)
    assert not (tmp_path / "masks").exists()
    assert "Predicted masks are not kept" in (tmp_path / "summary.md").read_text()


def test_too_many_cases_of_unknown_number_leave_nothing(tmp_path: Path) -> None:
    report = EvaluationReport(tmp_path, {1: "lung", 2: "lesion"}, n_worst=0, n_resamples=20, keep_masks=2)
    engine = torch.nn.Identity()  # any object with a state will do
    engine.state = type("State", (), {"dataloader": iter(())})()
    report._masks.start(engine)
    kept = [report._masks.add(name, np.ones((4, 4)), None, None, None) for name in "abc"]
    assert "more than 2 cases" in report._masks.finish([each for each in kept if each], 3)
    assert not (tmp_path / "masks").exists()


def test_masks_of_an_earlier_evaluation_go(tmp_path: Path) -> None:
    evaluate([item("old"), item("both")], tmp_path, keep_masks=5)
    evaluate([item("new"), item("both")], tmp_path, keep_masks=5)
    assert {path.name for path in (tmp_path / "masks").iterdir()} == {
        "new.nii.gz", "both.nii.gz", "cases.json", "labels.json",
    }  # fmt: skip


def test_an_evaluation_that_breaks_off_leaves_no_list(tmp_path: Path) -> None:
    evaluate([item("a"), item("b")], tmp_path, keep_masks=5)
    bad = item("b")
    del bad["patient"]
    with pytest.raises(Exception, match="patient"):
        evaluate([item("a"), bad], tmp_path, keep_masks=5)
    assert not (tmp_path / "masks" / "cases.json").exists()


def test_names_from_outside_stay_in_the_folder(tmp_path: Path) -> None:
    names = ["../../up", "a/b", "a_b", ".hidden", "ä" * 200, "\udcff"]
    evaluate([item(name) for name in names], tmp_path / "out", keep_masks=9)
    found = {entry["case"]: entry["mask"] for entry in listed(tmp_path / "out")}
    assert set(found) == set(names)
    assert len(set(found.values())) == len(names)
    assert all("/" not in name and not name.startswith(".") and len(name) < 160 for name in found.values())
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "masks").write_text("a file in the folder's place")
    with pytest.raises(OutputError, match="masks"):
        evaluate([item("a")], tmp_path, keep_masks=5)


def test_folds_are_pooled_whole_or_not_at_all(tmp_path: Path) -> None:
    folds = [tmp_path / "fold0", tmp_path / "fold1"]
    for folder, names in zip(folds, ("ac", "b"), strict=True):
        evaluate([item(name) for name in names], folder, keep_masks=5)
    pool_masks(folds, tmp_path / "all")
    assert [entry["case"] for entry in listed(tmp_path / "all")] == ["a", "b", "c"]
    masks = tmp_path / "all" / "masks"
    assert (masks / "b.nii.gz").read_bytes() == (folds[1] / "masks" / "b.nii.gz").read_bytes()
    assert (masks / "labels.json").read_bytes() == (folds[0] / "masks" / "labels.json").read_bytes()
    evaluate([item("a")], folds[1], keep_masks=5)  # a case in two folds
    pool_masks(folds, tmp_path / "all")
    assert list(masks.iterdir()) == []
    evaluate([item("b")], folds[1], keep_masks=0)
    pool_masks(folds, tmp_path / "all")
    assert list(masks.iterdir()) == []


def _work(rank: int, folder: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    evaluate([item(name) for name in ("ab", "bc")[rank]], Path(folder) / "out", keep_masks=3)  # b is in both
    evaluate([item(name) for name in ("ab", "bc")[rank]], Path(folder) / "fewer", keep_masks=2)
    leave_process_group(settle=0.2)


@pytest.mark.thorough
@pytest.mark.slow
def test_of_two_processes_the_first_lists_the_masks_of_both(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_work, args=(str(tmp_path),), nprocs=2, join=True)
    assert [entry["mask"] for entry in listed(tmp_path / "out")] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert not (tmp_path / "fewer" / "masks").exists()
