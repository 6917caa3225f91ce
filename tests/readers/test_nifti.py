from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from pipelines.readers import read_case

OBLIQUE = np.array([[0, -0.7, 0, 5.0], [-0.6, 0, 0, 6.0], [0, 0, 2.5, -7.0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz", "CASE.NII.GZ"])
@pytest.mark.parametrize("affine", [np.diag([-0.7, -0.7, 2.0, 1.0]), np.diag([0.7, 0.8, -2.0, 1.0]), OBLIQUE])
def test_voxels_and_affine(write_nifti, ct, affine, name):
    case = read_case(write_nifti(ct, affine, name="x" + name[-7:].lower()).rename(write_nifti(ct).parent / name))
    np.testing.assert_array_equal(case.array, ct)
    np.testing.assert_allclose(case.affine, affine, atol=1e-6)
    np.testing.assert_allclose(case.spacing, np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-6)
    assert case.array[0, 0, 0] == 777
    assert (case.kind, case.intensity, case.notes) == ("volume", "hu", ())


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8", "i8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_kinds_of_voxels(tmp_path, ct, dtype, order, kind):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    kind(ct.astype(dtype), np.diag([-1, -1, 2, 1]), header, dtype=np.dtype(dtype)).to_filename(tmp_path / "a.nii")
    case = read_case(tmp_path / "a.nii")
    np.testing.assert_array_equal(case.array, ct)
    assert bool(case.notes) == (dtype == "i8")


def test_slope_and_intercept(write_nifti, ct):
    def edit(header):
        header["scl_slope"], header["scl_inter"] = 0.5, -1024

    np.testing.assert_array_equal(read_case(write_nifti(2 * (ct + 1024), edit=edit)).array, ct)


def test_one_slice_and_two_dimensions(write_nifti, ct):
    assert read_case(write_nifti(ct[:, :, :1], name="one.nii")).array.shape == (40, 36, 1)
    two = read_case(write_nifti(ct[:, :, 2], name="two.nii"))
    assert two.array.shape == (40, 36, 1)
    np.testing.assert_array_equal(two.array[:, :, 0], ct[:, :, 2])


def test_a_fourth_axis_of_one_is_dropped(write_nifti, ct):
    case = read_case(write_nifti(ct[..., None]))
    np.testing.assert_array_equal(case.array, ct)
    assert "(40, 36, 5, 1)" in case.notes[0]


@pytest.mark.parametrize("code", ["sform_code", "qform_code"])
def test_one_of_the_two_forms_is_enough(write_nifti, ct, code):
    def edit(header):
        header[code] = 0

    np.testing.assert_allclose(read_case(write_nifti(ct, OBLIQUE, edit=edit)).affine, OBLIQUE, atol=1e-6)


def test_qfac_zero_means_one(write_nifti, ct):
    def edit(header):
        header["pixdim"][0] = 0

    affine = np.diag([0.7, 0.7, 2.0, 1.0])
    np.testing.assert_allclose(read_case(write_nifti(ct, affine, edit=edit)).affine, affine, atol=1e-6)


def test_windowed_volume_is_display(write_nifti, ct):
    values = ((ct.clip(-1000, 400) + 1000) / 1400 * 255).astype(np.uint8)
    case = read_case(write_nifti(values))
    assert case.intensity == "display"
    np.testing.assert_array_equal(case.array, values)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_an_array_saved_without_its_affine_is_said(write_nifti, ct, signs, order):
    affine = np.diag([*signs, 1.0])[:, [*order, 3]]
    (note,) = read_case(write_nifti(ct, affine)).notes
    assert "identity" in note
    assert "not to be trusted" in note


@pytest.mark.parametrize("change", [(0, 3, 5.0), (0, 0, 0.7), (2, 3, -1.0)])
def test_other_affines_are_not(write_nifti, ct, change):
    affine = np.eye(4)
    affine[change[0], change[1]] = change[2]
    assert read_case(write_nifti(ct, affine)).notes == ()


@pytest.mark.parametrize("axes", ["LPS", "SAR", "PIR"])
def test_the_spacing_of_axial_slices(write_nifti, ct, axes):
    affine = np.diag([-0.7, -0.8, 2.0, 1.0])
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    turned = nib.Nifti1Image(ct, affine).as_reoriented(turn)
    case = read_case(write_nifti(np.asarray(turned.dataobj), turned.affine))
    np.testing.assert_allclose(case.axial_spacing, (0.7, 0.8, 2.0), rtol=1e-5)
    assert case.array.shape[case.slice_axis] == ct.shape[2]
