"""How sure a mask is: the numbers, what is fitted of them, and what a report says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import ConfigError, DatalistError, UnreadableFileError, WeightsError
from pipelines.evaluation.confidence_fit import fit_curve, fit_extent
from pipelines.inferers import VolumeSliceInferer
from pipelines.transforms import KeepProbabilitiesd, MaskCertaintyd, SplitProbabilitiesd
from pipelines.transforms.confidence import Certain, confidence_report, part_means, parts_of, soft_dice
from pipelines.transforms.mask_confidence import Curve, ExtentInterval, MaskConfidence, read_confidence
from pipelines.weights import save_weights, weights_digest

NAMES = {0: "background", 1: "lung", 2: "lesion"}
CURVE = Curve(1.0, 0.0, 100, 10, 0.5, 0.1, 0.02, 0.9)


def test_soft_dice_is_the_dice_of_sure_voxels_and_less_of_unsure_ones():
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:6, 2:6] = True
    assert soft_dice(255 * mask.astype(np.uint8), mask) == 1
    assert soft_dice(np.full((8, 8), 255, dtype=np.uint8), mask) == pytest.approx(2 * 16 / (64 + 16))
    half = np.where(mask, 128, 0).astype(np.uint8)
    assert soft_dice(half, mask) == pytest.approx(2 * 16 * 128 / 255 / (16 * 128 / 255 + 16))
    assert soft_dice(half, np.zeros((8, 8), dtype=bool)) is None


def test_soft_dice_is_what_the_dice_is_on_average():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0, 1, (60, 60))
    mask = chance > 0.5
    dice = []
    for _ in range(200):
        truth = rng.uniform(0, 1, chance.shape) < chance
        dice.append(2 * (truth & mask).sum() / (truth.sum() + mask.sum()))
    assert soft_dice(np.rint(255 * chance).astype(np.uint8), mask) == pytest.approx(np.mean(dice), abs=0.005)


def test_parts_keep_their_own_number_and_come_by_size():
    mask = np.zeros((10, 10, 4), dtype=bool)
    mask[0:2, 0:2, 0:2], mask[5:9, 5:9, 1:4] = True, True
    probabilities = np.full(mask.shape, 200, dtype=np.uint8)
    probabilities[5:] = 100
    means = part_means(probabilities, mask)
    assert set(np.unique(means)) == {0, 100, 200}
    assert not means[~mask].any()
    first, second = parts_of(mask.view(np.uint8), 1, means)
    assert (first.size, second.size) == (48, 8)
    assert (first.certainty, second.certainty) == pytest.approx((100 / 255, 200 / 255))
    assert first.centre == (6.5, 6.5, 2.0)
    box, within = first.where
    assert mask[box][within].all()
    assert within.sum() == 48
    assert parts_of(np.zeros((3, 3), dtype=np.uint8), 1, np.zeros((3, 3), dtype=np.uint8)) == []


class _Threes(torch.nn.Module):
    """Background, and two labels whose logits are the picture's own values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x), 4 * x - 2, 8 * x - 6], dim=1)


@pytest.mark.parametrize("few", [None, 0.05])
@pytest.mark.parametrize("members", [False, True])
def test_the_inferer_keeps_probabilities_behind_the_labels(few, members):
    volume = torch.rand(1, 1, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    options = {"slice_size": None, "flips": True, "members": members, "view_tolerance": few}
    plain = VolumeSliceInferer(**options)(volume, _Threes())
    kept = VolumeSliceInferer(**options, probabilities_kept=True)(volume, _Threes())
    assert torch.equal(kept[:, : plain.shape[1]], plain)
    assert kept.shape[1] == plain.shape[1] + 2
    expected = _Threes()(volume[0].movedim(-1, 0)).softmax(dim=1)[:, 1:].movedim(0, -1)
    assert (kept[0, -2:].float() / 255 - expected).abs().max() < 0.01


def test_certainty_of_a_case_by_transforms():
    logits = torch.full((3, 8, 8), -9.0)
    logits[0], logits[2, 2:6, 2:6] = 0.0, 9.0
    data = KeepProbabilitiesd("pred", "softmax")({"pred": logits})
    data["pred"] = logits.argmax(dim=0, keepdim=True)
    data = MaskCertaintyd("pred", NAMES)(data)
    assert "probabilities" not in data
    assert data["certainty"].labels["lung"] is None
    assert data["certainty"].labels["lesion"] > 0.99
    assert data["part_certainty"].shape == (1, 8, 8)
    assert data["part_certainty"].max() == 255
    with pytest.raises(ConfigError, match="no probabilities"):
        MaskCertaintyd("pred", NAMES)({"pred": data["pred"]})
    with pytest.raises(ConfigError, match="probabilities_kept"):
        SplitProbabilitiesd("pred", 2)({"pred": torch.zeros(1, 2, 2)})
    stacked = torch.arange(5 * 4).reshape(5, 2, 2).to(torch.uint8)
    split = SplitProbabilitiesd("pred", 2)({"pred": stacked})
    assert split["pred"].shape[0] == 3
    assert torch.equal(split["probabilities"], stacked[3:])


@pytest.mark.parametrize(("words", "said"), [({"least": 1.5}, "1.5"), ({"parted": "heart"}, "heart")])
def test_faults_of_a_config_are_said(words, said):
    with pytest.raises(ConfigError, match=said):
        MaskCertaintyd("pred", NAMES, **words)
    with pytest.raises(ConfigError, match="tanh"):
        KeepProbabilitiesd("pred", "tanh")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_weights(torch.nn.Linear(2, 2), path)
    return path


def test_the_file_belongs_to_its_weights(weights: Path, tmp_path: Path):
    assert read_confidence(weights) is None
    extent = ExtentInterval(0.9, 0.5, 0.02, 100, 10, 0.9, 0.1)
    known = MaskConfidence(weights_digest(weights), 0.7, {"lesion": CURVE}, CURVE, extent, "of phantoms")
    beside = weights.with_suffix(".confidence.json")
    known.write(beside)
    assert read_confidence(weights) == known
    content = json.loads(beside.read_text())
    for spoilt in ({"labels": {"lesion": {"slope": 1}}}, {"dice": 3}, {"labels": 5}):
        beside.write_text(json.dumps(content | spoilt))
        with pytest.raises(UnreadableFileError, match=r"confidence\.json"):
            read_confidence(weights)
    beside.write_text(json.dumps(content | {"weights": "sha256:0"}))
    with pytest.raises(WeightsError, match="other weights"):
        read_confidence(weights)


def test_a_confidence_that_nobody_measured_cannot_be_asked_for(weights: Path):
    with pytest.raises(ConfigError, match="pipelines confidence"):
        MaskCertaintyd("pred", {0: "background", 1: "lesion"}, str(weights), least=0.5)


def test_a_report_refers_what_is_too_unsure():
    known = MaskConfidence("sha256:0", 0.7, {"lesion": CURVE}, CURVE, ExtentInterval(0.9, 0.5, 0.02, 9, 9, 0.93, 0.1))
    mask = np.zeros((6, 6), dtype=np.uint8)
    mask[1:4, 1:4] = 2
    parts = np.where(mask == 2, 51, 0).astype(np.uint8)
    found = Certain({"lung": None, "lesion": 0.4}, (2, "lesion"), known, 0.5)
    report = confidence_report(found, mask, parts, None, 0.2)
    assert report["refer"]
    assert "40 %" in report["reason"]
    assert report["min_confidence"] == 0.5
    said = report["confidence"]
    assert said["labels"] == {"lung": {"certainty": None}, "lesion": {"certainty": 0.4, "probability": 0.4}}
    assert said["parts"] == [{"voxels": 9, "centre": [2.0, 2.0], "certainty": 0.2, "probability": 0.2}]
    assert report["extent_interval"] == {"low": 0.09, "high": 0.31, "held_the_truth": 0.93}
    sure = confidence_report(Certain({"lesion": 0.6}, (2, "lesion"), known, 0.5), mask, parts)
    assert sure["refer"] is False
    assert sure["reason"] is None
    assert "extent_interval" not in sure
    placed = confidence_report(Certain({"lesion": 0.6}, (2, "lesion"), None, None), mask[..., None], parts[..., None],
                               np.diag([2.0, 3.0, 4.0, 1.0]))  # fmt: skip
    assert placed["confidence"]["parts"][0]["centre"] == [4.0, 6.0, 0.0]
    assert "refer" not in placed


def _simulated(patients: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    certainty = rng.uniform(0.3, 0.99, patients * each)
    good = rng.uniform(0, 1, certainty.size) < 1 / (1 + np.exp(-(2 * np.log(certainty / (1 - certainty)) - 1)))
    return certainty, good, list(np.repeat(np.arange(patients), each))


def test_a_curve_finds_the_probabilities_that_were_drawn():
    certainty, good, patients = _simulated(40, 50)
    curve, unseen = fit_curve(certainty, good, patients)
    assert curve.slope == pytest.approx(2, abs=0.25)
    assert curve.intercept == pytest.approx(-1, abs=0.25)
    assert curve.ece < 0.04
    assert curve.auc > 0.7
    assert curve.items == 2000
    assert curve.patients == 40
    assert np.abs(unseen - [curve.probability(c) for c in certainty]).max() < 0.1


def test_a_certainty_that_says_nothing_gives_the_share_and_one_that_lies_is_no_better():
    certainty, _, patients = _simulated(20, 20)
    curve, _ = fit_curve(certainty, certainty < 0.5, patients)
    assert curve.slope == 0
    assert curve.probability(0.9) == pytest.approx(np.mean(certainty < 0.5), abs=0.01)
    alone, _ = fit_curve(certainty, np.ones(len(certainty), dtype=bool), patients)
    assert alone.auc is None
    assert alone.probability(0.9) > 0.95


def test_too_little_is_refused():
    certainty, good, patients = _simulated(4, 50)
    with pytest.raises(DatalistError, match="4 patients"):
        fit_curve(certainty, good, patients)
    with pytest.raises(DatalistError, match="8 patients are too few"):
        fit_extent(np.full(80, 0.2), np.full(80, 0.3), list(np.repeat(np.arange(8), 10)))


def test_an_interval_holds_what_it_was_made_to_hold_of_the_next_patient():
    rng = np.random.default_rng(1)

    def draw(patients: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
        whose = np.repeat(np.arange(patients), rng.integers(1, 60, patients))
        spread = rng.uniform(0.05, 0.6, patients)[whose]  # patients differ
        said = rng.uniform(0, 0.5, whose.size)
        return said, np.clip(said + spread * (said + 0.02) * rng.standard_normal(whose.size), 0, 1), list(whose)

    held = []
    for _ in range(60):
        interval = fit_extent(*draw(25))
        said, true, whose = draw(40)
        within = [low <= t <= high for t, (low, high) in zip(true, map(interval.around, said), strict=True)]
        held.append(np.mean([np.mean(np.array(within)[np.array(whose) == p]) for p in range(40)]))
    assert np.mean(held) > 0.89
    assert np.mean(held) < 0.97
    assert interval.covered > 0.8
    assert 0 < interval.width < 1


def test_what_belongs_to_other_weights_is_warned_of_and_not_taken(weights: Path, caplog: pytest.LogCaptureFixture):
    MaskConfidence("sha256:0", 0.7, {"lesion": CURVE}).write(weights.with_suffix(".confidence.json"))
    data = {"pred": torch.ones(1, 4, 4), "probabilities": torch.full((1, 4, 4), 255, dtype=torch.uint8)}
    names = {0: "background", 1: "lesion"}
    assert MaskCertaintyd("pred", names, str(weights))(dict(data))["certainty"].confidence is None
    assert "other weights" in caplog.text
    with pytest.raises(ConfigError, match="pipelines confidence"):
        MaskCertaintyd("pred", names, str(weights), least=0.5)


def test_a_mask_of_more_parts_than_two_bytes_can_count() -> None:
    mask = np.zeros((520, 520), dtype=bool)
    mask[::2, ::2] = True
    means = part_means(np.full(mask.shape, 51, dtype=np.uint8), mask)
    assert set(np.unique(means)) == {0, 51}
    assert len(parts_of(mask.view(np.uint8), 1, means)) == 50
