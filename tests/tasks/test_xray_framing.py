"""Pictures cropped to their lungs by a transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipelines.tasks.chest_xray.framing import FrameLungsd
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom


@pytest.mark.parametrize("shape", [(300, 200), (224, 224)])
def test_a_picture_without_lungs_stays_whole(shape: tuple[int, int]) -> None:
    picture = torch.linspace(0, 1, shape[0])[None, :, None].expand(1, *shape)
    change = FrameLungsd("image")
    change.frame.lungs = lambda x: torch.zeros(1, 1, 96, 96)  # type: ignore[method-assign]
    framed = change({"image": MetaTensor(picture), "label": 1})
    assert framed["label"] == 1
    assert framed["image"].shape == (1, 224, 224)
    assert framed["image"][0, :, 7] == pytest.approx(torch.linspace(0, 1, 224), abs=0.01)


def test_lungs_fill_the_frame() -> None:
    change = FrameLungsd("image", margin=0.0)
    found = torch.zeros(1, 1, 96, 96)
    found[0, 0, 24:44, 24:72] = found[0, 0, 52:72, 24:72] = 1
    change.frame.lungs = lambda x: found  # type: ignore[method-assign]
    ramp = torch.linspace(0, 1, 224)[None, :, None].expand(1, 224, 224)
    framed = change({"image": ramp})["image"]
    assert framed[0, 0, 100].item() == pytest.approx(0.25, abs=0.02)
    assert framed[0, -1, 100].item() == pytest.approx(0.75, abs=0.02)


def test_the_shipped_weights_find_the_lungs_of_a_drawing() -> None:
    drawn = make_chest_xray_phantom(0, 224, pneumonia=False)
    picture = torch.from_numpy(drawn.picture / np.float32(255)).T[None, None]
    frame = FrameLungsd("image").frame
    box, found = frame.boxes(frame.lungs(picture))
    assert found.item()
    width, height = box[0, 1] - box[0, 0], box[0, 3] - box[0, 2]
    assert 0.4 < width.item() < 1
    assert 0.3 < height.item() < 1


def test_an_even_picture_has_no_lungs() -> None:
    frame = FrameLungsd("image").frame
    assert not frame.boxes(frame.lungs(torch.zeros(1, 1, 224, 224)))[1].item()
