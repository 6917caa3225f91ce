"""The resolution and the window that suit the volumes that there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

_LARGEST, _STEP = 96, 16  # voxels a side of a window
_LOOKED_AT = 50  # volumes


def volume_knobs(images: Sequence[Path]) -> dict[str, str]:
    """``spacing`` and ``roi_size`` as a config says them.

    The spacing is the median of the volumes', to the right, front and top (as nnU-Net's, Isensee et al.,
    https://doi.org/10.1038/s41592-020-01008-z); the window has at most 96 voxels a side, and no more than the median
    volume needs. Without volumes: their own spacing, and 96.
    """
    if not images:
        return {"spacing": "null", "roi_size": str([_LARGEST] * 3)}
    grids = [_grid(path) for path in images[:_LOOKED_AT]]
    spacing = np.median([spacing for spacing, _ in grids], axis=0)
    voxels = np.median([length / spacing for _, length in grids], axis=0)
    sides = np.clip(np.ceil(voxels / _STEP) * _STEP, _STEP, _LARGEST).astype(int)
    return {"spacing": str([float(f"{each:.4g}") for each in spacing]), "roi_size": str(sides.tolist())}


def _grid(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres a voxel, and of the whole, along the axes nearest to right, front and top."""
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)  # what is prepared is
    order = nib.orientations.io_orientation(image.affine)[:, 0].astype(int)  # of each voxel axis, where it goes
    steps, shape = np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0)), np.asarray(image.shape[:3])
    spacing, length = np.empty(3), np.empty(3)
    spacing[order], length[order] = steps, steps * shape
    return spacing, length
