"""The frame around the lungs: where it lies, what it leaves of a picture, and the way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipelines.errors import WeightsError
from pipelines.networks import LungFrame, LungFramedClassifier
from pipelines.networks.lung_frame import LUNG_SIZE, between


def lungs(*places: tuple[slice, slice]) -> Tensor:
    """Probabilities of lung, 1 x 1 x S x S, one in the places (columns, rows)."""
    chance = torch.zeros(1, 1, LUNG_SIZE, LUNG_SIZE)
    for columns, rows in places:
        chance[0, 0, columns, rows] = 1
    return chance


LEFT, RIGHT = (slice(12, 36), slice(24, 72)), (slice(48, 84), slice(24, 60))


def test_box_holds_both_lungs_and_the_margin() -> None:
    box, found = LungFrame(margin=0.0).boxes(lungs(LEFT, RIGHT))
    assert found.tolist() == [True]
    assert box[0].numpy() == pytest.approx(np.array([12, 84, 24, 72]) / LUNG_SIZE, abs=1.01 / LUNG_SIZE)
    wider, _ = LungFrame(margin=0.1).boxes(lungs(LEFT, RIGHT))
    assert (wider - box)[0].numpy() == pytest.approx(np.array([-72, 72, -48, 48]) / 960, abs=0.002)


def test_a_speck_moves_no_edge() -> None:
    speck = (slice(0, 2), slice(90, 92))
    frame = LungFrame()
    assert torch.allclose(frame.boxes(lungs(LEFT, RIGHT, speck))[0], frame.boxes(lungs(LEFT, RIGHT))[0], atol=0.02)


@pytest.mark.parametrize(
    "places",
    [(), (LEFT,), ((slice(40, 48), slice(40, 48)), (slice(52, 60), slice(40, 48)))],
    ids=["nothing", "one", "tiny"],
)
def test_without_two_lungs_the_whole_picture_is_kept(places: tuple[tuple[slice, slice], ...]) -> None:
    frame = LungFrame(mask=True)
    frame.lungs = lambda x: lungs(*places)  # type: ignore[method-assign]
    box, found = frame.boxes(lungs(*places))
    picture = torch.rand(1, 1, 64, 48)
    assert found.tolist() == [False]
    assert box.tolist() == [[0, 1, 0, 1]]
    assert torch.allclose(frame(picture), picture, atol=1e-5)


@pytest.mark.parametrize("axis", [2, 3], ids=["across", "down"])
def test_what_is_seen_is_the_box(axis: int) -> None:
    frame = LungFrame(margin=0.0)
    frame.lungs = lambda x: lungs(LEFT, RIGHT)  # type: ignore[method-assign]
    place = (torch.arange(192) + 0.5) / 192
    ramp = place.reshape([192 if each == axis else 1 for each in range(4)]).expand(1, 1, 192, 192)
    first, last = ((12, 84), (24, 72))[axis - 2]
    framed = frame(ramp).select(5 - axis, 5).flatten()
    assert framed[0].item() == pytest.approx(first / LUNG_SIZE, abs=0.015)
    assert framed[-1].item() == pytest.approx(last / LUNG_SIZE, abs=0.015)


def test_what_is_found_in_the_frame_is_shown_where_it_lies() -> None:
    frame = LungFrame(margin=0.0)
    box, _ = frame.boxes(lungs(LEFT, RIGHT))
    shown = frame.unframed(torch.ones(1, 1, 96, 96), box)[0, 0]
    assert shown[14:82, 26:70].min() == pytest.approx(1)
    assert shown[:10].max() == shown[86:].max() == shown[:, :22].max() == shown[:, 74:].max() == 0


def test_the_mask_blanks_what_lies_beside_the_lungs_and_not_between_them() -> None:
    seen = between(lungs(LEFT, RIGHT))[0, 0]
    assert seen[12:84, 30].min() == 1  # both lungs and the mediastinum
    assert seen[:12, 30].max() == seen[84:, 30].max() == 0
    assert seen[40, 65] == 0  # below the right lung
    frame = LungFrame(margin=0.3, mask=True)
    frame.lungs = lambda x: lungs(LEFT, RIGHT)  # type: ignore[method-assign]
    framed = frame(torch.ones(1, 1, 96, 96))
    assert framed[0, 0, 0, 0] == 0.5
    assert framed[0, 0, 48, 40] == 1


def test_the_frame_holds_still() -> None:
    network = LungFramedClassifier().train()
    assert not network.frame.network.training
    network(torch.rand(2, 1, 64, 64)).sum().backward()
    assert all(parameter.grad is None for parameter in network.frame.parameters())
    assert network.classifier.classifier[1].weight.grad is not None  # type: ignore[index, union-attr]


def test_other_weights_are_no_lung_network(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not those of the lung network"):
        LungFrame().load(tmp_path / "other.safetensors")


def test_margin_is_a_part() -> None:
    with pytest.raises(ValueError, match="margin must be"):
        LungFrame(margin=2)
