"""DICOM as hospitals and their exporters write it, beyond one plain file a slice: enhanced CT, deflated files, unused
bits, spoilt UIDs, and what lies beside the slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from enhanced_ct import enhanced_of, one_item
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    EnhancedCTImageStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from pipelines.errors import PipelinesError, SeriesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import look_through, read_case


@pytest.fixture
def slices(write_series) -> list[Dataset]:
    read = [pydicom.dcmread(path) for path in write_series(name="source").iterdir()]
    return sorted(read, key=lambda each: float(each.ImagePositionPatient[2]))


def _save(datasets: list[Dataset], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate(datasets):
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


# --- enhanced CT ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_enhanced_ct_of_many_frames(slices, tmp_path, ct, per_frame, order):
    folder = _save([enhanced_of([slices[k] for k in order], per_frame=per_frame)], tmp_path / "enhanced")
    for source in (folder, folder / "0.dcm"):
        case = read_case(source)
        np.testing.assert_array_equal(case.array, ct)
        np.testing.assert_allclose(case.spacing, (0.7, 0.8, 2.0))
        np.testing.assert_allclose(case.affine[:3, 3], [14, 9, 100])


@pytest.mark.parametrize("sop_class", [EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage])
def test_enhanced_ct_of_one_frame_each(slices, tmp_path, ct, sop_class):
    each = [enhanced_of([one]) for one in slices]
    for one in each:
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = sop_class
    np.testing.assert_array_equal(read_case(_save(each, tmp_path / "each")).array, ct)
    np.testing.assert_array_equal(read_case(tmp_path / "each" / "1.dcm").array, ct[:, :, 1:2])


def test_enhanced_ct_split_over_files(slices, tmp_path, ct):
    folder = _save([enhanced_of(slices[3:]), enhanced_of(slices[:3])], tmp_path / "split")
    np.testing.assert_array_equal(read_case(folder).array, ct)


def test_the_rescale_of_each_frame(slices, tmp_path, ct):
    for k, one in enumerate(slices):
        one.RescaleSlope = 0.5 + 0.25 * k
        one.PixelData = np.rint((ct[:, :, k].T + 1024) / float(one.RescaleSlope)).astype("<i2").tobytes()
    case = read_case(_save([enhanced_of(slices, per_frame=True)], tmp_path / "scaled"))
    np.testing.assert_allclose(case.array, ct, atol=1)


def test_faults_of_enhanced_ct(slices, tmp_path):
    with pytest.raises(SeriesError, match="a slice is missing"):
        read_case(_save([enhanced_of([slices[k] for k in (0, 1, 3, 4)])], tmp_path / "gap"))
    with pytest.raises(SeriesError, match=r"same place|same slice twice"):
        read_case(_save([enhanced_of([slices[k] for k in (0, 1, 1, 2)])], tmp_path / "twice"))
    one = enhanced_of(slices)
    one.PerFrameFunctionalGroupsSequence = Sequence(list(one.PerFrameFunctionalGroupsSequence)[:4])
    with pytest.raises(UnreadableFileError, match="5 frames, and 4 of them"):
        read_case(_save([one], tmp_path / "undescribed"))
    one = enhanced_of(slices)
    one.PixelData = one.PixelData[:-3000]
    with pytest.raises(UnreadableFileError, match="truncated"):
        read_case(_save([one], tmp_path / "short"))
    one = enhanced_of(slices)
    del one.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    with pytest.raises(SeriesError, match="ImagePositionPatient is missing"):
        read_case(_save([one], tmp_path / "nowhere"))
    one = enhanced_of(slices)
    for k, frame in enumerate(one.PerFrameFunctionalGroupsSequence):
        frame.CTReconstructionSequence = one_item(ConvolutionKernel="B30f" if k % 2 else "B70f")
    with pytest.raises(SeriesError, match="2 kernels"):
        read_case(_save([one], tmp_path / "kernels"))


# --- encodings --------------------------------------------------------------------------------------------------------


def _deflate(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)


def test_deflated_files(write_series, ct):
    folder = write_series()
    for path in folder.iterdir():
        _deflate(path)
    np.testing.assert_array_equal(read_case(folder).array, ct)


def test_deflated_files_that_are_cut_or_bombs(write_series, monkeypatch):
    folder = write_series()
    path = folder / "00.dcm"
    _deflate(path)
    monkeypatch.setattr("pipelines.readers.dicom_file._BOMB_BYTES", 1000)
    monkeypatch.setattr("pipelines.readers.dicom_file._BOMB_RATIO", 1)
    with pytest.raises(UnreadableFileError, match="bomb"):
        read_case(path)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFileError, match="truncated"):
        read_case(folder)


def _bits(dataset, stored: np.ndarray, signed: int, intercept: int) -> None:
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = signed, 12, 11
    dataset.RescaleIntercept = intercept
    dataset.PixelData = stored.astype("<u2").tobytes()


@pytest.mark.parametrize("dirt", [0x8000, 0x1000, 0xF000, "random", "one slice"])
def test_unused_high_bits_are_not_the_pixel(write_series, ct, dirt):
    rng = np.random.default_rng(0)

    def edit(dataset, k):
        stored = (ct[:, :, k].T + 1024).astype(np.uint16)
        if dirt == "random":
            stored |= (rng.integers(0, 16, stored.shape) << 12).astype(np.uint16)
        elif dirt != "one slice" or k == 4:
            stored |= np.uint16(0xA000 if dirt == "one slice" else dirt)
        _bits(dataset, stored, 0, -1024)

    case = read_case(write_series(edit))
    np.testing.assert_array_equal(case.array, ct)
    assert case.notes == ("what unused high bits of the pixels held was dropped (PS3.5 8.1.1)",)


def test_signed_values_without_sign_extension(write_series, ct):
    edit = lambda dataset, k: _bits(dataset, ct[:, :, k].T.astype(np.int32) & 0x0FFF, 1, 0)  # noqa: E731
    np.testing.assert_array_equal(read_case(write_series(edit)).array, ct)


@pytest.mark.parametrize("bits", [10, 11])
def test_a_header_that_states_too_few_bits_is_refused_and_not_obeyed(write_series, bits):
    ramp = np.repeat(np.linspace(-1000, 1500, 40).astype(np.int16)[:, None], 36, axis=1)[:, :, None].repeat(5, axis=2)

    def edit(dataset, k):
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, bits, bits - 1

    with pytest.raises(UnreadableFileError, match=f"more than the {bits} bits"):
        read_case(write_series(edit, volume=ramp))


def test_values_in_the_upper_bits_are_refused(write_series, ct):
    def edit(dataset, k):
        _bits(dataset, (ct[:, :, k].T + 1024).astype(np.uint16) << 4, 0, -1024)
        dataset.HighBit = 15

    with pytest.raises(UnreadableFileError, match="more than the 12 bits"):
        read_case(write_series(edit))


# --- identifiers, and what lies beside --------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [range(5), (0, 1), (3, 4)])
def test_slices_that_share_a_sop_instance_uid_are_read_where_they_lie_apart(write_series, ct, shared):
    uid = generate_uid()

    def edit(dataset, k):
        if k in shared:
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid

    case = read_case(write_series(edit))
    np.testing.assert_array_equal(case.array, ct)
    assert "spoilt" in case.notes[0]


def _beside(kind: str, like: Dataset) -> Dataset:
    """Something that is no slice, in the study of the slices."""
    from copy import deepcopy

    other = deepcopy(like)
    other.SeriesInstanceUID = generate_uid()
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    classes = {
        "dose report": (SecondaryCaptureImageStorage, "OT"),
        "structured report": (BasicTextSRStorage, "SR"),
        "PDF": (EncapsulatedPDFStorage, "DOC"),
        "presentation state": (GrayscaleSoftcopyPresentationStateStorage, "PR"),
        "directory": (MediaStorageDirectoryStorage, None),
        "segmentation": (SegmentationStorage, "SEG"),
        "screenshot": (SecondaryCaptureImageStorage, "CT"),
    }
    if kind in ("scout", "scout of the same series"):
        other.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        other.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        if kind != "scout":
            other.SeriesInstanceUID = like.SeriesInstanceUID
        return other
    sop_class, modality = classes[kind]
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = sop_class
    other.Modality = modality
    if kind in ("structured report", "PDF", "presentation state", "directory"):
        del other.Rows, other.Columns, other.PixelData, other.BitsAllocated
    if kind != "segmentation":
        del other.ImagePositionPatient, other.ImageOrientationPatient
    return other


KINDS = [
    "scout", "scout of the same series", "dose report", "structured report", "PDF", "presentation state", "directory",
    "segmentation", "screenshot",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["0first.dcm", "IM99", "DIRFILE"])
def test_what_is_no_slice_is_passed_over_with_a_note(slices, write_series, ct, tmp_path, kind, name):
    folder = _save(slices, tmp_path / "mixed")
    _beside(kind, slices[0]).save_as(folder / name, enforce_file_format=True)
    case = read_case(folder)
    np.testing.assert_array_equal(case.array, ct)
    (note,) = case.notes
    assert note.endswith(f"passed over: {name}")


def test_a_scout_that_lies_as_the_slices_of_its_series_is_not_passed_over(write_series):
    def edit(dataset, k):
        if k == 4:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    with pytest.raises(SeriesError, match="localizer"):
        read_case(write_series(edit))


@pytest.mark.parametrize("values", [{"Modality": "OT"}, {"ImageType": ["DERIVED", "SECONDARY", "LOCALIZER"]}])
@pytest.mark.parametrize("k", [0, 2, 4])
def test_a_slice_of_the_series_that_says_to_be_something_else_is_not_passed_over(write_series, values, k):
    def edit(dataset, number):
        for keyword, value in values.items() if number == k else ():
            setattr(dataset, keyword, value)

    with pytest.raises((SeriesError, UnsupportedImageError), match=r"localizer|modality is OT"):
        read_case(write_series(edit))


def test_slices_that_were_cut_off_are_no_documents(slices, tmp_path):
    folder = _save(slices, tmp_path / "cut")
    for kept in (300, 400, 500):
        data = (folder / "0.dcm").read_bytes()
        (folder / "0.dcm").write_bytes(data[:kept])
        with pytest.raises(UnreadableFileError, match=r"0\.dcm"):
            read_case(folder)
        (folder / "0.dcm").write_bytes(data)


@pytest.mark.parametrize("kind", ["scout", "dose report", "structured report"])
def test_what_is_no_slice_alone_is_refused(slices, tmp_path, kind):
    folder = _save([_beside(kind, slices[0])], tmp_path / "alone")
    with pytest.raises((SeriesError, UnsupportedImageError, UnreadableFileError)):
        read_case(folder)


def test_slices_written_as_secondary_captures_are_slices(write_series, ct):
    def edit(dataset, k):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage

    np.testing.assert_array_equal(read_case(write_series(edit)).array, ct)


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14"])
def test_lossless_jpeg_as_archives_of_hospitals_keep_it(write_series, ct, syntax):
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed here; the plain installation has it")
    folder = write_series()
    for path in folder.iterdir():
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_case(folder).array, ct)
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UnreadableFileError, match=path.name):
        read_case(folder)


@pytest.mark.parametrize(
    ("keyword", "tolerated"),
    [
        ("InstanceNumber", True), ("SeriesNumber", True), ("AcquisitionNumber", True), ("KVP", True),
        ("NumberOfFrames", False), ("RescaleSlope", False), ("SliceThickness", True), ("PixelSpacing", False),
    ],
)  # fmt: skip
def test_elements_that_are_none_of_their_kind(write_series, ct, keyword, tolerated):
    """What only tells scans apart may be spoilt; nothing stops with a stack trace."""
    folder = write_series()
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        vr = pydicom.datadict.dictionary_VR(keyword)
        with pydicom.config.disable_value_validation():
            if keyword in dataset:
                del dataset[keyword]
            dataset.add_new(keyword, "CS", "n/a.x")  # stored as it is, and renamed in the bytes
            dataset.save_as(path)
        tag = pydicom.tag.Tag(keyword)
        mark = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
        path.write_bytes(path.read_bytes().replace(mark + b"CS", mark + vr.encode()))
    assert len(look_through(folder)) == 1
    if tolerated:
        np.testing.assert_array_equal(read_case(folder).array, ct)
    else:
        with pytest.raises(PipelinesError):
            read_case(folder)
