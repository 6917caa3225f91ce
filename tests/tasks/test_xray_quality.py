"""Chest X-rays of a contrast, exposure, sharpness or noise that training did not have are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.tasks.chest_xray.quality import measure_xray, xray_doubts

PICTURES = (
    "NORMAL/IM-0274-0001.jpeg",
    "PNEUMONIA/person105_virus_192.jpeg",
    "PNEUMONIA/person29_bacteria_144.jpeg",
)


def squeezed(grey: np.ndarray, levels: float) -> np.ndarray:
    dark, light = np.percentile(grey, [2, 98])
    return np.clip((grey - dark) / (light - dark), -0.1, 1.1) * levels + 128 - levels / 2


def noisy(grey: np.ndarray, levels: float) -> np.ndarray:
    return grey + np.random.default_rng(0).normal(0, levels, grey.shape)


def eight_bits(grey: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(grey, 0, 255)).astype(np.float32)


SPOILT: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "30 levels": (lambda grey: squeezed(grey, 30), "low contrast: "),
    "60 levels": (lambda grey: squeezed(grey, 60), "low contrast: "),
    "77 levels": (lambda grey: squeezed(grey, 77), "low contrast: "),
    "too dark": (lambda grey: grey - 140, "exposure"),
    "too bright": (lambda grey: grey + 140, "exposure"),
    "gamma 5": (lambda grey: 255 * (grey / 255) ** 5, "exposure"),
    "gamma 0.2": (lambda grey: 255 * (grey / 255) ** 0.2, "exposure"),
    "blur": (lambda grey: ndimage.gaussian_filter(grey, 4 * grey.shape[0] / 224), "blur"),
    "noise": (lambda grey: noisy(grey, 30), "noise"),
}


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return make_chest_xray_phantom(0, 224, pneumonia=True).picture.T.astype(np.float32)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[np.ndarray]:
    folder = shared_data / "chest_xray" / "train"
    return [np.asarray(Image.open(folder / name).convert("L")).T.astype(np.float32) for name in PICTURES]


@pytest.mark.parametrize("how", SPOILT)
def test_a_drawing_that_is_spoilt_is_named(drawn: np.ndarray, how: str) -> None:
    change, words = SPOILT[how]
    assert any(doubt.startswith(words) for doubt in xray_doubts(eight_bits(change(drawn))))


def test_real_pictures_as_they_are_raise_no_doubt(real: list[np.ndarray]) -> None:
    assert [xray_doubts(grey) for grey in real] == [[], [], []]


@pytest.mark.parametrize("how", SPOILT)
def test_real_pictures_that_are_spoilt_are_named(real: list[np.ndarray], how: str) -> None:
    change, words = SPOILT[how]
    for grey in real:
        assert any(doubt.startswith(words) for doubt in xray_doubts(eight_bits(change(grey))))


def test_small_changes_of_real_pictures_raise_no_doubt(real: list[np.ndarray]) -> None:
    for grey in real:
        for changed in (squeezed(grey, 150), grey + 15, grey - 15, noisy(grey, 2), ndimage.gaussian_filter(grey, 0.4)):
            assert xray_doubts(eight_bits(changed)) == []


def test_what_is_measured_does_not_depend_on_the_size_of_the_picture(real: list[np.ndarray]) -> None:
    for grey in real:
        large = np.kron(grey, np.ones((3, 3), np.float32))
        assert measure_xray(large) == measure_xray(grey)


def test_measures_of_known_pictures() -> None:
    ramp = np.tile(np.linspace(0, 255, 224, dtype=np.float32)[:, None], (1, 224))
    found = measure_xray(ramp)
    assert found.contrast == pytest.approx(0.96 * 255, abs=2)
    assert found.middle == pytest.approx(0.5, abs=0.01)
    assert found.noise == pytest.approx(0, abs=1e-3)
    flat = 128 + np.random.default_rng(0).normal(0, 5, (224, 224)).astype(np.float32)
    noise = measure_xray(flat)
    assert noise.noise * noise.contrast / 100 == pytest.approx(5, rel=0.03), "the estimate is that of the noise put in"
    half = np.where(ramp > 127, 255, 0).astype(np.float32)
    assert measure_xray(half).black == pytest.approx(0.5, abs=0.01)
