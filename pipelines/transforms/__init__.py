"""Dictionary transforms: load images, window, frame, draw slices, and make a picture another clinic's."""

from pipelines.transforms.chest import select_chest
from pipelines.transforms.dermoscopy import RandDarkCornersd, RandGlared, RandHaird, RandRulerd, RandSkinToned
from pipelines.transforms.intensity import ScaleCTd, scale_ct, stretch_wide_window
from pipelines.transforms.load import LoadCTd, LoadLabeld, LoadPictured, LoadXrayd
from pipelines.transforms.lungs import aerated_share, derive_lung_mask
from pipelines.transforms.members import CountMembersd, SplitMembersd
from pipelines.transforms.severity import SeverityLabeld
from pipelines.transforms.slices import RandSlicesd
from pipelines.transforms.stray import RemoveStrayLabelsd
from pipelines.transforms.temperature import Calibration, OperatingPoint, TemperatureScaled, calibration_path
from pipelines.transforms.window import Window, judge_window
from pipelines.transforms.xray_quality import XrayQuality, measure_xray, xray_doubts

__all__ = [
    "Calibration",
    "CountMembersd",
    "LoadCTd",
    "LoadLabeld",
    "LoadPictured",
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
    "Window",
    "XrayQuality",
    "aerated_share",
    "calibration_path",
    "derive_lung_mask",
    "judge_window",
    "measure_xray",
    "scale_ct",
    "select_chest",
    "stretch_wide_window",
    "xray_doubts",
]
