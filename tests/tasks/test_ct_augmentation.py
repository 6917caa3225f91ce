"""Random windows and random equalisation: within 0..1, obedient to the seed, and what they say they are."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from pipelines.tasks.lung_ct.transforms import RandEqualizeContrastd, RandWindowd


def image() -> MetaTensor:
    ramp = torch.linspace(0, 0.9, 256 * 192).reshape(1, 256, 192)
    return MetaTensor(ramp + 0.1 * torch.rand(1, 256, 192, generator=torch.Generator().manual_seed(3)) ** 4)


def test_a_window_is_linear_between_black_and_white() -> None:
    step = RandWindowd("image", prob=1.0, centre=(0.4, 0.4), width=(0.5, 0.5))
    found = step({"image": image()})["image"]
    assert torch.allclose(found, ((image() - 0.4) / 0.5 + 0.5).clip(0, 1))
    assert isinstance(found, MetaTensor)
    unchanged = RandWindowd("image", prob=1.0, centre=(0.5, 0.5), width=(1, 1))({"image": image()})["image"]
    assert torch.allclose(unchanged, image(), atol=1e-6)


@pytest.mark.parametrize("options", [{"centre": (0.6, 0.4)}, {"width": (0, 1)}, {"width": (2, 1)}], ids=str)
def test_windows_that_cannot_be(options: dict) -> None:
    with pytest.raises(ValueError, match="must be ranges"):
        RandWindowd("image", **options)


@pytest.mark.parametrize("step", [RandWindowd("image", prob=1.0), RandEqualizeContrastd("image", prob=1.0)])
def test_the_seed_decides(step: RandWindowd | RandEqualizeContrastd) -> None:
    found = []
    for seed in (1, 1, 2):
        step.set_random_state(seed=seed)
        found.append(step({"image": image()})["image"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert all(0 <= float(each.min()) <= float(each.max()) <= 1 for each in found)


def test_equalising_raises_contrast_where_there_is_little() -> None:
    dull = image()
    dull[:, :128] = 0.5 + 0.02 * torch.rand(1, 128, 192, generator=torch.Generator().manual_seed(0))
    found = RandEqualizeContrastd("image", prob=1.0, clip_limit=(0.03, 0.03))({"image": dull})["image"]
    assert float(found[:, :128].std()) > 3 * float(dull[:, :128].std())
    flat = RandEqualizeContrastd("image", prob=1.0)({"image": torch.full((1, 32, 32), 0.3)})["image"]
    assert torch.allclose(flat, torch.tensor(0.3)), "a picture of one grey stays"
