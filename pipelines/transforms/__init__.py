"""Dictionary transforms: load images and labels, refuse what is unlike them, draw slices, and apply a fitted
temperature."""

from pipelines.transforms.load import LoadCTd, LoadLabeld, LoadPictured, LoadVolumed, LoadXrayd
from pipelines.transforms.looks import KnownLooksd
from pipelines.transforms.slices import RandSlicesd
from pipelines.transforms.strict_reader import StrictReader
from pipelines.transforms.temperature import Calibration, OperatingPoint, TemperatureScaled, calibration_path

__all__ = [
    "Calibration",
    "KnownLooksd",
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
