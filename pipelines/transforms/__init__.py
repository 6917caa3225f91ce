"""Dictionary transforms: load images, window, frame, draw slices, and make a picture another clinic's."""

from pipelines.transforms.chest import select_chest
from pipelines.transforms.dermoscopy import RandDarkCornersd, RandGlared, RandHaird, RandRulerd, RandSkinToned
from pipelines.transforms.intensity import ScaleCTd
from pipelines.transforms.load import LoadCTd, LoadLabeld, LoadPictured, LoadVolumed, LoadXrayd
from pipelines.transforms.members import CountMembersd, SplitMembersd
from pipelines.transforms.severity import SeverityLabeld
from pipelines.transforms.slices import RandSlicesd
from pipelines.transforms.stray import RemoveStrayLabelsd
from pipelines.transforms.temperature import Calibration, OperatingPoint, TemperatureScaled, calibration_path

__all__ = [
    "Calibration",
    "CountMembersd",
    "LoadCTd",
    "LoadLabeld",
    "LoadPictured",
    "LoadVolumed",
    "LoadXrayd",
    "OperatingPoint",
    "RandDarkCornersd",
    "RandGlared",
    "RandHaird",
    "RandRulerd",
    "RandSkinToned",
    "RandSlicesd",
    "RemoveStrayLabelsd",
    "ScaleCTd",
    "SeverityLabeld",
    "SplitMembersd",
    "TemperatureScaled",
    "calibration_path",
    "select_chest",
]
