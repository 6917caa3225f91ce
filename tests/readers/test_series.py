from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from monai.data import ITKReader, PydicomReader
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from pipelines.errors import UnreadableFileError
from pipelines.readers import look_through, read_case
from pipelines.readers.dicom_series import SAYS_CONTRAST


def _world(affine: np.ndarray, index: tuple[int, int, int]) -> np.ndarray:
    return (affine @ [*index, 1])[:3]


def test_voxels_and_where_they_lie(write_series, ct):
    case = read_case(write_series())
    np.testing.assert_array_equal(case.array, ct)
    # The first voxel is the first slice's ImagePositionPatient, its first two signs turned from LPS to RAS.
    np.testing.assert_allclose(_world(case.affine, (0, 0, 0)), [14, 9, 100])
    assert case.array[0, 0, 0] == 777
    # PixelSpacing is (between rows, between columns) = (0.8, 0.7).
    np.testing.assert_allclose(_world(case.affine, (10, 0, 0)), [14 - 7, 9, 100])
    np.testing.assert_allclose(_world(case.affine, (0, 10, 0)), [14, 9 - 8, 100])
    np.testing.assert_allclose(_world(case.affine, (0, 0, 4)), [14, 9, 108])
    np.testing.assert_allclose(case.spacing, (0.7, 0.8, 2.0))
    assert (case.kind, case.intensity, case.notes) == ("volume", "hu", ())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", [ITKReader, PydicomReader])
@pytest.mark.parametrize("which", ["axial", "oblique", "coronal", "shared"])
def test_equal_to_monai_on_good_series(write_series, request, reader, which):
    """An independent reader puts the same value at the same place in the patient."""
    if which == "shared":
        folder = request.getfixturevalue("shared_data") / "ct_dicom" / "series3"
    else:
        angle = np.radians(10)
        across, down = {
            "axial": ([1, 0, 0], [0, 1, 0]),
            "oblique": ([np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0]),
            "coronal": ([1, 0, 0], [0, 0, -1]),
        }[which]
        normal = np.cross(across, down)

        def edit(dataset, k):
            dataset.ImageOrientationPatient = [round(float(v), 9) for v in (*across, *down)]
            dataset.ImagePositionPatient = [round(float(v), 9) for v in np.array([-14, -9, 100]) + 2 * k * normal]

        folder = write_series(edit)
    ours = read_case(folder)
    monai = reader()
    array, meta = monai.get_data(monai.read(str(folder)))
    affine = np.asarray(meta["affine"], dtype=float) if reader is PydicomReader else np.asarray(meta["affine"])
    into_theirs = np.linalg.inv(affine) @ ours.affine
    rng = np.random.default_rng(0)
    for _ in range(200):
        index = tuple(int(rng.integers(0, length)) for length in ours.array.shape)
        theirs = np.rint(_world(into_theirs, index)).astype(int)
        np.testing.assert_allclose(_world(into_theirs, index), theirs, atol=1e-2)
        assert ours.array[index] == max(float(array[tuple(theirs)]), -1024)


def test_order_is_that_of_space(write_series, ct):
    def shuffle(dataset, k):
        dataset.InstanceNumber = [3, 1, 5, 2, 4][k]

    np.testing.assert_array_equal(read_case(write_series(shuffle)).array, ct)

    def drop(dataset, k):
        del dataset.InstanceNumber

    np.testing.assert_array_equal(read_case(write_series(drop, name="none")).array, ct)


def test_feet_to_head_or_head_to_feet(write_series, ct):
    def edit(dataset, k):
        dataset.ImagePositionPatient = [-14, -9, 100 - 2 * k]

    case = read_case(write_series(edit))
    np.testing.assert_array_equal(case.array, ct[:, :, ::-1])
    np.testing.assert_allclose(_world(case.affine, (0, 0, 0)), [14, 9, 92])


def test_rounded_positions(write_series):
    def edit(dataset, k):
        dataset.ImagePositionPatient = [-14, -9, round(100 + 0.625 * k, 1)]

    assert read_case(write_series(edit)).spacing[2] == pytest.approx(0.625, abs=0.03)


def test_slope_of_each_slice(write_series, ct):
    def edit(dataset, k):
        slope = 0.5 + 0.25 * k
        volume = np.rint((ct[:, :, k].T + 1024) / slope)
        dataset.PixelData = volume.astype("<i2").tobytes()
        dataset.RescaleSlope = slope

    np.testing.assert_allclose(read_case(write_series(edit)).array, ct, atol=1)


def test_padding_becomes_air(write_series, ct):
    def edit(dataset, k):
        stored = np.array(dataset.pixel_array)
        stored[:3] = -2000
        dataset.PixelData = stored.astype("<i2").tobytes()
        # The same bits as -2000, read unsigned: a common mix-up.
        dataset.add_new("PixelPaddingValue", "US" if k % 2 else "SS", 63536 if k % 2 else -2000)

    case = read_case(write_series(edit))
    assert (case.array[:, :3] == -1024).all()
    np.testing.assert_array_equal(case.array[:, 3:], ct[:, 3:])
    assert case.notes == (f"{40 * 3 * 5} voxels marked as padding were set to -1024 HU",)


def test_padding_value_that_is_also_tissue(write_series, ct):
    """A padding value of 40 HU, which is muscle: around the picture it is air, inside the body it stays."""
    value = int(ct[20, 20, 0])

    def edit(dataset, k):
        stored = np.array(dataset.pixel_array)
        stored[:3] = value + 1024
        dataset.PixelData = stored.astype("<i2").tobytes()
        dataset.add_new("PixelPaddingValue", "SS", value + 1024)

    case = read_case(write_series(edit))
    assert (case.array[:, :3] == -1024).all()
    np.testing.assert_array_equal(case.array[:, 4:], ct[:, 4:])


def test_unsigned_12_bit(write_series, ct):
    def edit(dataset, k):
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11

    np.testing.assert_array_equal(read_case(write_series(edit)).array, ct)


def test_padding_beyond_the_stored_bits(write_series, ct):
    """-2000 in the 16 bits of a pixel of 12, as some write: padding, not the 2096 of its lower 12 bits."""

    def edit(dataset, k):
        stored = np.array(dataset.pixel_array)
        stored[:3] = -2000
        dataset.PixelData = stored.astype("<i2").tobytes()
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
        dataset.add_new("PixelPaddingValue", "US", 63536)

    case = read_case(write_series(edit))
    assert (case.array[:, :3] == -1024).all()
    np.testing.assert_array_equal(case.array[:, 3:], ct[:, 3:])


@pytest.mark.parametrize("signed", [0, 1])
def test_overlay_in_the_unused_bits(write_series, ct, signed):
    def edit(dataset, k):
        stored = (ct[:, :, k].T + (0 if signed else 1024)).astype("<i2").view("<u2") & 0x0FFF
        stored[::2] |= 0x8000
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = signed, 12, 11
        dataset.RescaleIntercept = 0 if signed else -1024
        dataset.add_new((0x6000, 0x0100), "US", 1)
        dataset.add_new((0x6000, 0x0102), "US", 15)
        dataset.PixelData = stored.tobytes()

    np.testing.assert_array_equal(read_case(write_series(edit)).array, ct)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_transfer_syntaxes(write_series, ct, syntax):
    folder = write_series()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        little = syntax != ExplicitVRBigEndian
        implicit = syntax == ImplicitVRLittleEndian
        if syntax == RLELossless:
            dataset.save_as(path)
        else:
            fresh = pydicom.Dataset()
            fresh.update(dataset)
            fresh.file_meta = dataset.file_meta
            fresh.preamble = b"\0" * 128
            fresh.save_as(path, implicit_vr=implicit, little_endian=little)
    np.testing.assert_array_equal(read_case(folder).array, ct)


def test_files_beside_the_series(write_series, ct, tmp_path):
    folder = write_series()
    for name in ("DICOMDIR", ".DS_Store", "._00.dcm"):
        (folder / name).write_bytes(b"whatever")
    (folder / "README").write_text("about this series")
    (folder / "sub").mkdir()
    case = read_case(folder)
    np.testing.assert_array_equal(case.array, ct)
    assert case.notes == ("1 files beside the series were passed over: README",)
    (folder / "mask.nii.gz").write_bytes(b"whatever")
    assert read_case(folder).notes == (
        "1 files beside the series were passed over: README",
        "1 files beside the series are no part of it, but cases of their own: mask.nii.gz",
    )
    assert [each.path for each in look_through(folder)] == [folder, folder / "mask.nii.gz"]


def test_names_without_suffix(write_series, ct):
    folder = write_series()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / (f"IM{number:04d}" if number % 2 else f"1.2.840.{number}"))
    np.testing.assert_array_equal(read_case(folder).array, ct)


def test_one_file_is_a_slice(write_series, ct):
    case = read_case(write_series() / "31.dcm")
    np.testing.assert_array_equal(case.array, ct[:, :, 1:2])
    np.testing.assert_allclose(case.spacing, (0.7, 0.8, 2.5))
    np.testing.assert_allclose(_world(case.affine, (0, 0, 0)), [14, 9, 102])


@pytest.mark.parametrize("patient", ["CT1", "CT2"])
@pytest.mark.parametrize(
    ("encoding", "tolerance"), [("RLE", 0), ("J2KR", 0), ("JLSL", 0), ("JPLL", 0), ("JLSN", 10), ("J2KI", 400)]
)
def test_encodings_of_one_slice(shared_data: Path, patient, encoding, tolerance):
    """All encodings give the uncompressed slice again, or say which decoder is missing."""
    plain = read_case(shared_data / "ct_dicom" / f"{patient}_UNC")
    try:
        case = read_case(shared_data / "ct_dicom" / f"{patient}_{encoding}")
    except UnreadableFileError as error:
        if "pip install" not in error.how:
            raise
        pytest.skip(error.what)
    np.testing.assert_allclose(case.array, plain.array, atol=tolerance)
    np.testing.assert_array_equal(case.affine, plain.affine)


def test_a_contrast_agent_is_said_and_not_named(write_series):
    def given(dataset, number):
        dataset.ContrastBolusAgent = "Omnipaque for DOE^JANE" if number == 2 else ""

    notes = read_case(write_series(given)).notes
    assert [note for note in notes if "contrast agent" in note] == [SAYS_CONTRAST]
    assert "DOE" not in "".join(notes)
    assert SAYS_CONTRAST not in read_case(write_series(name="without")).notes
