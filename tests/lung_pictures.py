"""Pictures of slices of phantoms, no two equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.phantom import make_lung_phantom


def draw(folder: Path, number: int, size: int = 64) -> None:
    """Make a folder with ``p000.png`` and so on, `number` of them."""
    folder.mkdir()
    phantoms = [make_lung_phantom(seed, size=size, slices=9).array for seed in range(min(6, number))]
    for index in range(number):
        plane = phantoms[index % 6][:, :, 3 + index % 4]
        grey = (scale_ct(plane, "hu") * 255).astype(np.uint8).T
        grey[0, 0] = index % 256
        Image.fromarray(grey).save(folder / f"p{index:03d}.png")
