"""Faults of a DICOM series, each made of a good phantom one: for `reader_faults.py` and its test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    BasicTextSRStorage,
    EnhancedCTImageStorage,
    JPEGLosslessSV1,
    generate_uid,
)

from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.phantom_files import write_dicom_case

SLICES, SPACING, SIDE = 20, 2.0, 64
Spoil = Callable[[Path], None]


def write_good(folder: Path) -> Path:
    """A series of 20 slices of 64 x 64 pixels, 2.0 mm apart; files and InstanceNumbers go from the feet to the head."""
    write_dicom_case(folder, "phantom", make_lung_phantom(0, size=SIDE, slices=SLICES))
    series = folder / "series" / "phantom"
    for k, dataset in _edited(series):
        dataset.ImagePositionPatient = [-200.0, -200.0, -300.0 + SPACING * k]
        dataset.SliceThickness, dataset.SliceLocation = SPACING, -300.0 + SPACING * k
        stored = _stored(dataset)
        stored[:3] = 0  # air, where one of the faults puts padding
        dataset.PixelData = stored.tobytes()
    return series


def _edited(folder: Path, which: Any = None) -> Iterator[tuple[int, pydicom.FileDataset]]:
    """Each slice, or those of some numbers, to be changed: it is written back when the next one is asked for."""
    for k, path in enumerate(sorted(folder.glob("*.dcm"))):
        if which is None or k in which:
            dataset = pydicom.dcmread(path)
            with pydicom.config.disable_value_validation():
                yield k, dataset
                dataset.save_as(path)


def _path(folder: Path, k: int) -> Path:
    return folder / f"{k + 1:04d}.dcm"


def _stored(dataset: pydicom.Dataset) -> np.ndarray:
    return np.array(dataset.pixel_array)


def _set(which: Any = None, **values: Any) -> Spoil:
    """Sets elements in every slice, or in some; None deletes one."""

    def spoil(folder: Path) -> None:
        for _, dataset in _edited(folder, which):
            for keyword, value in values.items():
                if value is None:
                    delattr(dataset, keyword)
                else:
                    setattr(dataset, keyword, value)

    return spoil


def _each(change: Callable[[pydicom.FileDataset, int], None], which: Any = None) -> Spoil:
    def spoil(folder: Path) -> None:
        for k, dataset in _edited(folder, which):
            change(dataset, k)

    return spoil


def _move(dataset: pydicom.FileDataset, *, y: float = 0.0, z: float = 0.0) -> None:
    place = [float(value) for value in dataset.ImagePositionPatient]
    dataset.ImagePositionPatient = [place[0], round(place[1] + y, 4), round(place[2] + z, 4)]


def _missing(folder: Path) -> None:
    for k in (5, 6, 7):
        _path(folder, k).unlink()


def _twice(folder: Path) -> None:
    shutil.copy(_path(folder, 5), folder / "0006_copy.dcm")


def _shuffle(dataset: pydicom.FileDataset, k: int) -> None:
    dataset.InstanceNumber = int(np.random.default_rng(1).permutation(SLICES)[k]) + 1


def _tilt(dataset: pydicom.FileDataset, k: int) -> None:
    """As scanners write it: the table moves along z, the slices' plane is turned about x."""
    angle = np.radians(20)
    dataset.ImageOrientationPatient = [1, 0, 0, 0, round(float(np.cos(angle)), 6), round(float(np.sin(angle)), 6)]
    dataset.GantryDetectorTilt = 20


def _second_series(folder: Path) -> None:
    """Three slices of another reconstruction, half a slice off, as thin localising series are."""
    uid = generate_uid(entropy_srcs=["another series"])
    for k in (4, 5, 6):
        dataset = pydicom.dcmread(_path(folder, k))
        dataset.SeriesInstanceUID, dataset.SeriesNumber = uid, 2
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=["another", str(k)])
        _move(dataset, z=1.0)
        dataset.PixelData = (_stored(dataset) // 2).astype("<u2").tobytes()
        dataset.save_as(folder / f"other_{k}.dcm")


def _truncated(folder: Path) -> None:
    path = _path(folder, SLICES - 1)
    path.write_bytes(path.read_bytes()[:-3000])


def _truncated_header(folder: Path) -> None:
    path = _path(folder, SLICES - 1)
    path.write_bytes(path.read_bytes()[:600])


def _beside(sop_class: str, **values: Any) -> Spoil:
    """One more object of the same study, in its own series, in the series' folder."""

    def spoil(folder: Path) -> None:
        dataset = pydicom.dcmread(_path(folder, 0))
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["beside"])
        dataset.SeriesInstanceUID, dataset.SeriesNumber = generate_uid(entropy_srcs=["its series"]), 99
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        if sop_class == BasicTextSRStorage:
            for keyword in ("PixelData", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient"):
                delattr(dataset, keyword)
        dataset.save_as(folder / "zz_beside.dcm")

    return spoil


def _smaller(dataset: pydicom.FileDataset, k: int) -> None:
    dataset.PixelData = _stored(dataset)[::2, ::2].astype("<u2").tobytes()
    dataset.Rows = dataset.Columns = SIDE // 2


def _slope(dataset: pydicom.FileDataset, k: int) -> None:
    slope = 1 + k % 3
    dataset.PixelData = np.rint(_stored(dataset) / slope).astype("<u2").tobytes()
    dataset.RescaleSlope = slope


def _pad(dataset: pydicom.FileDataset, k: int) -> None:
    stored = _stored(dataset).astype(np.int16)
    stored[:3] = -2000
    dataset.PixelRepresentation = 1
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.PixelData = stored.tobytes()


def _colour(dataset: pydicom.FileDataset, k: int) -> None:
    grey = np.clip(_stored(dataset) // 8, 0, 255).astype(np.uint8)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = np.repeat(grey[:, :, None], 3, axis=2).tobytes()
    dataset["PixelData"].VR = "OB"


def _dirty(dataset: pydicom.FileDataset, k: int) -> None:
    stored = _stored(dataset)
    stored[::2] |= 0x8000
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.PixelData = stored.astype("<u2").tobytes()


def _interleaved(folder: Path) -> None:
    """A second acquisition under the same SeriesInstanceUID, its slices between those of the first."""
    for k in range(SLICES):
        dataset = pydicom.dcmread(_path(folder, k))
        dataset.AcquisitionNumber, dataset.InstanceNumber = 2, SLICES + k + 1
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=["second", str(k)])
        _move(dataset, z=1.0)
        dataset.PixelData = (_stored(dataset) // 2).astype("<u2").tobytes()
        dataset.save_as(folder / f"second_{k:04d}.dcm")


def _kernel(dataset: pydicom.FileDataset, k: int) -> None:
    dataset.ConvolutionKernel = "B30f" if k % 2 else "B70f"


def _no_preamble(folder: Path) -> None:
    for path in folder.glob("*.dcm"):
        data = path.read_bytes()
        group = 144 + int.from_bytes(data[140:144], "little")
        path.write_bytes(data[group:])


def _broken_link(folder: Path) -> None:
    path = _path(folder, SLICES - 1)
    path.unlink()
    path.symlink_to(folder / "store" / "gone.dcm")


def _write(content: bytes) -> Spoil:
    return lambda folder: _path(folder, SLICES - 1).write_bytes(content) and None


def _program(folder: Path) -> None:
    path = _path(folder, SLICES - 1)
    path.write_bytes(b"MZ" + path.read_bytes()[2:])


def _damaged(folder: Path) -> None:
    """Bytes in the middle of a slice as hospitals compress it (JPEG lossless) that were not copied right."""
    import gdcm

    path = _path(folder, 9)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    writer.Write()
    data = bytearray(path.read_bytes())
    middle = len(data) - 1500
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(bytes(data))


def _wrong_syntax(folder: Path) -> None:
    for path in folder.glob("*.dcm"):
        data = path.read_bytes()
        wrong = JPEGLosslessSV1.encode()  # longer than what stood there: the meta header must be written anew
        dataset = pydicom.dcmread(path)
        meta = deepcopy(dataset.file_meta)
        group = 144 + int.from_bytes(data[140:144], "little")
        meta.TransferSyntaxUID = pydicom.uid.UID(wrong.decode())
        with path.open("wb") as file:
            file.write(bytes(128) + b"DICM")
            pydicom.filewriter.write_file_meta_info(file, meta)
            file.write(data[group:])


def _enhanced(folder: Path) -> None:
    """One file instead of 20, whose frames are in another order than space."""
    files = sorted(folder.glob("*.dcm"))
    slices = [pydicom.dcmread(files[k]) for k in np.random.default_rng(1).permutation(SLICES)]
    one = deepcopy(slices[0])
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    one.NumberOfFrames, one.PixelData = SLICES, b"".join(each.PixelData for each in slices)
    groups = Dataset()
    for name, keywords in (
        ("PixelMeasuresSequence", ("PixelSpacing", "SliceThickness")),
        ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
        ("PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept", "RescaleType")),
    ):
        item = Dataset()
        for keyword in keywords:
            setattr(item, keyword, getattr(one, keyword))
            delattr(one, keyword)
        setattr(groups, name, Sequence([item]))
    frames = []
    for each in slices:
        place, frame = Dataset(), Dataset()
        place.ImagePositionPatient = each.ImagePositionPatient
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    del one.ImagePositionPatient, one.SliceLocation
    one.SharedFunctionalGroupsSequence, one.PerFrameFunctionalGroupsSequence = Sequence([groups]), Sequence(frames)
    for path in files:
        path.unlink()
    one.save_as(folder / "0001.dcm")


AXIAL_SKEWED = [1, 0, 0, 0.17, 0.98, 0]
FAULTS: dict[str, Spoil] = {
    "nothing wrong": lambda folder: None,
    "3 slices missing": _missing,
    "a slice twice": _twice,
    "InstanceNumber shuffled": _each(_shuffle),
    "InstanceNumber missing": _set(InstanceNumber=None),
    "gantry tilted by 20°": _each(_tilt),
    "two series in a folder": _second_series,
    "last file truncated": _truncated,
    "last file's header truncated": _truncated_header,
    "MONOCHROME1": _set(PhotometricInterpretation="MONOCHROME1"),
    "a slice of another patient": _set([9], PatientID="somebody else"),
    "a slice of another study": _set([9], StudyInstanceUID="1.2.3.4"),
    "two acquisitions interleaved under one UID": _interleaved,
    "two kernels in turn under one UID": _each(_kernel),
    "a scout beside the slices": _beside(
        "1.2.840.10008.5.1.4.1.1.2", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    ),
    "a dose report beside the slices": _beside(BasicTextSRStorage, Modality="SR"),
    "a slice of another size": _each(_smaller, [9]),
    "PixelSpacing changes": _set([9], PixelSpacing=[3.0, 3.0]),
    "slices unevenly spaced": _each(lambda dataset, k: _move(dataset, z=0.03 * k * k)),
    "a slice shifted sideways": _each(lambda dataset, k: _move(dataset, y=12.5), [9]),
    "ImagePositionPatient missing in a slice": _set([9], ImagePositionPatient=None),
    "ImagePositionPatient missing in all": _set(ImagePositionPatient=None),
    "ImagePositionPatient holds NaN": _set([9], ImagePositionPatient=["-200", "-200", "nan"]),
    "ImageOrientationPatient missing": _set(ImageOrientationPatient=None),
    "ImageOrientationPatient not at right angles": _set(ImageOrientationPatient=AXIAL_SKEWED),
    "RescaleSlope differs from slice to slice": _each(_slope),
    "rescale missing": _set(RescaleSlope=None, RescaleIntercept=None),
    "padding of -2000 beside the picture": _each(_pad),
    "RGB": _each(_colour),
    "unused high bits in use": _each(_dirty),
    "one SOPInstanceUID for all slices": _set(SOPInstanceUID="1.2.3.4.5"),
    "enhanced CT, frames in any order": _enhanced,
    "no preamble, no meta header": _no_preamble,
    "last file a link that leads nowhere": _broken_link,
    "last file empty": lambda folder: _path(folder, SLICES - 1).write_bytes(b"") and None,
    "last file a web page": _write(b"<!DOCTYPE html><html><body>Session expired</body></html>" * 40),
    "a program in the preamble": _program,
    "Rows absurd": _set([9], Rows=60000),
    "a compressed slice damaged": _damaged,
    "transfer syntax not that of the file": _wrong_syntax,
}  # fmt: skip


# What is no fault for who looks closely: the volume of the good series is there to be read.
READABLE = {
    "nothing wrong", "InstanceNumber shuffled", "InstanceNumber missing", "a scout beside the slices",
    "a dose report beside the slices", "RescaleSlope differs from slice to slice",
    "padding of -2000 beside the picture", "unused high bits in use", "one SOPInstanceUID for all slices",
    "enhanced CT, frames in any order", "no preamble, no meta header", "transfer syntax not that of the file",
}  # fmt: skip


@contextmanager
def spoilt(good: Path, fault: str, out: Path) -> Iterator[Path]:
    """A copy of a good series with the fault in it, for the time of the block; always under one name."""
    folder = out / "series"
    shutil.copytree(good, folder)
    try:
        FAULTS[fault](folder)
        yield folder
    finally:
        shutil.rmtree(folder)
