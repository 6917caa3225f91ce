"""Phantoms of skin lesions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipelines.errors import UsageError
from pipelines.tasks.dermoscopy.phantom import DermoscopyPhantom, contrast, make_dermoscopy_phantom

WIDTH, HEIGHT = 96, 72


@pytest.fixture(scope="module")
def phantoms() -> list[DermoscopyPhantom]:
    return [make_dermoscopy_phantom(seed, WIDTH, HEIGHT) for seed in range(60)]


@pytest.fixture(scope="module")
def bare() -> list[DermoscopyPhantom]:
    return [make_dermoscopy_phantom(seed, WIDTH, HEIGHT, artefacts=False) for seed in range(60)]


def as_array(phantom: DermoscopyPhantom) -> np.ndarray:
    return np.moveaxis(phantom.picture.astype(np.float32) / 255, -1, 0)


def test_same_seed_same_bytes(phantoms):
    for seed in (0, 7, 31):
        again = make_dermoscopy_phantom(seed, WIDTH, HEIGHT)
        assert again.picture.tobytes() == phantoms[seed].picture.tobytes()
        assert again.mask.tobytes() == phantoms[seed].mask.tobytes()
        assert (again.diagnosis, again.seed) == (phantoms[seed].diagnosis, seed)


def test_other_seeds_other_lesions(phantoms):
    assert len({each.picture.tobytes() for each in phantoms}) == len(phantoms)
    assert len({each.mask.tobytes() for each in phantoms}) == len(phantoms)


def test_form(phantoms):
    for each in phantoms:
        assert each.picture.shape == (HEIGHT, WIDTH, 3)
        assert each.picture.dtype == np.uint8
        assert each.mask.shape == (HEIGHT, WIDTH)
        assert each.mask.dtype == bool


def test_a_lesion_is_one_piece_without_holes_and_neither_tiny_nor_everything(phantoms):
    areas = [each.mask.mean() for each in phantoms]
    assert min(areas) >= 0.018
    assert max(areas) <= 0.71
    assert 0.12 < np.median(areas) < 0.3
    for each in phantoms:
        assert ndimage.label(each.mask)[1] == 1
        assert np.array_equal(ndimage.binary_fill_holes(each.mask), each.mask)
    cut = [each.mask[[0, -1]].any() or each.mask[:, [0, -1]].any() for each in phantoms]
    assert 0.05 < np.mean(cut) < 0.7


def test_about_one_in_five_is_malignant_and_those_are_less_regular(phantoms):
    malignant = np.array([each.diagnosis == "malignant" for each in phantoms])
    assert {each.diagnosis for each in phantoms} == {"benign", "malignant"}
    assert 0.08 < malignant.mean() < 0.35

    def roughness(mask: np.ndarray) -> float:  # 1 for a disc
        rim = np.count_nonzero(mask & ~ndimage.binary_erosion(mask, border_value=1))
        return rim / np.sqrt(4 * np.pi * np.count_nonzero(mask))

    rough = np.array([roughness(each.mask) for each in phantoms])
    assert rough[malignant].mean() > rough[~malignant].mean()


def test_a_lesion_can_be_seen(bare):
    assert min(contrast(as_array(each), each.mask) for each in bare) > 6
    darker = [each.picture[each.mask].mean() < each.picture[~each.mask].mean() for each in bare]
    assert np.mean(darker) > 0.95


def test_artefacts_do_not_move_the_lesion(phantoms, bare):
    for marked, plain in zip(phantoms, bare, strict=True):
        assert np.array_equal(marked.mask, plain.mask)
        assert marked.diagnosis == plain.diagnosis
    differ = [not np.array_equal(marked.picture, plain.picture) for marked, plain in zip(phantoms, bare, strict=True)]
    assert 0.5 < np.mean(differ) < 0.95


@pytest.mark.parametrize(("width", "height"), [(64, 48), (48, 48), (48, 90), (320, 100)])
def test_sizes(width, height):
    for seed in range(5):
        phantom = make_dermoscopy_phantom(seed, width, height)
        assert phantom.picture.shape == (height, width, 3)
        assert 0.015 < phantom.mask.mean() < 0.71


@pytest.mark.parametrize(("seed", "width", "height"), [(0, 47, 64), (0, 64, 20), (-1, 64, 64)])
def test_what_cannot_be_drawn(seed, width, height):
    with pytest.raises(UsageError, match="48 pixels"):
        make_dermoscopy_phantom(seed, width, height)
