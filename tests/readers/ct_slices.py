"""A good slice of a CT series, for tests to spoil."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def make_slice(volume: np.ndarray, k: int, uids: dict[str, str]) -> FileDataset:
    """Slice k of int16 Hounsfield units (columns, rows, slices), 2 mm apart; `uids` by their keywords."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID = "patient-1"
    dataset.PatientName = "Secret^Name"
    for name, uid in uids.items():
        setattr(dataset, name, uid)
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [-14.0, -9.0, 100.0 + 2.0 * k]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.8, 0.7]  # between rows, between columns
    dataset.SliceThickness = 2.5
    dataset.Rows, dataset.Columns = volume.shape[1], volume.shape[0]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = (volume[:, :, k].T + 1024).astype("<i2").tobytes()
    return dataset
