"""Item 4 of bad-inputs.md, and item 1 as far as NIfTI goes."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from pipelines.errors import GeometryError, IntensityError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import read_case


def test_true_4d(write_nifti, ct):
    with pytest.raises(UnsupportedImageError, match="one three-dimensional volume"):
        read_case(write_nifti(np.stack([ct, ct], axis=3)))


def test_vectors_in_the_fifth_dimension(write_nifti, ct):
    with pytest.raises(UnsupportedImageError, match="one three-dimensional volume"):
        read_case(write_nifti(np.stack([ct] * 3, axis=-1)[:, :, :, None]))


def test_colour(tmp_path, ct):
    colours = np.zeros(ct.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.Nifti1Image(colours, np.diag([-1, -1, 2, 1])).to_filename(tmp_path / "rgb.nii")
    with pytest.raises(UnsupportedImageError, match="RGB"):
        read_case(tmp_path / "rgb.nii")


def test_complex(write_nifti, ct):
    with pytest.raises(UnsupportedImageError, match="complex"):
        read_case(write_nifti(ct.astype(np.complex64)))


def test_int64_that_float32_cannot_hold(write_nifti, ct):
    values = ct.astype(np.int64)
    values[0, 0, 0] = 2**40 + 1
    with pytest.raises(IntensityError, match="int64"):
        read_case(write_nifti(values))


@pytest.mark.parametrize("value", [0.0, -2.0, np.nan, np.inf])
@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("form", ["sform", "qform", "both"])
def test_spacing_that_is_none(write_nifti, ct, value, axis, form):
    def edit(header):
        header["pixdim"][axis] = value
        header["sform_code"] = form != "qform"
        header["qform_code"] = form != "sform"

    with pytest.raises(GeometryError, match="not positive"):
        read_case(write_nifti(ct, edit=edit))


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_spacing_not_in_millimetres(write_nifti, ct, factor):
    with pytest.raises(GeometryError, match="cannot be that of a CT"):
        read_case(write_nifti(ct, np.diag([-factor, -factor, factor, 1])))


def test_units_in_the_header(write_nifti, ct):
    def edit(header):
        header["xyzt_units"] = 1

    with pytest.raises(GeometryError, match="metres"):
        read_case(write_nifti(ct, edit=edit))


@pytest.mark.parametrize("change", ["shift", "flip", "spacing", "identity"])
def test_sform_and_qform_disagree(write_nifti, ct, change):
    def edit(header):
        if change == "shift":
            header["srow_x"][3] += 0.5
        elif change == "flip":
            header["srow_x"][:] *= -1
        elif change == "spacing":
            header["srow_z"][2] *= 1.05
        else:
            header.set_sform(np.eye(4), code=2)

    with pytest.raises(GeometryError, match="sform and qform disagree"):
        read_case(write_nifti(ct, edit=edit))


def test_neither_sform_nor_qform(write_nifti, ct):
    def edit(header):
        header["sform_code"] = header["qform_code"] = 0

    with pytest.raises(GeometryError, match=r"neither sform nor qform .*set_sform"):
        read_case(write_nifti(ct, edit=edit))


def test_affine_against_pixdim(write_nifti, ct):
    def edit(header):
        header["qform_code"] = 0
        header["pixdim"][3] = 5

    with pytest.raises(GeometryError, match="pixdim one of"):
        read_case(write_nifti(ct, edit=edit))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda affine: affine.__setitem__((0, 2), 0.5), "right angles"),  # sheared
        (lambda affine: affine.__setitem__((slice(0, 3), 2), 0), "cannot be that of a CT"),  # singular
        (lambda affine: affine.__setitem__((slice(0, 3), 1), affine[:3, 0]), "right angles"),  # singular
        (lambda affine: affine.__setitem__((1, 3), np.nan), "NaN"),
    ],
)
def test_affine_that_is_no_grid(write_nifti, ct, spoil, words):
    def edit(header):
        affine = header.get_sform()
        spoil(affine)
        header["qform_code"] = 0
        header["srow_x"], header["srow_y"], header["srow_z"] = affine[:3]

    with pytest.raises(GeometryError, match=words):
        read_case(write_nifti(ct, edit=edit))


def test_qform_that_is_no_rotation(write_nifti, ct):
    def edit(header):
        header["sform_code"] = 0
        header["quatern_b"] = header["quatern_c"] = 5

    with pytest.raises(GeometryError, match="qform"):
        read_case(write_nifti(ct, edit=edit))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_numbers(write_nifti, ct, value):
    values = ct.astype(np.float32)
    values[5, 5, 1] = value
    with pytest.raises(IntensityError, match="NaN or infinite"):
        read_case(write_nifti(values))


def test_constant(write_nifti, ct):
    with pytest.raises(IntensityError, match="every voxel"):
        read_case(write_nifti(np.zeros_like(ct)))


@pytest.mark.parametrize(("slope", "intercept"), [(np.inf, 0), (1, np.nan), (1, np.inf)])
def test_scale_that_is_no_number(write_nifti, ct, slope, intercept):
    def edit(header):
        header["scl_slope"], header["scl_inter"] = slope, intercept

    with pytest.raises(IntensityError, match="scl_slope"):
        read_case(write_nifti(ct, edit=edit))


def test_raw_values_without_rescale(write_nifti, ct):
    with pytest.raises(IntensityError, match="without their rescale"):
        read_case(write_nifti(ct + 1024))


def test_too_small(write_nifti, ct):
    with pytest.raises(UnsupportedImageError, match="too small"):
        read_case(write_nifti(ct[:1, :1]))


@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
@pytest.mark.parametrize("kept", [3, 200, 360, 0.5, 0.95, -1])
def test_truncated(write_nifti, ct, name, kept):
    path = write_nifti(ct, name=name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(UnreadableFileError):
        read_case(path)


def test_empty(tmp_path):
    (tmp_path / "case.nii.gz").touch()
    with pytest.raises(UnreadableFileError, match="empty"):
        read_case(tmp_path / "case.nii.gz")


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_corrupt_gzip(write_nifti, ct, place):
    noisy = ct + np.random.default_rng(0).integers(-9, 9, ct.shape, dtype=np.int16)
    path = write_nifti(noisy, name="case.nii.gz")
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableFileError):
        read_case(path)


def test_wrong_gzip_checksum(write_nifti, ct):
    path = write_nifti(ct, name="case.nii.gz")
    data = bytearray(path.read_bytes())
    data[-8] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableFileError, match="damaged"):
        read_case(path)


@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
def test_text_called_nifti(tmp_path, name):
    (tmp_path / name).write_text("not an image\n" * 100)
    with pytest.raises(UnreadableFileError):
        read_case(tmp_path / name)


def test_compression_that_the_name_denies(write_nifti, ct, tmp_path):
    plain = write_nifti(ct)
    (tmp_path / "a.nii.gz").write_bytes(plain.read_bytes())
    (tmp_path / "b.nii").write_bytes(gzip.compress(plain.read_bytes()))
    for name in ("a.nii.gz", "b.nii"):
        with pytest.raises(UnreadableFileError, match="by its name"):
            read_case(tmp_path / name)


@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
@pytest.mark.parametrize(
    "dims", [[3, 32767, 32767, 32767], [3, 900, 900, 900], [3, 40, -36, 5], [9, 40, 36, 5], [3, 0, 36, 5]]
)
def test_absurd_dimensions(write_nifti, ct, dims, name, tmp_path):
    def edit(header):
        header["dim"][:4] = dims

    path = write_nifti(ct, edit=edit)
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UnreadableFileError):
        read_case(tmp_path / name)


def test_more_voxels_than_the_header_says(write_nifti, ct):
    def edit(header):
        header["dim"][3] = 3

    with pytest.raises(UnreadableFileError, match="holds more"):
        read_case(write_nifti(ct, edit=edit))


def test_gzip_bomb(write_nifti, ct, tmp_path):
    def edit(header):
        header["dim"][:4] = [3, 1000, 1000, 600]

    head = write_nifti(ct, edit=edit).read_bytes()[:352]
    # 1.2 GB of zeros as one megabyte, glued from members so that the test need not deflate them all.
    member = gzip.compress(bytes(2**24))
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(head) + member * 72)
    with pytest.raises(UnreadableFileError, match="gzip bomb"):
        read_case(tmp_path / "bomb.nii.gz")


@pytest.mark.parametrize("offset", [1e9, -5.0, 20.0, np.nan])
def test_absurd_offset(write_nifti, ct, offset):
    def edit(header):
        header["vox_offset"] = offset

    with pytest.raises(UnreadableFileError):
        read_case(write_nifti(ct, edit=edit))


def test_pair_of_files(tmp_path, ct):
    nib.Nifti1Pair(ct, np.diag([-1, -1, 2, 1])).to_filename(tmp_path / "case.hdr")
    (tmp_path / "case.hdr").rename(tmp_path / "case.nii")
    with pytest.raises(UnreadableFileError, match=r"\.hdr and \.img"):
        read_case(tmp_path / "case.nii")


def test_unknown_kind_of_voxels(write_nifti, ct):
    def edit(header):
        header["datatype"] = 12

    with pytest.raises(UnreadableFileError, match="numbered 12"):
        read_case(write_nifti(ct, edit=edit))


def test_float64_that_float32_cannot_hold(write_nifti, ct):
    with pytest.raises(IntensityError, match="infinite"):
        read_case(write_nifti(ct * 1e300))
