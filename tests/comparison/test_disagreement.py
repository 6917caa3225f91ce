"""The pictures of cases on which networks disagree: the outline lies on its image."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from pipelines.comparison.disagreement import _slice_with_most
from pipelines.datasets import make_lung_phantom


def test_the_outline_of_a_label_stored_along_other_axes_lies_on_its_image(tmp_path):
    phantom = make_lung_phantom(5, size=48, slices=7)
    nib.save(nib.Nifti1Image(phantom.array.astype(np.int16), phantom.affine), tmp_path / "image.nii")
    label = nib.Nifti1Image(phantom.label, phantom.affine)
    nib.save(label, tmp_path / "same.nii")
    nib.save(nib.as_closest_canonical(label), tmp_path / "turned.nii")
    same, turned = (
        _slice_with_most({"image": tmp_path / "image.nii", "label": tmp_path / name}, "lesion_dice")
        for name in ("same.nii", "turned.nii")
    )
    assert same[1].any()
    np.testing.assert_array_equal(same[0], turned[0])
    np.testing.assert_array_equal(same[1], turned[1])
