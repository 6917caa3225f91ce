"""Pictures cropped to their lungs by a transform."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from pipelines.tasks.chest_xray.framing import FrameLungsd


@pytest.mark.parametrize("shape", [(300, 200), (224, 224)])
def test_a_picture_without_lungs_stays_whole(shape: tuple[int, int]) -> None:
    picture = torch.linspace(0, 1, shape[0])[None, :, None].expand(1, *shape)
    framed = FrameLungsd("image")({"image": MetaTensor(picture), "label": 1})
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
