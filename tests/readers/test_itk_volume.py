"""NRRD, MetaImage, Analyze and NIfTI pairs: the same voxels at the same place as NIfTI has, and every fault named."""

from __future__ import annotations

import gzip
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from pipelines.errors import GeometryError, IntensityError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import find_cases, read_case, read_label

ANGLE = np.radians(10)
AFFINES = {
    "LPS": np.diag([-0.7, -0.8, 2.0, 1.0]),
    "RAS": np.diag([0.7, 0.8, 2.0, 1.0]),
    "sagittal": np.array([[0, 0, 2.0, 5], [0.7, 0, 0, -3], [0, -0.8, 0, 9], [0, 0, 0, 1]]),
    "oblique": np.array(
        [
            [-0.7 * np.cos(ANGLE), 0.8 * np.sin(ANGLE), 0, 14],
            [-0.7 * np.sin(ANGLE), -0.8 * np.cos(ANGLE), 0, 9],
            [0, 0, 2.0, 100],
            [0, 0, 0, 1],
        ]
    ),
}


def write(array: np.ndarray, affine: np.ndarray, path: Path, *, compress: bool = False) -> Path:
    """By itk, as 3D Slicer and ITK-SNAP do."""
    image = itk.image_from_array(np.ascontiguousarray(array.transpose(2, 1, 0)))
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array(lps[:3, :3] / spacing))
    itk.imwrite(image, str(path), compression=compress)
    return path


@pytest.mark.parametrize("where", list(AFFINES))
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd", "A.NRRD"])
@pytest.mark.parametrize("compress", [False, True])
def test_voxels_and_where_they_lie(tmp_path, ct, where, name, compress):
    path = write(ct, AFFINES[where], tmp_path / name.lower(), compress=compress).rename(tmp_path / name)
    case = read_case(path)
    np.testing.assert_array_equal(case.array, ct)
    np.testing.assert_allclose(case.affine, AFFINES[where], atol=1e-5)
    assert (case.kind, case.intensity, case.notes) == ("volume", "hu", ())
    assert find_cases(tmp_path) == [path], "voxels beside a header are no case of their own"


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.int32])
def test_kinds_of_voxels(tmp_path, ct, dtype):
    np.testing.assert_array_equal(read_case(write(ct.astype(dtype), AFFINES["LPS"], tmp_path / "a.nrrd")).array, ct)


def test_values_of_slicer_and_of_grand_challenge_written_by_hand(tmp_path, ct):
    data = ct.tobytes(order="F")
    sizes = " ".join(map(str, ct.shape))
    (tmp_path / "a.nrrd").write_bytes(
        f"NRRD0005\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\nspace directions: "
        "(0.7,0,0) (0,0.8,0) (0,0,2)\nkinds: domain domain domain\nendian: little\nencoding: gzip\n"
        "space origin: (1,2,3)\n\n".encode()
        + gzip.compress(data)
    )
    (tmp_path / "b.mha").write_bytes(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 0.7 0.8 2\nDimSize = {sizes}\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n".encode()
        + data
    )
    for name in ("a.nrrd", "b.mha"):
        case = read_case(tmp_path / name)
        np.testing.assert_array_equal(case.array, ct)
        np.testing.assert_allclose(case.affine[:3, 3], [-1, -2, 3])
        np.testing.assert_allclose(case.spacing, (0.7, 0.8, 2))


@pytest.mark.parametrize("given", [".hdr", ".img"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pair_of_header_and_voxels(tmp_path, ct, given, zipped):
    affine = AFFINES["oblique"]
    image = nib.Nifti1Pair(ct, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "a.img")
    if zipped:
        (tmp_path / "a.img.gz").write_bytes(gzip.compress((tmp_path / "a.img").read_bytes()))
        (tmp_path / "a.img").unlink()
    case = read_case(tmp_path / ("a.img.gz" if zipped and given == ".img" else f"a{given}"))
    np.testing.assert_array_equal(case.array, ct)
    np.testing.assert_allclose(case.affine, affine, atol=1e-5)
    assert find_cases(tmp_path) == [tmp_path / "a.hdr"]


def test_a_pair_is_held_to_what_a_nifti_is(tmp_path, ct):
    nib.save(nib.Nifti1Pair(ct, None), tmp_path / "a.img")
    with pytest.raises(GeometryError, match="neither sform nor qform"):
        read_case(tmp_path / "a.hdr")
    nib.save(nib.Nifti1Pair(ct, AFFINES["LPS"]), tmp_path / "b.img")
    (tmp_path / "b.img").write_bytes((tmp_path / "b.img").read_bytes()[:-100])
    with pytest.raises(UnreadableFileError, match="truncated"):
        read_case(tmp_path / "b.img")


def test_analyze_is_read_with_a_note_about_its_sides(tmp_path, ct):
    image = nib.AnalyzeImage(ct, None)
    image.header.set_zooms((0.7, 0.8, 2.0))
    nib.save(image, tmp_path / "a.img")
    for name in ("a.img", "a.hdr"):
        case = read_case(tmp_path / name)
        np.testing.assert_array_equal(case.array, ct)
        np.testing.assert_allclose(case.spacing, (0.7, 0.8, 2.0), rtol=1e-5)
        assert "left and right may be exchanged" in case.notes[0]
    (tmp_path / "a.img").write_bytes((tmp_path / "a.img").read_bytes()[:-100])
    with pytest.raises(UnreadableFileError, match="its header states"):
        read_case(tmp_path / "a.img")
    (tmp_path / "a.img.gz").write_bytes(gzip.compress((tmp_path / "a.img").read_bytes()))
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableFileError, match="its header states"):
        read_case(tmp_path / "a.img.gz")


@pytest.mark.parametrize("missing", [".hdr", ".img"])
def test_half_a_pair(tmp_path, ct, missing):
    nib.save(nib.Nifti1Pair(ct, AFFINES["LPS"]), tmp_path / "a.img")
    (tmp_path / f"a{missing}").unlink()
    (only,) = find_cases(tmp_path)
    with pytest.raises(UnreadableFileError, match=rf"there is no a\{missing} beside it"):
        read_case(only)


def refused(path: Path, kind: type[PipelinesError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        read_case(path)
    assert str(path.parent) in str(caught.value)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd", "a.nhdr"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.95])
def test_truncated(tmp_path, ct, name, compress, kept):
    write(ct, AFFINES["LPS"], tmp_path / name, compress=compress)
    largest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: int(largest.stat().st_size * kept)])
    refused(tmp_path / name, UnreadableFileError, "truncated|damaged|file can hold")


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.hdr", "a.img"])
@pytest.mark.parametrize("content", [b"text\n" * 200, b"\0" * 1000, b"NRRD0005\n", b"ObjectType = Image\nNDims = 3\n"])
def test_something_else(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((UnreadableFileError, GeometryError)):
        read_case(tmp_path / name)


def edited(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    return path


def test_a_header_that_does_not_say_how_the_volume_lies(tmp_path, ct):
    path = write(ct, AFFINES["LPS"], tmp_path / "a.nrrd")
    refused(
        edited(path, b"space: left-posterior-superior", b"space: scanner-xyz"), GeometryError, "how the volume lies"
    )
    path = write(ct, AFFINES["LPS"], tmp_path / "a.mha")
    refused(edited(path, b"TransformMatrix", b"TransformNothing"), GeometryError, "TransformMatrix")


@pytest.mark.parametrize("where", ["../a.raw", "/etc/passwd", "sub/a.raw", "..\\a.raw"])
def test_voxels_elsewhere_are_not_followed(tmp_path, ct, where):
    (tmp_path / "sub").mkdir()
    path = write(ct, AFFINES["LPS"], tmp_path / "sub" / "a.mhd")
    (tmp_path / "a.raw").write_bytes((tmp_path / "sub" / "a.raw").read_bytes())
    refused(edited(path, b"a.raw", where.encode()), UnreadableFileError, "another folder")
    path = write(ct, AFFINES["LPS"], tmp_path / "sub" / "b.nhdr")
    refused(edited(path, b"data file: b.raw", b"data file: " + where.encode()), UnreadableFileError, "another folder")


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (b"data file:=b.raw\n", "another folder"),
        (b"DATAFILE:=b.raw\n", "another folder"),
        (b"data file: b.raw\n", "'data file' twice"),
        (b"datafile: b.raw\n", "'data file' twice"),
        (b"#" * 2**20 + b"\n", "no end"),
    ],
)
def test_no_line_hides_where_a_nrrds_voxels_lie(tmp_path, ct, before, words):
    (tmp_path / "sub").mkdir()
    path = write(ct, AFFINES["LPS"], tmp_path / "sub" / "b.nhdr")
    (tmp_path / "secret.raw").write_bytes((tmp_path / "sub" / "b.raw").read_bytes())
    refused(edited(path, b"data file: b.raw", before + b"data file: ../secret.raw"), UnreadableFileError, words)


@pytest.mark.parametrize("before", [b"elementdatafile = a.raw\n", b"Comment = x\x85ElementDataFile = a.raw\n"])
def test_no_line_hides_where_a_metaimages_voxels_lie(tmp_path, ct, before):
    (tmp_path / "sub").mkdir()
    path = write(ct, AFFINES["LPS"], tmp_path / "sub" / "a.mhd")
    (tmp_path / "secret.raw").write_bytes((tmp_path / "sub" / "a.raw").read_bytes())
    both = before + b"ElementDataFile = ../secret.raw"
    refused(edited(path, b"ElementDataFile = a.raw", both), UnreadableFileError, "more than one")


def test_a_pair_of_key_and_value_is_no_field_of_a_nrrd(tmp_path, ct):
    path = write(ct, AFFINES["LPS"], tmp_path / "a.nrrd")
    pairs = b"space:=scanner-xyz\ndata file:=../secret.raw\nspace: left"
    np.testing.assert_array_equal(read_case(edited(path, b"space: left", pairs)).array, ct)


@pytest.mark.parametrize("where", ["LIST", "a%03d.raw 1 10 1"])
def test_voxels_in_several_files_are_refused(tmp_path, ct, where):
    path = write(ct, AFFINES["LPS"], tmp_path / "a.mhd")
    refused(edited(path, b"= a.raw", b"= " + where.encode()), UnsupportedImageError, "several files")


def test_missing_voxels(tmp_path, ct):
    path = write(ct, AFFINES["LPS"], tmp_path / "a.mhd")
    (tmp_path / "a.raw").unlink()
    refused(path, UnreadableFileError, r"there is no a\.raw beside it")


def test_an_absurd_size(tmp_path, ct):
    path = write(ct, AFFINES["LPS"], tmp_path / "a.mha")
    refused(edited(path, b"DimSize = 40 36 5", b"DimSize = 4000 3600 5"), UnreadableFileError, "more than the file")
    path = write(ct, AFFINES["LPS"], tmp_path / "b.mha")
    refused(edited(path, b"DimSize = 40 36 5", b"DimSize = 40000 36000 50"), UnreadableFileError, "absurd size")


@pytest.mark.parametrize("spacing", [b"0.7 0.8 200", b"700 800 2000", b"0.0001 0.0001 0.1"])
def test_impossible_spacing(tmp_path, ct, spacing):
    path = write(ct, AFFINES["LPS"], tmp_path / "a.mha")
    line = next(line for line in path.read_bytes().split(b"\n") if line.startswith(b"ElementSpacing"))
    refused(edited(path, line, b"ElementSpacing = " + spacing), GeometryError, "spacing")


def test_colours_four_dimensions_and_two(tmp_path, ct):
    colours = itk.image_from_array(np.zeros((5, 36, 40, 3), np.uint8), is_vector=True)
    itk.imwrite(colours, str(tmp_path / "rgb.mha"))
    refused(tmp_path / "rgb.mha", UnsupportedImageError, "3 components")
    path = write(ct, AFFINES["LPS"], tmp_path / "flat.mha")
    edited(path, b"NDims = 3", b"NDims = 4")
    with pytest.raises(PipelinesError):
        read_case(path)
    itk.imwrite(itk.image_from_array(ct[:, :, 0]), str(tmp_path / "plane.mha"))
    refused(tmp_path / "plane.mha", UnsupportedImageError, "shape")


def test_what_its_values_say_is_judged_as_of_any_volume(tmp_path, ct):
    refused(write(ct * 0 - 1000, AFFINES["LPS"], tmp_path / "a.nrrd"), IntensityError, "every voxel")
    big = ct.astype(np.int32)
    big[1, 1, 1] = 2**30
    refused(write(big, AFFINES["LPS"], tmp_path / "b.nrrd"), IntensityError, "not those of a scan")
    identity = read_case(write(ct, np.diag([-1.0, -1.0, 1.0, 1.0]), tmp_path / "c.mha"))
    assert "identity" in identity.notes[0]


@pytest.mark.parametrize("name", ["label.nrrd", "label.mha"])
@pytest.mark.parametrize("where", ["LPS", "RAS"])
def test_labels(tmp_path, ct, name, where):
    """3D Slicer's segmentations, in the image's order of axes or another one."""
    image = read_case(write(ct, AFFINES["LPS"], tmp_path / "image.nrrd"))
    values, affine = (ct < -800).astype(np.uint8), AFFINES["LPS"]
    stored = values
    if where == "RAS":
        stored = values[::-1, ::-1]
        affine = affine @ np.array(
            [[-1, 0, 0, ct.shape[0] - 1], [0, -1, 0, ct.shape[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1]]
        )
    np.testing.assert_array_equal(read_label(write(stored, affine, tmp_path / name), image), values)
    with pytest.raises(GeometryError):
        read_label(write(stored, affine @ np.diag([1, 1, 1.5, 1]), tmp_path / name), image)


@pytest.mark.parametrize("shown", [True, False])
def test_warnings_of_the_process_are_as_they_were(tmp_path, ct, shown):
    write(ct, np.diag([-0.7, -0.7, 2.0, 1.0]), tmp_path / "a.nrrd")
    (tmp_path / "cut.nrrd").write_bytes((tmp_path / "a.nrrd").read_bytes()[:-2000])
    before = itk.Object.GetGlobalWarningDisplay()
    try:
        itk.Object.SetGlobalWarningDisplay(shown)
        read_case(tmp_path / "a.nrrd")
        with pytest.raises(PipelinesError):
            read_case(tmp_path / "cut.nrrd")
        assert itk.Object.GetGlobalWarningDisplay() == shown
    finally:
        itk.Object.SetGlobalWarningDisplay(before)
