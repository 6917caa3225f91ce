"""Enhanced CT made of slices: one file, whose frames say in functional groups what a slice says in its header."""

from __future__ import annotations

from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, generate_uid

FLAT = [
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
]


def one_item(**values) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def shared_groups(of: Dataset) -> Dataset:
    groups = Dataset()
    groups.PixelMeasuresSequence = one_item(PixelSpacing=of.PixelSpacing, SliceThickness=of.SliceThickness)
    groups.PlaneOrientationSequence = one_item(ImageOrientationPatient=of.ImageOrientationPatient)
    groups.PixelValueTransformationSequence = one_item(
        RescaleSlope=of.RescaleSlope, RescaleIntercept=of.RescaleIntercept, RescaleType="HU"
    )
    return groups


def enhanced_of(slices: list[Dataset], *, per_frame: bool = False) -> Dataset:
    """One enhanced CT of slices; with `per_frame`, nothing is shared between its frames."""
    first = deepcopy(slices[0])
    first.SOPClassUID = first.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    first.NumberOfFrames = len(slices)
    first.PixelData = b"".join(each.PixelData for each in slices)
    frames = []
    for each in slices:
        frame = shared_groups(each) if per_frame else Dataset()
        frame.PlanePositionSequence = one_item(ImagePositionPatient=each.ImagePositionPatient)
        frames.append(frame)
    first.PerFrameFunctionalGroupsSequence = Sequence(frames)
    if not per_frame:
        first.SharedFunctionalGroupsSequence = Sequence([shared_groups(slices[0])])
    for keyword in FLAT:
        delattr(first, keyword)
    return first
