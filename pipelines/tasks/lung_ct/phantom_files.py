"""Phantoms on disk, in the layouts of the real data: COVID-19-CT-Seg, and DICOM series with NIfTI masks."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from pipelines.tasks.lung_ct.phantom import Phantom

_INTERCEPT = -1024


def write_ct_seg_case(folder: Path, name: str, phantom: Phantom) -> None:
    """Write a phantom as a case of COVID-19-CT-Seg: ct_scans/, lung_mask/, infection_mask/,
    lung_and_infection_mask/."""
    infection = (phantom.label == 2).astype(np.uint8)
    arrays: dict[str, NDArray[np.int16] | NDArray[np.uint8]] = {
        "ct_scans": phantom.array,
        "lung_mask": phantom.lungs,
        "infection_mask": infection,
        "lung_and_infection_mask": np.where(infection == 1, 3, phantom.lungs).astype(np.uint8),
    }
    for kind, array in arrays.items():
        _save(array, phantom.affine, folder / kind / f"{name}.nii.gz")


def write_dicom_case(folder: Path, name: str, phantom: Phantom) -> None:
    """Write a phantom as a CT series, series/NAME/0001.dcm ..., and its label (0, 1, 2) as masks/NAME.nii.gz.

    Identifiers come from the seed and the name, so that the files are the same bytes each time.
    """
    home = folder / "series" / name
    home.mkdir(parents=True)
    _save(phantom.label, phantom.affine, folder / "masks" / f"{name}.nii.gz")
    for k in range(phantom.array.shape[2]):
        path = home / f"{k + 1:04d}.dcm"
        _slice(phantom, name, k, path).save_as(path, enforce_file_format=True)


def _save(array: NDArray[np.int16] | NDArray[np.uint8], affine: NDArray[np.float64], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti = nib.Nifti1Image(array, affine)
    nifti.header["descrip"] = b"phantom"
    nifti.header.set_xyzt_units("mm")
    nifti.set_sform(affine, code=1)
    nifti.set_qform(affine, code=1)
    nib.save(nifti, path)


def _uid(*parts: object) -> UID:
    return generate_uid(entropy_srcs=["lung phantom", *map(str, parts)])


def _slice(phantom: Phantom, name: str, k: int, path: Path) -> FileDataset:
    """One CT image (PS3.3 A.3): stored values are HU + 1024, upright axial (rows to the left, columns to the back)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(phantom.seed, name, phantom.array.shape, "slice", k)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = _uid(phantom.seed, name, phantom.array.shape, "study")
    ds.SeriesInstanceUID = _uid(phantom.seed, name, phantom.array.shape, "series")
    ds.FrameOfReferenceUID = _uid(phantom.seed, name, phantom.array.shape, "frame")
    ds.PositionReferenceIndicator = ""
    ds.Modality = "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.PatientName = f"Phantom^{name}"
    ds.PatientID = name
    ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "drawn by a program"
    ds.PatientBirthDate = ds.PatientSex = ds.ReferringPhysicianName = ds.AccessionNumber = ""
    ds.StudyDate, ds.StudyTime = "20000101", "000000"
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "1", 1, 1, k + 1
    ds.StudyDescription = ds.SeriesDescription = "phantom"
    ds.ImageComments = f"Drawn phantom, extent {phantom.extent:.4f}, not a person"
    ds.QualityControlImage = "YES"
    ds.Manufacturer = "imaging-bundles phantom"
    ds.PatientPosition = "HFS"
    ds.KVP = 120
    # RAS to LPS: the first two axes change sign
    to_lps = np.diag([-1.0, -1.0, 1.0])
    axes = to_lps @ phantom.affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    directions = axes / spacing
    position = to_lps @ (phantom.affine @ [0, 0, k, 1])[:3]
    ds.ImageOrientationPatient = [round(float(v), 6) for v in (*directions[:, 0], *directions[:, 1])]
    ds.ImagePositionPatient = [round(float(v), 5) for v in position]
    ds.PixelSpacing = [round(float(spacing[1]), 6), round(float(spacing[0]), 6)]
    ds.SliceThickness = round(float(spacing[2]), 6)
    ds.SliceLocation = round(float(position[2]), 5)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Columns, ds.Rows = phantom.array.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = _INTERCEPT, 1, "HU"
    ds.WindowCenter, ds.WindowWidth = -600, 1500
    stored = phantom.array[:, :, k].T.astype(np.int32) - _INTERCEPT
    ds.PixelData = stored.astype("<u2").tobytes()
    return ds
