"""Chest X-rays and photographs as DICOM: the picture that a person sees, or a refusal that says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    VLPhotographicImageStorage,
    generate_uid,
)

from pipelines.errors import IntensityError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import find_cases, read_case, read_colour, read_xray
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom

PLANE = np.asarray(Image.fromarray(make_chest_xray_phantom(1, 120, pneumonia=True).picture).resize((60, 72)))
ROWS, COLUMNS = np.mgrid[0:50, 0:60]
RGB = np.stack([ROWS * 5, COLUMNS * 4, (ROWS + COLUMNS) * 2], axis=2).astype(np.uint8)


def _dataset(array: np.ndarray, sop_class: UID, modality: str, **values) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientID = modality, "p"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Rows, dataset.Columns = array.shape[:2]
    bits = array.dtype.itemsize * 8
    dataset.SamplesPerPixel = 1 if array.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if array.ndim == 2 else "RGB"
    if array.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits, bits - 1, 0
    dataset.PixelData = array.tobytes()
    for keyword, value in values.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    return dataset


def xray(path: Path, array: np.ndarray = PLANE, **values) -> Path:
    dataset = _dataset(array, ComputedRadiographyImageStorage, "CR", **({"ViewPosition": "PA"} | values))
    dataset.save_as(path, enforce_file_format=True)
    return path


def photograph(path: Path, array: np.ndarray = RGB, **values) -> Path:
    _dataset(array, VLPhotographicImageStorage, "XC", **values).save_as(path, enforce_file_format=True)
    return path


def shown(path: Path) -> np.ndarray:
    """Rows x columns, as a person sees it."""
    return read_xray(path).array.T


DEEP = PLANE.astype(np.uint16) * 8 + 500  # 12 bits: 500 to 2540
WINDOW = {"WindowCenter": 500 + 127.5 * 8, "WindowWidth": 255 * 8, "VOILUTFunction": "LINEAR_EXACT"}


def _lut(entries: np.ndarray, first: int, bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (PLANE, {"WindowCenter": 127.5, "WindowWidth": 255, "VOILUTFunction": "LINEAR_EXACT"}),
        (PLANE, {"WindowCenter": 128, "WindowWidth": 256}),
        (DEEP, WINDOW),
        (DEEP, {**WINDOW, "WindowCenter": [500 + 127.5 * 8, 9], "WindowWidth": [255 * 8, 1]}),  # the first of two
        (DEEP, {**WINDOW, "WindowCenter": 127.5, "WindowWidth": 255, "RescaleSlope": 0.125, "RescaleIntercept": -62.5}),
        (DEEP, {"VOILUTSequence": _lut(np.arange(2041) * 2, 500, 12), **WINDOW, "WindowWidth": 1}),  # before the window
        (4095 - DEEP, {**WINDOW, "WindowCenter": 4095 - 500 - 127.5 * 8, "PhotometricInterpretation": "MONOCHROME1"}),
        (DEEP | 0x8000, {**WINDOW, "BitsStored": 12, "HighBit": 11}),
    ],
    ids=["8 bits", "linear", "12 bits", "two windows", "rescale", "VOI LUT", "MONOCHROME1", "unused bits"],
)
def test_an_xray_is_shown_as_its_file_says(tmp_path, array, values):
    found = shown(xray(tmp_path / "a.dcm", array, **values))
    assert found.shape == PLANE.shape
    np.testing.assert_allclose(found, PLANE, atol=1.0)


def test_notes_of_an_xray(tmp_path):
    assert read_xray(xray(tmp_path / "a.dcm", DEEP, **WINDOW)).notes == ()
    plain = read_xray(xray(tmp_path / "b.dcm", DEEP))
    assert "states no window" in plain.notes[0]
    stretched = (PLANE - PLANE.min()) / float(np.ptp(PLANE)) * 255
    np.testing.assert_allclose(plain.array.T, stretched, atol=0.5)
    inverted = read_xray(xray(tmp_path / "c.dcm", 255 - PLANE, PhotometricInterpretation="MONOCHROME1"))
    assert "turned round" in inverted.notes[-1]
    assert inverted.frontal


def test_padding_is_black_and_no_part_of_the_range(tmp_path):
    padded = DEEP.copy()
    padded[:, :4] = 65535
    found = shown(xray(tmp_path / "a.dcm", padded, PixelPaddingValue=65535))
    assert (found[:, :4] == 0).all()
    assert found[:, 4:].max() == 255


def refused(path: Path, kind: type[PipelinesError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        read_xray(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LAO", "RPO"])
def test_lateral_and_oblique_views_are_refused(tmp_path, view):
    refused(xray(tmp_path / "a.dcm", ViewPosition=view), UnsupportedImageError, "lateral or oblique.*frontal view")


def test_a_lateral_view_by_its_orientation(tmp_path):
    values = {"ViewPosition": None, "PatientOrientation": ["A", "F"]}
    refused(xray(tmp_path / "a.dcm", **values), UnsupportedImageError, "lateral or oblique")
    assert read_xray(xray(tmp_path / "b.dcm", ViewPosition=None, PatientOrientation=["L", "F"])).frontal


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ViewPosition": "LLD"}, "lies on a side"),
        ({"BodyPartExamined": "HAND"}, "another part of the body"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PRESENTATION"),
        ({"Modality": "CT"}, "modality is CT"),
        ({"Modality": "MG"}, "modality is MG"),
        ({"NumberOfFrames": 2, "PixelData": PLANE.tobytes() * 2}, "several frames"),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, "not square"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "grey is due"),
    ],
)
def test_what_is_no_frontal_chest_xray(tmp_path, values, words):
    refused(xray(tmp_path / "a.dcm", **values), UnsupportedImageError, words)


@pytest.mark.parametrize("part", ["CHEST", "THORAX", "PORT CHEST", ""])
def test_how_a_chest_is_called(tmp_path, part):
    assert read_xray(xray(tmp_path / "a.dcm", BodyPartExamined=part)).frontal


def test_damaged_xrays(tmp_path):
    path = xray(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-500])
    refused(path, UnreadableFileError, "truncated")
    refused(xray(tmp_path / "b.dcm", PixelData=None), UnreadableFileError, "no pixels")
    refused(xray(tmp_path / "c.dcm", PLANE * 0 + 7), IntensityError, "every pixel")
    flipped = xray(tmp_path / "d.dcm", 255 - PLANE)
    refused(flipped, IntensityError, "negative")


def test_each_xray_of_a_folder_is_a_case(tmp_path):
    paths = [xray(tmp_path / "pa.dcm"), xray(tmp_path / "lateral.dcm", ViewPosition="LL"), xray(tmp_path / "IM3")]
    assert find_cases(tmp_path) == sorted(paths)
    with pytest.raises(UnsupportedImageError, match="not CT"):
        read_case(paths[0])


# --- photographs ------------------------------------------------------------------------------------------------------


def seen(path: Path) -> np.ndarray:
    picture = read_colour(path)
    assert (picture.file_format, picture.orientation) == ("DICOM", 1)
    return picture.array.transpose(2, 1, 0)


@pytest.mark.parametrize("modality", ["XC", "DMS", "GM"])
def test_a_photograph(tmp_path, modality):
    np.testing.assert_array_equal(seen(photograph(tmp_path / "a.dcm", Modality=modality)), RGB)
    assert read_colour(tmp_path / "a.dcm").notes == ()
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    np.testing.assert_array_equal(
        seen(photograph(tmp_path / "b.dcm", PlanarConfiguration=1, PixelData=planes.tobytes())), RGB
    )


def test_compressed_photographs(tmp_path):
    dataset = pydicom.dcmread(photograph(tmp_path / "a.dcm"))
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "rle.dcm")
    np.testing.assert_array_equal(seen(tmp_path / "rle.dcm"), RGB)
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.PixelData = pydicom.encaps.encapsulate([(tmp_path / "a.jpg").read_bytes()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID, dataset.PhotometricInterpretation = JPEGBaseline8Bit, "YBR_FULL_422"
    dataset.save_as(tmp_path / "jpeg.dcm")
    assert np.abs(seen(tmp_path / "jpeg.dcm").astype(int) - RGB).mean() < 5


def test_a_palette_and_grey(tmp_path):
    index = (ROWS // 10 + COLUMNS // 20).astype(np.uint8)
    colours = np.random.default_rng(0).integers(0, 255, (256, 3)).astype(np.uint16)
    values = {"PhotometricInterpretation": "PALETTE COLOR"}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        values[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        values[f"{name}PaletteColorLookupTableData"] = (colours[:, channel] * 257).astype("<u2").tobytes()
    np.testing.assert_array_equal(seen(photograph(tmp_path / "a.dcm", index, **values)), colours[index])
    picture = read_colour(photograph(tmp_path / "b.dcm", RGB[:, :, 0]))
    np.testing.assert_array_equal(picture.array[1].T, RGB[:, :, 0])
    assert "three equal channels" in picture.notes[0]


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"Modality": "CT"}, UnsupportedImageError, "a photograph"),
        ({"NumberOfFrames": 2, "PixelData": RGB.tobytes() * 2}, UnsupportedImageError, "several frames"),
        ({"PixelData": RGB.tobytes()[:-100]}, UnreadableFileError, "truncated"),
        ({"PixelData": bytes(RGB.size)}, IntensityError, "every pixel"),
        ({"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}, UnsupportedImageError, "16 bits"),
        ({"Rows": 20000, "Columns": 20000}, UnreadableFileError, "100 megapixels"),
    ],
)
def test_photographs_that_are_refused(tmp_path, values, kind, words):
    with pytest.raises(kind, match=words):
        read_colour(photograph(tmp_path / "a.dcm", **values))
