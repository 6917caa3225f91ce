"""What lies in no lung is taken out of a prediction, counted, and said in the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.data import MetaTensor

from pipelines.readers import read_case
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.phantom_files import write_ct_seg_case
from pipelines.tasks.lung_ct.transforms import CountMembersd, LungsOnlyd, RemoveStrayLabelsd, SplitMembersd
from pipelines.tasks.lung_ct.writers import LungMaskWriter

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "covid_ct_lesion_segmentation" / "configs"


@pytest.fixture(scope="module")
def phantom() -> Any:
    return make_lung_phantom(11, 128, 40, 0.15, bowel_gas=True)


def item(phantom: Any, kind: str, slices: slice = slice(None)) -> dict[str, Any]:
    """A scan in which all that is hollow in the abdomen is called lung, and a piece of muscle lesion."""
    called = phantom.label.copy()
    body = np.zeros(called.shape, bool)
    body[20:-20, 35:-40] = True
    called[body & (called == 0) & (phantom.array < -500)] = 1
    called[62:66, 96:99, 18:24] = 2  # in the muscle of the back
    meta = {"kind": kind, "intensity": "hu"}
    image = scale_ct(phantom.array[None, ..., slices].astype(np.float32), "hu")
    return {
        "image": MetaTensor(image, affine=phantom.affine, meta=dict(meta)),
        "pred": MetaTensor(called[None, ..., slices], affine=phantom.affine, meta=dict(meta)),
    }


def dice(a: Any, b: Any) -> float:
    a, b = np.asarray(a) > 0, np.asarray(b) > 0
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_a_volume_keeps_its_lungs_alone(phantom: Any) -> None:
    data = item(phantom, "volume")
    after = LungsOnlyd("pred")(data)
    pred, label = after["pred"], phantom.label[None]
    assert isinstance(pred, MetaTensor)
    assert pred.dtype == torch.uint8
    assert dice(data["pred"], label) < 0.96
    assert dice(pred, label) > 0.975
    assert not (np.asarray(pred)[0, 62:66, 96:99, 18:24]).any()
    kept = np.asarray(pred) > 0
    assert (np.asarray(pred)[kept] == np.asarray(data["pred"])[kept]).all()
    removed = after["removed"]
    gone = int((np.asarray(data["pred"]) > 0).sum() - kept.sum())
    assert removed["gas_px"] + removed["lesion_px"] == gone
    assert removed["lesion_px"] == 4 * 3 * 6
    assert removed["voxel_ml"] == pytest.approx((400 / 128) ** 2 * 330 / 40 / 1000)
    assert RemoveStrayLabelsd("pred")(after)["pred"].shape == pred.shape


def test_without_this_step_gas_stays(phantom: Any) -> None:
    data = item(phantom, "volume")
    assert dice(RemoveStrayLabelsd("pred")(data)["pred"], phantom.label[None]) < 0.96


def test_a_picture_loses_lesion_away_from_the_lungs_and_no_gas(phantom: Any) -> None:
    data = item(phantom, "picture", slice(20, 21))
    after = LungsOnlyd("pred")(data)
    assert after["removed"] == {
        "gas_px": 0,
        "lesion_px": 12,
        "lesion_before_px": int((data["pred"] == 2).sum()),
        "voxel_ml": None,
    }
    assert int((after["pred"] == 1).sum()) == int((data["pred"] == 1).sum())


def test_it_can_be_turned_off(phantom: Any) -> None:
    data = item(phantom, "volume")
    after = LungsOnlyd("pred", enabled=False)(data)
    assert torch.equal(after["pred"], data["pred"])
    assert "removed" not in after


def test_tensors_without_meta_are_volumes(phantom: Any) -> None:
    data = {key: torch.tensor(np.asarray(value)) for key, value in item(phantom, "volume").items()}
    assert dice(LungsOnlyd("pred")(data)["pred"], phantom.label[None]) > 0.97


def test_nothing_called_stays_nothing(phantom: Any) -> None:
    data = item(phantom, "volume")
    data["pred"] = data["pred"] * 0
    after = LungsOnlyd("pred")(data)
    assert not after["pred"].any()
    assert after["removed"]["gas_px"] == after["removed"]["lesion_px"] == 0


def test_members_count_nothing_of_what_was_taken_out(phantom: Any) -> None:
    data = item(phantom, "volume")
    data["pred"] = torch.cat([data["pred"]] * 3)
    counted = CountMembersd("pred")(LungsOnlyd("pred")(SplitMembersd("pred")(data)))
    lung = (np.asarray(counted["pred"])[0] > 0).sum(axis=(0, 1))
    assert (counted["member_counts"][:, 1] == lung).all()


@pytest.mark.parametrize(
    ("removed", "words", "doubt"),
    [
        (None, [], False),
        ({"gas_px": 0, "lesion_px": 0, "lesion_before_px": 0, "voxel_ml": 0.01}, [], False),
        ({"gas_px": 900, "lesion_px": 0, "lesion_before_px": 50, "voxel_ml": 0.01}, ["9 mL (900 voxels)"], False),
        (
            {"gas_px": 900, "lesion_px": 30, "lesion_before_px": 60, "voxel_ml": 0.01},
            ["9 mL (900 voxels)", "0.3 mL (30 voxels)", "50 % of what was called lesion"],
            True,
        ),
        ({"gas_px": 0, "lesion_px": 7, "lesion_before_px": 60, "voxel_ml": None}, ["7 pixels"], False),
    ],
)
def test_the_report_says_what_was_taken_out(
    tmp_path: Path, phantom: Any, removed: dict[str, Any] | None, words: list[str], doubt: bool
) -> None:
    write_ct_seg_case(tmp_path, "a", phantom)
    case = read_case(tmp_path / "ct_scans" / "a.nii.gz")
    given = {"pred": torch.from_numpy(phantom.label[None])} | ({} if removed is None else {"removed": removed})
    files = LungMaskWriter(str(tmp_path / "out")).write_case("a", case, given)
    report = json.loads(files["report"].read_text())
    notes = [note for note in report["notes"] if "mm apart" not in note]  # a phantom has few slices
    assert [any(note.startswith(each) for note in notes) for each in words] == [True] * len(words)
    assert len(notes) == len(words)
    assert (report["doubt"] is not None) is doubt
    assert (report["extent"] is None) is doubt


def test_every_config_that_makes_masks_has_the_step_behind_the_strays_and_on() -> None:
    for name in ("inference", "severity", "train"):
        config = yaml.safe_load((BUNDLE / f"{name}.yaml").read_text())
        steps = (config["validate"] if name == "train" else config)["postprocessing"]["transforms"]
        names = [step["_target_"].rsplit(".", 1)[-1] for step in steps]
        assert names.index("LungsOnlyd") == names.index("RemoveStrayLabelsd") + 1 < names.index("Invertd")
        assert steps[names.index("LungsOnlyd")]["enabled"] == "@lungs_only"
        assert config.get("lungs_only", True) is True
