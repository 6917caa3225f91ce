"""Pictures to read as chest X-rays: a phantom, and clouds that are none."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom


def chest(seed: int = 0, size: tuple[int, int] = (120, 90), pneumonia: bool = False) -> np.ndarray:
    """uint8 (rows, columns)."""
    drawn = Image.fromarray(make_chest_xray_phantom(seed, max(size), pneumonia).picture)
    return np.asarray(drawn.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def clouds(seed: int = 0, rows: int = 160, columns: int = 120) -> np.ndarray:
    """uint8 (rows, columns)."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 9), dtype=np.uint8))
    return np.asarray(coarse.resize((columns, rows), Image.Resampling.BICUBIC))
