"""The resolution and the window that a bundle of volumes begins with."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from pipelines.starting.volume_sizes import volume_knobs


def stored(path: Path, shape: tuple[int, int, int], axes: str, spacing: tuple[float, float, float]) -> Path:
    """A volume of ``shape`` voxels to the right, front and top, its axes stored in another order."""
    plain = nib.Nifti1Image(np.zeros(shape, np.int16), np.diag([*spacing, 1.0]))
    start, end = (nib.orientations.axcodes2ornt(each) for each in ("RAS", axes))
    nib.save(plain.as_reoriented(nib.orientations.ornt_transform(start, end)), path)
    return path


def test_the_median_whatever_the_order_of_the_axes(tmp_path: Path) -> None:
    images = [
        stored(tmp_path / "a.nii.gz", (60, 40, 20), "RAS", (1.0, 1.0, 3.0)),
        stored(tmp_path / "b.nii.gz", (60, 40, 20), "SPL", (1.0, 1.0, 3.0)),
        stored(tmp_path / "c.nii.gz", (300, 300, 300), "AIR", (0.5, 0.5, 1.0)),
    ]
    assert volume_knobs(images[:2]) == {"spacing": "[1.0, 1.0, 3.0]", "roi_size": "[64, 48, 32]"}
    assert volume_knobs(images) == {"spacing": "[1.0, 1.0, 3.0]", "roi_size": "[64, 48, 32]"}
    assert volume_knobs(images[2:]) == {"spacing": "[0.5, 0.5, 1.0]", "roi_size": "[96, 96, 96]"}


def test_without_volumes_nothing_is_resampled() -> None:
    assert volume_knobs([]) == {"spacing": "null", "roi_size": "[96, 96, 96]"}
