"""Small DICOM inputs with all that their modules demand: a series in any direction, an enhanced CT, a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    VLPhotographicImageStorage,
    generate_uid,
)

AXIAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)


def write_series(
    folder: Path,
    shape: tuple[int, int, int] = (40, 36, 3),
    *,
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float, float] = (0.8, 0.7, 2.0),
    backwards: bool = False,
    hu: np.ndarray | None = None,
) -> Path:
    """A CT series; file names and InstanceNumbers go against the stack where it is written backwards.

    Args:
        shape: columns, rows, slices.
        spacing: between rows, columns and slices, in mm.
        hu: what it shows, Hounsfield units (columns, rows, slices), in the place of a box with two holes.
    """
    shape = shape if hu is None else hu.shape
    folder.mkdir(parents=True)
    study, series, frame = (generate_uid() for _ in range(3))
    normal = np.cross(orientation[:3], orientation[3:])
    for k in range(shape[2]):
        dataset = _dataset(CTImageStorage, "CT", _values(shape, k) if hu is None else _stored(hu[..., k]))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.ImagePositionPatient = [float(v) for v in np.array([-14.0, -9.0, 100.0]) + normal * spacing[2] * k]
        dataset.ImageOrientationPatient = list(orientation)
        dataset.PixelSpacing, dataset.SliceThickness = list(spacing[:2]), 2.5
        number = shape[2] - k if backwards else k + 1
        dataset.InstanceNumber = number
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    return folder


def write_enhanced(
    path: Path,
    shape: tuple[int, int, int] = (40, 36, 5),
    *,
    spacing: tuple[float, float, float] = (0.8, 0.7, 2.0),
    hu: np.ndarray | None = None,
) -> Path:
    """An enhanced CT in one file, whose frames are not in the order of space; arguments as of ``write_series``."""
    shape = shape if hu is None else hu.shape
    order = np.random.default_rng(1).permutation(shape[2])
    planes = [_values(shape, int(k)) if hu is None else _stored(hu[..., k]) for k in order]
    dataset = _dataset(EnhancedCTImageStorage, "CT", np.stack(planes))
    dataset.FrameOfReferenceUID, dataset.NumberOfFrames = generate_uid(), shape[2]
    orientation, measures, rescale = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(AXIAL)
    measures.PixelSpacing, measures.SliceThickness = list(spacing[:2]), spacing[2]
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1024, "HU"
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([rescale])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [-14.0, -9.0, 100.0 + spacing[2] * float(k)]
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_xray(path: Path, plane: np.ndarray) -> Path:
    """A CR picture of 8-bit grey (rows, columns)."""
    dataset = _dataset(ComputedRadiographyImageStorage, "CR", plane)
    dataset.ViewPosition, dataset.BodyPartExamined, dataset.PatientOrientation = "PA", "CHEST", ["L", "F"]
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_photograph(path: Path, rgb: np.ndarray) -> Path:
    """A photograph of (rows, columns, 3)."""
    _dataset(VLPhotographicImageStorage, "XC", rgb).save_as(path, enforce_file_format=True)
    return path


def _values(shape: tuple[int, int, int], k: int) -> np.ndarray:
    """uint16 (rows, columns): a body with lungs, 1024 above Hounsfield units."""
    columns, rows, _ = shape
    plane = np.full((rows, columns), 24, np.uint16)
    plane[4 : rows - 4, 4 : columns - 4] = 1064
    plane[10 : rows - 10, 8 : columns // 2 - 2] = 174 + k % 7
    plane[10 : rows - 10, columns // 2 + 2 : columns - 8] = 164
    return plane


def _stored(plane: np.ndarray) -> np.ndarray:
    """uint16 (rows, columns) of Hounsfield units (columns, rows), 1024 above them."""
    return np.ascontiguousarray(plane.T.astype(np.int32) + 1024).astype(np.uint16)


def _dataset(sop_class: UID, modality: str, pixels: np.ndarray) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.ImageType, dataset.SpecificCharacterSet = modality, ["ORIGINAL", "PRIMARY"], "ISO_IR 100"
    if modality == "CT":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PatientID, dataset.PatientName = "patient-1", "Grün^Änne"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyID, dataset.AccessionNumber = "19500101", "F", "1", "2"
    dataset.StudyDate, dataset.StudyTime, dataset.ReferringPhysicianName = "20200101", "101010", ""
    dataset.InstanceNumber, dataset.SeriesNumber = 1, 4
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour or pixels.ndim == 2 else pixels.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        dataset.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits, bits - 1, 0
    dataset.PixelData = pixels.tobytes()
    return dataset
