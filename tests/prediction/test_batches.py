"""A case as a batch of one: what MONAI's collating gives, and no copy of the image."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor, decollate_batch, list_data_collate
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, CropForegroundd, Orientationd
from torch.multiprocessing.reductions import StorageWeakRef

from pipelines.prediction import batches
from pipelines.prediction.batches import case_as_batch, give_back_after_network
from pipelines.prediction.model import Model
from pipelines.tasks.lung_ct.phantom import make_lung_phantom


def a_case() -> dict:
    meta = {"kind": "volume", "filename_or_obj": "scan", "spatial_shape": np.array([20, 21, 5])}
    image = MetaTensor(torch.rand(1, 20, 21, 5), affine=torch.diag(torch.tensor([-1.0, 2, 3, 1])), meta=meta)
    crop = CropForegroundd(
        "image", "image", select_fn=lambda x: x > 0.9, start_coord_key=None, end_coord_key=None, allow_smaller=True
    )
    return Compose([Orientationd("image", axcodes="LPS", labels=None), crop])({"image": image, "case": "scan"})


def test_it_is_monais_batch_of_the_same_memory():
    case = a_case()
    monai, ours = list_data_collate([case]), case_as_batch([case])
    assert ours.keys() == monai.keys()
    assert ours["case"] == monai["case"]
    assert torch.equal(ours["image"].as_tensor(), monai["image"].as_tensor())
    assert str(vars(ours["image"])) == str(vars(monai["image"]))  # meta, operations to invert, what it is a batch of
    assert ours["image"].data_ptr() == case["image"].data_ptr()
    (back,), (expected,) = decollate_batch(ours), decollate_batch(monai)
    assert str(vars(back["image"])) == str(vars(expected["image"]))


def test_several_cases_are_collated_as_ever():
    cases = [{"image": torch.zeros(1, 4, 4)}, {"image": torch.ones(1, 4, 4)}]
    assert case_as_batch(cases)["image"].shape == (2, 1, 4, 4)


def test_the_image_is_let_go_once_the_network_has_seen_it(project: Path, tmp_path: Path, monkeypatch) -> None:
    affine = np.diag([-1.0, -1.0, 5.0, 1.0])
    nib.save(nib.Nifti1Image(make_lung_phantom(1, size=64, slices=8).array, affine), tmp_path / "scan.nii")
    model = Model(project / "bundles" / "covid_ct_lesion_segmentation", "tiny_unet", unlike="note")
    prepared = model.prepare({"image": str(tmp_path / "scan.nii"), "case": "scan"})
    memory = StorageWeakRef(prepared.data["image"].untyped_storage())
    find, freed = model.writer.find, []

    def looked_at(*words: Any) -> Any:
        freed.append(memory.expired())
        return find(*words)

    monkeypatch.setattr(model.writer, "find", looked_at)
    assert model.compute(prepared).report["lung_ml"] > 0
    assert freed == [True]
    assert prepared.data == {}


@pytest.mark.parametrize(("long", "times"), [(10, 1), (10**9, 0)])
def test_memory_is_given_back_after_the_network_saw_a_long_volume(monkeypatch, long: int, times: int) -> None:
    calls: list[int] = []
    monkeypatch.setattr(batches.sys, "platform", "linux")
    monkeypatch.setattr(batches.ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=calls.append))
    monkeypatch.setattr(batches, "_LONG", long)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader([{"image": torch.zeros(1, 4, 4, 4)}], batch_size=1),
        network=torch.nn.Identity(),
        postprocessing=lambda item: {**item, "calls_before": list(calls)},
    )
    give_back_after_network(evaluator)
    evaluator.run()
    assert calls == [0] * times
    assert evaluator.state.output[0]["calls_before"] == calls, "before masks are put together"
