"""A mask as a NIfTI image on the grid of what was segmented."""

from __future__ import annotations

from typing import cast

import nibabel as nib
import numpy as np

from pipelines.readers import CaseImage


def mask_image(mask: np.ndarray, case: CaseImage, highest: int) -> nib.Nifti1Image:
    """The mask as NIfTI; from a NIfTI input it takes the shape (2D, 4D of one), affine and codes over exactly."""
    source = case.source
    if source is None and case.path.name.endswith((".nii", ".nii.gz")) and case.path.is_file():  # it may lie elsewhere
        source = cast(nib.Nifti1Image, nib.load(case.path))
    if source is None:
        image = nib.Nifti1Image(mask, case.affine)
        image.header.set_xyzt_units("mm")
        return image
    header = source.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, highest
    return nib.Nifti1Image(mask.reshape(source.shape), source.affine, header)
