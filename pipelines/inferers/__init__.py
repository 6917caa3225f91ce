"""How networks for slices are applied: mixed precision, windows, flips, volumes of any length."""

from pipelines.inferers.mixed_precision import MixedPrecisionInferer, supports_bfloat16
from pipelines.inferers.slice_classes import SliceClassInferer
from pipelines.inferers.slices import VolumeSliceInferer

__all__ = ["MixedPrecisionInferer", "SliceClassInferer", "VolumeSliceInferer", "supports_bfloat16"]
