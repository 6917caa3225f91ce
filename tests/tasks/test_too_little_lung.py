"""Slices with too little aerated lung are left to a person."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor

from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.too_little_lung import TooLittleLung


def test_a_slice_without_lung_is_in_doubt_by_its_place_from_the_feet(tmp_path: Path) -> None:
    values = make_lung_phantom(size=96, slices=8, seed=3, extent=0.0).array.astype(np.float32)
    values[:, :, 2] = np.where(values[:, :, 2] < -500, 40, values[:, :, 2])  # tissue wherever there was air
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values[:, :, ::-1], np.diag([-1.0, -1.0, -5.0, 1.0])), path)  # head first
    image = MetaTensor(torch.zeros(1, 4, 4, 8), meta={"filename_or_obj": str(path)})
    doubtful = TooLittleLung()({"image": image})
    assert doubtful.shape == (8,)
    assert doubtful[2]
    assert not doubtful[[3, 4]].any()
