"""Derived lungs and the chest's frame on drawn slices whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.draw import disk, ellipse

from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.lungs import aerated_share, body_mask, derive_lung_mask
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.transforms import select_chest


def draw_slice(size: int = 200, *, cropped: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A slice (X, Y) 0..1: body with two lungs, a trachea and a table under it; and the lungs' truth."""
    image = np.zeros((size, size), np.float32)
    lungs = np.zeros_like(image, bool)
    image[ellipse(size / 2, size / 2, size * 0.42, size * 0.33)] = 0.75
    image[: size // 2 + 60, int(size * 0.93) :] = 0.6  # the table
    for x in (0.3, 0.7):
        lungs[ellipse(size * x, size * 0.5, size * 0.15, size * 0.22)] = True
    image[lungs] = 0.12
    image[disk((size * 0.5, size * 0.42), size * 0.035)] = 0.0
    if cropped:
        box = np.s_[int(size * 0.16) : int(size * 0.84), int(size * 0.3) : int(size * 0.7)]
        return image[box].copy(), lungs[box].copy()
    return image, lungs


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("cropped", [False, True], ids=["whole", "cropped to the lungs"])
def test_finds_both_lungs_but_neither_trachea_nor_room_air(cropped):
    image, lungs = draw_slice(cropped=cropped)
    found = derive_lung_mask(image[..., None])[..., 0]
    assert dice(found, lungs) > 0.97
    if not cropped:
        assert not found[100, 84]  # trachea
        assert not found[2, 2]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_does_not_depend_on_how_the_picture_is_turned(turn):
    image, _ = draw_slice()
    assert (
        dice(
            np.rot90(derive_lung_mask(image[..., None])[..., 0], turn),
            derive_lung_mask(np.rot90(image, turn)[..., None])[..., 0],
        )
        > 0.99
    )


def test_keeps_vessels_and_a_dense_lesion_inside():
    image, lungs = draw_slice()
    image[disk((60, 100), 3)] = 0.8  # a vessel across
    lesion = np.zeros_like(lungs)
    lesion[ellipse(140, 136, 12, 8)] = True  # consolidation at the pleura
    lesion &= lungs
    image[lesion] = 0.75
    found = derive_lung_mask(image[..., None], lesion[..., None])[..., 0]
    assert found[60, 100]
    assert (found & lesion).sum() == lesion.sum()
    assert dice(found, lungs) > 0.96


def test_no_lung_where_there_is_none():
    image, lungs = draw_slice()
    image[lungs] = 0.75
    image[disk((100, 84), 10)] = 0.75
    assert not derive_lung_mask(image[..., None]).any()
    assert not derive_lung_mask(np.zeros((64, 64, 2), np.float32)).any()


def test_the_body_leaves_out_the_table():
    image, _ = draw_slice()
    body = body_mask(image[..., None])[..., 0]
    assert body[100, 100]
    assert not body[50, 195]


def test_a_scan_is_framed_by_its_lungs():
    image, lungs = draw_slice()
    volume = torch.from_numpy(np.stack([image] * 5, axis=-1))[None]
    keep = select_chest(volume)[0, :, :, 2].numpy()
    xs, ys = np.flatnonzero(keep.any(1)), np.flatnonzero(keep.any(0))
    lx, ly = np.flatnonzero(lungs.any(1)), np.flatnonzero(lungs.any(0))
    for low, high, lung_low, lung_high in ((xs[0], xs[-1], lx[0], lx[-1]), (ys[0], ys[-1], ly[0], ly[-1])):
        assert lung_low - 16 <= low <= lung_low
        assert lung_high <= high <= lung_high + 16


def test_a_picture_cut_by_its_lungs_is_not_cropped():
    cropped, _ = draw_slice(cropped=True)
    cropped = cropped[8:-8]  # both lungs now touch an edge
    assert select_chest(torch.from_numpy(cropped)[None, ..., None]).all()


def test_a_lung_that_is_wholly_opaque_stays_in_the_frame():
    image, lungs = draw_slice()
    opaque = lungs.copy()
    opaque[:100] = False
    image[opaque] = 0.75
    keep = select_chest(torch.from_numpy(np.stack([image] * 5, axis=-1))[None])[0, :, :, 2].numpy()
    assert keep[opaque].all()


def test_nothing_to_see_is_not_cropped():
    assert select_chest(torch.zeros(1, 40, 50, 3)).all()


def test_gas_in_an_abdomen_is_no_lung():
    phantom = make_lung_phantom(3, size=128, slices=14)
    scaled = scale_ct(phantom.array.astype(np.float32), "hu")
    shares = aerated_share(scaled)
    true = (phantom.label > 0).mean(axis=(0, 1))
    assert shares == pytest.approx(true, abs=0.03)
    without = np.flatnonzero(true == 0)
    assert without.size > 1
    assert shares[without].max() < 0.005, "stomach and bowel hold gas there"


@pytest.mark.parametrize("border", [1, 3, 20])
def test_a_black_border_around_a_cropped_picture_changes_nothing(border: int) -> None:
    """Lungs that touch the picture's edge, and so the border, are no air around the body."""
    picture = np.full((60, 80, 1), 0.75)
    picture[6:28, 0:70] = picture[32:54, 8:80] = 0.15
    padded = np.pad(picture, ((border, border), (border, border), (0, 0)))
    inner = np.s_[border:-border, border:-border]
    lungs = derive_lung_mask(picture)
    assert lungs.mean() > 0.5
    assert (derive_lung_mask(padded)[inner] == lungs).mean() > 0.98
    assert body_mask(padded)[inner].mean() > 0.95
