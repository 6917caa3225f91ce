"""Dictionary transforms: load images and labels, draw slices, and apply a fitted temperature."""

from pipelines.transforms.load import LoadCTd, LoadLabeld, LoadPictured, LoadVolumed, LoadXrayd
from pipelines.transforms.slices import RandSlicesd
from pipelines.transforms.strict_reader import StrictReader
from pipelines.transforms.temperature import Calibration, OperatingPoint, TemperatureScaled, calibration_path

__all__ = [
    "Calibration",
    "LoadCTd",
    "LoadLabeld",
    "LoadPictured",
    "LoadVolumed",
    "LoadXrayd",
    "OperatingPoint",
    "RandSlicesd",
    "StrictReader",
    "TemperatureScaled",
    "calibration_path",
]
