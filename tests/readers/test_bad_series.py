"""Items 1 and 2 of bad-inputs.md: each fault of a DICOM file or series, and the error that it gets."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRBigEndian,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from pipelines.errors import GeometryError, IntensityError, SeriesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import dicom_file, read_case


def _all(**values):
    """An edit that sets the same elements in every slice; None deletes one."""

    def edit(dataset, k):
        for name, value in values.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)

    return edit


def _one(slice_number=2, **values):
    change = _all(**values)
    return lambda dataset, k: change(dataset, k) if k == slice_number else None


# --- the series -------------------------------------------------------------------------------------------------------


def test_missing_slice(write_series):
    with pytest.raises(SeriesError, match=r"a slice is missing between 31\.dcm and 23\.dcm"):
        read_case(write_series(lambda dataset, k: k != 2))


def test_several_missing_slices(write_series):
    volume = np.repeat(np.arange(40, dtype=np.int16)[:, None] - 900, 36, axis=1)[:, :, None].repeat(20, axis=2)
    with pytest.raises(SeriesError, match="3 slices are missing"):
        read_case(write_series(lambda dataset, k: k not in (4, 5, 6), volume=volume))


def test_duplicate_slice(write_series):
    folder = write_series()
    shutil.copy(folder / "00.dcm", folder / "copy.dcm")
    with pytest.raises(SeriesError, match="same slice twice"):
        read_case(folder)


def test_two_slices_in_one_place(write_series):
    with pytest.raises(SeriesError, match="same place"):
        read_case(write_series(_one(ImagePositionPatient=[-14, -9, 102.0])))


def test_mixed_series(write_series):
    uid = generate_uid()
    with pytest.raises(SeriesError, match="slices of 2 series are mixed: …") as caught:
        read_case(write_series(_one(SeriesInstanceUID=uid)))
    assert uid not in str(caught.value)  # shortened


def test_mixed_studies(write_series):
    with pytest.raises(SeriesError, match="2 studies"):
        read_case(write_series(_one(StudyInstanceUID=generate_uid())))


def test_mixed_frames_of_reference(write_series):
    with pytest.raises(SeriesError, match="2 frames of reference"):
        read_case(write_series(_one(FrameOfReferenceUID=generate_uid())))


def test_mixed_patients_are_not_named(write_series):
    with pytest.raises(SeriesError, match="2 patients") as caught:
        read_case(write_series(_one(PatientID="other-7", PatientName="Other^Secret")))
    for word in ("patient-1", "other-7", "Secret"):
        assert word not in str(caught.value)


def test_localizer(write_series):
    with pytest.raises(SeriesError, match="localizer"):
        read_case(write_series(_one(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])))


def test_series_unknown(write_series):
    with pytest.raises(SeriesError, match="which series"):
        read_case(write_series(_all(SeriesInstanceUID=None)))


def test_size_that_changes(write_series):
    with pytest.raises(SeriesError, match="slice size changes from 40 x 36 to 36 x 40"):
        read_case(write_series(_one(4, Rows=40, Columns=36)))


def test_spacing_that_changes(write_series):
    with pytest.raises(SeriesError, match="pixel spacing changes"):
        read_case(write_series(_one(PixelSpacing=[0.8, 0.75])))


def test_orientation_that_changes(write_series):
    with pytest.raises(SeriesError, match="orientation changes"):
        read_case(write_series(_one(ImageOrientationPatient=[0, 1, 0, -1, 0, 0])))


@pytest.mark.parametrize("shift", [0.3, -0.7])
def test_varying_slice_distance(write_series, shift):
    with pytest.raises(SeriesError, match="distance between slices varies"):
        read_case(write_series(_one(ImagePositionPatient=[-14, -9, 104.0 + shift])))


def test_gantry_tilt(write_series):
    slope = np.tan(np.radians(20))
    down = [0, float(np.cos(np.radians(20))), float(np.sin(np.radians(20)))]

    def edit(dataset, k):
        dataset.ImageOrientationPatient = [1, 0, 0, *down]

    with pytest.raises(GeometryError, match=r"tilted by 20\.0 degrees"):
        read_case(write_series(edit))
    # The same tilt written the other way: upright slices, a stack that leans.
    lean = lambda dataset, k: setattr(dataset, "ImagePositionPatient", [-14, -9 + 2 * k * slope, 100 + 2 * k])  # noqa: E731
    with pytest.raises(GeometryError, match=r"tilted by 20\.0 degrees"):
        read_case(write_series(lean, name="lean"))


def test_slice_shifted_sideways(write_series):
    with pytest.raises(SeriesError, match="sideways"):
        read_case(write_series(_one(ImagePositionPatient=[-10, -9, 104])))


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_geometry_missing(write_series, keyword):
    with pytest.raises(SeriesError, match=f"{keyword} is missing"):
        read_case(write_series(_one(**{keyword: None})))


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("ImagePositionPatient", ["NaN", "0", "0"]),
        ("ImagePositionPatient", ["inf", "0", "0"]),
        ("ImagePositionPatient", ["1", "2"]),
        ("ImagePositionPatient", ["a", "b", "c"]),
        ("ImageOrientationPatient", ["1", "0", "0", "0", "NaN", "0"]),
        ("PixelSpacing", ["NaN", "1"]),
    ],
)
def test_geometry_that_is_no_number(write_series, keyword, values):
    folder = write_series()
    path = folder / "23.dcm"
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        del dataset[keyword]
        # Written as a code string, whose text is stored as it is, and renamed to DS in the bytes.
        dataset.add_new(keyword, "CS", values)
        dataset.save_as(path)
    data = path.read_bytes()
    tag = struct.pack("<HH", dataset[keyword].tag.group, dataset[keyword].tag.element)
    path.write_bytes(data.replace(tag + b"CS", tag + b"DS"))
    with pytest.raises(SeriesError, match=f"{keyword} does not hold"):
        read_case(folder)


@pytest.mark.parametrize(
    "directions", [[1, 0, 0, 0.2, 1, 0], [2, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0]]
)
def test_orientation_not_orthonormal(write_series, directions):
    with pytest.raises(GeometryError, match="right angles"):
        read_case(write_series(_all(ImageOrientationPatient=directions)))


@pytest.mark.parametrize("spacing", [[0, 0.7], [-0.8, 0.7], [800, 700]])
def test_impossible_pixel_spacing(write_series, spacing):
    with pytest.raises(GeometryError):
        read_case(write_series(_all(PixelSpacing=spacing)))


def test_single_slice_without_thickness(write_series):
    folder = write_series(_all(SliceThickness=None))
    with pytest.raises(SeriesError, match="SliceThickness"):
        read_case(folder / "00.dcm")


# --- what the pixels mean ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["MR", "CR", "SEG", None])
def test_other_modality(write_series, modality):
    with pytest.raises(UnsupportedImageError, match="not CT"):
        read_case(write_series(_all(Modality=modality)))


@pytest.mark.parametrize("kind", ["MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL"])
def test_not_monochrome2(write_series, kind):
    samples = 3 if kind in ("RGB", "YBR_FULL") else 1
    with pytest.raises(UnsupportedImageError, match="MONOCHROME2"):
        read_case(write_series(_all(PhotometricInterpretation=kind, SamplesPerPixel=samples)))


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_rescale_missing(write_series, keyword):
    with pytest.raises(IntensityError, match=f"{keyword} is missing"):
        read_case(write_series(_one(**{keyword: None})))


def test_rescale_of_zero_or_to_something_else(write_series):
    with pytest.raises(IntensityError, match="zero"):
        read_case(write_series(_all(RescaleSlope=0)))
    with pytest.raises(IntensityError, match="not to HU"):
        read_case(write_series(_all(RescaleType="MGML")))


def test_not_hounsfield_units(write_series, ct):
    with pytest.raises(IntensityError, match="without their rescale"):
        read_case(write_series(_all(RescaleIntercept=0), name="a"))
    windowed = ((ct.clip(-1000, 400) + 1000) / 1400 * 255).astype(np.int16)
    with pytest.raises(IntensityError, match="screen capture"):
        read_case(write_series(name="b", volume=windowed))
    with pytest.raises(IntensityError, match="every voxel"):
        read_case(write_series(name="c", volume=ct * 0 - 1000))


def test_several_frames(write_series):
    def edit(dataset, k):
        dataset.NumberOfFrames = 2
        dataset.PixelData *= 2

    with pytest.raises(UnsupportedImageError, match="2 frames"):
        read_case(write_series(edit))


def test_bits_beyond_the_stated_ones(write_series):
    with pytest.raises(UnreadableFileError, match="more than the 10 bits"):
        read_case(write_series(_all(BitsStored=10, HighBit=9)))


# --- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"plain text\n" * 40, b"PK\x03\x04" + bytes(300)])
def test_something_else_called_dcm(write_series, content):
    folder = write_series()
    (folder / "other.dcm").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"other\.dcm"):
        read_case(folder)
    with pytest.raises(UnreadableFileError):
        read_case(folder / "other.dcm")


@pytest.mark.parametrize("kept", [60, 131, 140, 300, 700, 0.6, 0.99])
def test_truncated(write_series, kept):
    folder = write_series()
    path = sorted(folder.iterdir())[-1]
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(UnreadableFileError, match=path.name):
        read_case(folder)


@pytest.mark.parametrize("kept", [0.7, 0.98])
def test_truncated_in_compressed_pixels(write_series, kept):
    folder = write_series(lambda dataset, k: dataset.compress(RLELossless, generate_instance_uid=False))
    path = sorted(folder.iterdir())[-1]
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UnreadableFileError, match=path.name):
        read_case(folder)


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT2_J2KI", "CT1_JLSL", "CT2_RLE"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated_in_real_compressed_pixels(shared_data, tmp_path, name, kept):
    data = (shared_data / "ct_dicom" / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UnreadableFileError):
        read_case(tmp_path / name)


def test_no_pixels(write_series):
    def edit(dataset, k):
        del dataset.PixelData
        dataset.add_new((0x7777, 0x0010), "OB", b"x" * 4000)  # long enough to hold them

    with pytest.raises(UnreadableFileError, match="no pixels"):
        read_case(write_series(edit))


def test_no_transfer_syntax(write_series):
    folder = write_series()
    path = sorted(folder.iterdir())[0]
    dataset = pydicom.dcmread(path)
    del dataset.file_meta.TransferSyntaxUID
    dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    with pytest.raises(UnreadableFileError, match="transfer syntax"):
        read_case(folder)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, RLELossless])
def test_wrong_transfer_syntax(write_series, syntax):
    folder = write_series()
    path = sorted(folder.iterdir())[0]
    meta_only = pydicom.dcmread(path).file_meta.TransferSyntaxUID.encode()
    new = syntax.encode()
    data = path.read_bytes()
    # The UID's element is rewritten in place with its new length, and so is the group length before it.
    old_element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(meta_only) + len(meta_only) % 2) + meta_only
    old_element += b"\0" * (len(meta_only) % 2)
    assert old_element in data
    new_element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(new) + len(new) % 2) + new + b"\0" * (len(new) % 2)
    length = struct.unpack("<I", data[140:144])[0] + len(new_element) - len(old_element)
    path.write_bytes((data[:140] + struct.pack("<I", length) + data[144:]).replace(old_element, new_element))
    with pytest.raises(UnreadableFileError):
        read_case(folder)


def test_encodings_that_are_not_read(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"not known|MPEG"):
        dicom_file.check_decoder(MPEG2MPML, tmp_path / "a.dcm")


def test_no_decoder(monkeypatch, tmp_path):
    class Absent:
        is_available = False

    monkeypatch.setattr(dicom_file, "get_decoder", lambda uid: Absent())
    with pytest.raises(UnreadableFileError, match=r"no decoder is installed; pip install python-gdcm"):
        dicom_file.check_decoder(JPEGLosslessSV1, tmp_path / "a.dcm")


@pytest.mark.parametrize("program", [b"MZ\x90\0", b"\x7fELF", b"#!/bin/sh\n"])
def test_program_in_the_preamble(write_series, program):
    folder = write_series()
    path = sorted(folder.iterdir())[0]
    data = path.read_bytes()
    path.write_bytes(program + data[len(program) :])
    with pytest.raises(UnreadableFileError, match="program"):
        read_case(folder)


@pytest.mark.parametrize(
    "values", [{"Rows": 65535, "Columns": 65535}, {"Rows": 4000}, {"Rows": 0}, {"NumberOfFrames": 2000000}]
)
def test_absurd_size(write_series, values):
    with pytest.raises(UnreadableFileError, match=r"absurd|too short"):
        read_case(write_series(_all(**values)))


def test_folder_without_series(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFileError, match="no DICOM files"):
        read_case(tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    with pytest.raises(UnreadableFileError, match="no DICOM files"):
        read_case(tmp_path / "empty")
