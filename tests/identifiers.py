"""A series that says whom it is of, and a search for that in whatever was written."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

SPOKEN = ("Zzyzxova", "Quillon", "QX77", "19530417", "20190823", "ACC9931", "Hildebrandtova", "STID8812")


def tag(folder: Path, patient: int) -> set[str]:
    """Write identifiers into the files of a series; all UIDs of it."""
    uids: set[str] = set()
    for path in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        if "PatientIdentityRemoved" in dataset:
            del dataset.PatientIdentityRemoved  # no longer the phantom that says so
        dataset.PatientName, dataset.PatientID = f"Zzyzxova{patient}^Quillon", f"QX77-{patient}-31"
        dataset.PatientBirthDate, dataset.StudyDate, dataset.SeriesDate = "19530417", "20190823", "20190823"
        dataset.AccessionNumber, dataset.StudyID = f"ACC9931{patient}", "STID8812"
        dataset.ReferringPhysicianName = "Hildebrandtova^A"
        dataset.StudyDescription = dataset.SeriesDescription = dataset.ImageComments = "of Zzyzxova"
        dataset.private_block(0x0009, "MAKER", create=True).add_new(1, "LO", "Zzyzxova")
        source = Dataset()
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        source.PatientName = "Zzyzxova^In^A^Sequence"
        dataset.SourceImageSequence = [source]
        dataset.UnassignedSharedConvertedAttributesSequence = [source]
        dataset.save_as(path)
        keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
        uids |= {str(dataset[keyword].value) for keyword in keywords}
    return uids


def told(roots: Iterable[Path], words: Iterable[str]) -> set[str]:
    """``PATH: word`` of all that stands in the files at these places, or in their names."""
    found = set()
    for root in roots:
        for path in [root, *root.rglob("*")] if root.is_dir() else [root]:
            name = os.fsencode(path.relative_to(root.parent))
            content = path.read_bytes() if path.is_file() else b""
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as packed:
                    content += b"".join(packed.read(each) for each in packed.namelist())
            found |= {f"{path}: {word}" for word in words if word.encode() in content or word.encode() in name}
    return found
