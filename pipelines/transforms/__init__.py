"""Dictionary transforms: load images and labels, refuse what is unlike them, draw slices, apply a fitted
temperature, and say how sure a mask is."""

from pipelines.transforms.confidence import KeepProbabilitiesd, MaskCertaintyd, SplitProbabilitiesd
from pipelines.transforms.load import LoadCTd, LoadLabeld, LoadPictured, LoadVolumed, LoadXrayd
from pipelines.transforms.looks import KnownLooksd
from pipelines.transforms.mask_confidence import confidence_path
from pipelines.transforms.slices import RandSlicesd
from pipelines.transforms.strict_reader import StrictReader
from pipelines.transforms.temperature import Calibration, OperatingPoint, TemperatureScaled, calibration_path

__all__ = [
    "Calibration",
    "KeepProbabilitiesd",
    "KnownLooksd",
    "LoadCTd",
    "LoadLabeld",
    "LoadPictured",
    "LoadVolumed",
    "LoadXrayd",
    "MaskCertaintyd",
    "OperatingPoint",
    "RandSlicesd",
    "SplitProbabilitiesd",
    "StrictReader",
    "TemperatureScaled",
    "calibration_path",
    "confidence_path",
]
