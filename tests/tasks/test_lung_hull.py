"""Lesion away from the lungs is none; consolidated lung is."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.tasks.lung_ct.lung_hull import lesion_away_from_lungs
from pipelines.tasks.lung_ct.phantom import make_lung_phantom


def two_lungs(slices: int = 1) -> NDArray[np.uint8]:
    labels = np.zeros((100, 80, slices), np.uint8)
    labels[10:35, 15:65] = labels[60:85, 15:65] = 1
    return labels


@pytest.mark.parametrize("slices", [1, 6])
def test_lesion_in_chest_wall_and_heart_goes(slices: int) -> None:
    labels = two_lungs(slices)
    labels[45:49, 30:50] = 2  # between the lungs: no one lung's hull
    labels[92:96, 20:30] = 2  # in the chest wall
    labels[12:20, 20:30] = 2
    away = lesion_away_from_lungs(labels)
    assert away[45:49, 30:50].all()
    assert away[92:96, 20:30].all()
    assert away.sum() == (4 * 20 + 4 * 10) * slices


def test_what_hangs_together_with_a_lung_stays() -> None:
    labels = two_lungs()
    labels[10:35, 65:78] = 2  # a lobe that is wholly lesion
    labels[5:10, 20:60] = 2  # along the chest wall
    assert not lesion_away_from_lungs(labels).any()


def test_a_lung_without_air_stays() -> None:
    labels = two_lungs()
    labels[60:85, 15:65] = 2
    assert not lesion_away_from_lungs(labels).any()


def test_lesion_in_a_notch_of_a_lung_stays() -> None:
    """Within the hull: a lesion with a margin of tissue that the network missed."""
    labels = two_lungs()
    labels[10:30, 30:50] = 0
    labels[12:22, 35:45] = 2
    assert not lesion_away_from_lungs(labels).any()


def test_what_hangs_together_in_another_slice_stays() -> None:
    labels = two_lungs(4)
    labels[45:49, 30:50] = 2
    labels[35:49, 30:34, 2] = 2  # a bridge to the lung
    assert not lesion_away_from_lungs(labels).any()


def test_without_lung_nothing_is_away() -> None:
    labels = np.zeros((40, 40, 1), np.uint8)
    labels[5:10, 5:10] = 2
    assert not lesion_away_from_lungs(labels).any()


def test_large_volumes_are_looked_at_coarsely() -> None:
    labels = two_lungs(3).repeat(5, axis=0).repeat(5, axis=1)[:487, :391]
    labels[460:466, 100:140] = 2
    away = lesion_away_from_lungs(labels)
    assert np.array_equal(away, labels == 2)


@pytest.mark.parametrize("extent", [0.1, 0.6])
def test_phantoms_lose_nothing(extent: float) -> None:
    label = make_lung_phantom(2, 128, 20, extent).label
    assert not lesion_away_from_lungs(label).any()
    for z in range(20):
        assert lesion_away_from_lungs(label[:, :, z : z + 1]).sum() <= 0.01 * (label[:, :, z] == 2).sum()


def test_real_lesions_stay(shared_data: Path) -> None:
    """Radiologists' outlines of COVID-19-CT-Seg, every tenth slice as a picture."""
    folder = shared_data / "covid_ct_seg"
    if not folder.is_dir():
        pytest.skip("covid_ct_seg is not among the real images")
    with (folder / "slices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[::10]
    for row in rows:
        masks = [folder / row["form"] / f"{kind}_masks" for kind in ("lung", "lesion")]
        paths = [next(mask.glob(f"{Path(row['image']).stem}.*")) for mask in masks]
        lung, lesion = (np.asarray(Image.open(path).convert("L")) > 127 for path in paths)
        labels = np.where(lesion, 2, lung).astype(np.uint8)[..., None]
        # a speck of 18 pixels in one slice of 1,640 is all that is ever lost
        assert lesion_away_from_lungs(labels).sum() <= 0.005 * lesion.sum(), row["image"]
