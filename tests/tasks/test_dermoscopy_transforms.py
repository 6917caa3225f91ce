"""Looks drawn on pictures of skin lesions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from pipelines.preparation.drawing import stamp_discs
from pipelines.tasks.dermoscopy.looks import add_dark_corners, add_ink, add_marks, add_sticker, stamp_curves
from pipelines.tasks.dermoscopy.transforms import RandDarkCornersd, RandGlared, RandHaird, RandRulerd, RandSkinToned

LOOKS = [RandDarkCornersd, RandGlared, RandHaird, RandRulerd, RandSkinToned]


def make_case(width: int = 60, height: int = 44) -> dict[str, MetaTensor]:
    """Skin with a dark square in its middle, and as much noise as shows any change."""
    picture = torch.tensor([0.8, 0.6, 0.5])[:, None, None].repeat(1, width, height)
    label = torch.zeros(1, width, height, dtype=torch.uint8)
    label[:, width // 3 : width // 2, height // 3 : height // 2] = 1
    picture = picture * (1 - 0.5 * label) + 0.05 * torch.rand(3, width, height, generator=torch.manual_seed(0))
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    meta = {"filename_or_obj": "lesion.jpg"}
    return {"image": MetaTensor(picture, affine=affine, meta=meta), "label": MetaTensor(label, meta=dict(meta))}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_keeps_everything_but_the_colours(look):
    case = make_case()
    before, label = case["image"].clone(), case["label"].clone()
    for seed in range(10):
        drawn = look(["image"], prob=1.0).set_random_state(seed)(case)
        image = drawn["image"]
        assert isinstance(image, MetaTensor)
        assert image.dtype == torch.float32
        assert image.shape == before.shape
        assert image.meta["filename_or_obj"] == "lesion.jpg"
        assert torch.equal(image.affine, before.affine)
        assert 0 <= image.min() <= image.max() <= 1
        assert not torch.equal(image, before)
        assert drawn["label"] is case["label"]
    assert torch.equal(case["image"], before), "what was given has changed"
    assert torch.equal(case["label"], label)


@pytest.mark.parametrize("look", LOOKS)
def test_probability(look):
    case = make_case()
    never, half = look(["image"], prob=0.0).set_random_state(0), look(["image"], prob=0.5).set_random_state(0)
    assert all(never(case)["image"] is case["image"] for _ in range(20))
    assert 8 < sum(half(case)["image"] is not case["image"] for _ in range(40)) < 32


@pytest.mark.parametrize("look", LOOKS)
def test_same_seed_same_look(look):
    case = make_case()

    def draw(seed: int) -> torch.Tensor:
        chain = Compose([look(["image"], prob=1.0), look(["image"], prob=0.5)]).set_random_state(seed)
        return torch.stack([chain(case)["image"].as_tensor() for _ in range(3)])

    first = draw(3)
    assert torch.equal(first, draw(3))
    assert not torch.equal(first, draw(4))
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(("width", "height"), [(16, 16), (16, 90), (70, 17), (256, 192)])
def test_sizes(look, width, height):
    case = make_case(width, height)
    transform = look(["image"], prob=1.0).set_random_state(1)
    for _ in range(5):
        image = transform(case)["image"]
        assert image.shape == (3, width, height)
        assert bool(torch.isfinite(image).all())
        assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.parametrize("look", LOOKS)
def test_all_keys_get_the_same_and_may_be_plain_tensors(look):
    picture = make_case()["image"].as_tensor()
    drawn = look(["image", "again"], prob=1.0).set_random_state(0)({"image": picture, "again": picture.clone()})
    assert type(drawn["image"]) is torch.Tensor
    assert torch.equal(drawn["image"], drawn["again"])


def test_only_colour_pictures():
    with pytest.raises(ValueError, match=r"image must be an RGB picture"):
        RandGlared(["image"], prob=1.0)({"image": torch.zeros(1, 20, 20)})
    with pytest.raises(ValueError, match="fewest"):
        RandHaird(["image"], number=(5, 2))


def test_more_hairs_cover_more():
    case = make_case(96, 96)

    def changed(number: tuple[int, int]) -> float:
        hairs = RandHaird(["image"], prob=1.0, number=number).set_random_state(0)
        return np.mean([float((hairs(case)["image"] != case["image"]).any(0).float().mean()) for _ in range(10)])

    assert 0 < changed((1, 2)) < changed((10, 12)) < changed((40, 50)) < 0.9


@pytest.mark.parametrize("add", [add_ink, add_sticker])
def test_ink_and_stickers_keep_off_the_lesion(add):
    picture = np.full((3, 64, 80), 0.7, np.float32)
    lesion = np.zeros((64, 80), bool)
    lesion[20:45, 25:60] = True
    drawn = [add(picture, np.random.default_rng(seed), lesion) for seed in range(40)]
    assert all(np.array_equal(each[:, lesion], picture[:, lesion]) for each in drawn)
    assert sum(not np.array_equal(each, picture) for each in drawn) > 20
    everywhere = np.ones_like(lesion)
    assert all(np.array_equal(add(picture, np.random.default_rng(seed), everywhere), picture) for seed in range(5))


def test_the_frame_hides_little_of_the_lesion():
    picture = np.ones((3, 60, 80), np.float32)
    lesion = np.zeros((60, 80), bool)
    lesion[10:50, 15:65] = True
    frames = [add_dark_corners(picture, np.random.default_rng(seed), lesion) for seed in range(40)]
    assert max(np.mean(each[0, lesion] < 0.3) for each in frames) <= 0.03
    assert np.mean([each[0, 0, 0] < 0.3 for each in frames]) > 0.5


def test_the_label_is_asked_where_it_is_named():
    case = make_case()
    case["label"][:] = 1
    same = RandDarkCornersd(["image"], prob=1.0, label_key="label").set_random_state(0)(case)["image"]
    assert (same < 0.3).float().mean() < 0.05
    rulers = RandRulerd(["image"], prob=1.0, label_key="label").set_random_state(0)
    share = [float((rulers(case)["image"] != case["image"]).float().mean()) for _ in range(30)]
    assert max(share) < 0.35  # ticks, but neither paper nor ink nor stickers


def test_marks_always_mark():
    picture = np.full((3, 40, 40), 0.5, np.float32)
    assert all(not np.array_equal(add_marks(picture, np.random.default_rng(seed)), picture) for seed in range(30))


def test_discs_and_curves():
    disc = stamp_discs((21, 31), [[10, 15], [-50, 3]], 4.0, 0.5)
    assert disc[10, 15] == disc.max() == 0.5
    assert disc.sum() == pytest.approx(0.5 * np.pi * 4**2, rel=0.03)
    assert stamp_discs((5, 5), np.zeros((0, 2)), 1.0, 1.0).sum() == 0
    assert stamp_discs((5, 5), [[2, 2]], 0.25, 1.0).max() == pytest.approx(0.5)  # thin ones pale
    line = stamp_curves((20, 40), [[[10, 5], [10, 15], [10, 25], [10, 35]]], 1.5, 1.0)
    assert line[10, 5:36].min() == pytest.approx(1.0)
    assert line[:, 20].sum() == pytest.approx(3.0, rel=0.1)
