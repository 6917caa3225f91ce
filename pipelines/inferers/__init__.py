"""How networks for slices and pictures are applied: mixed precision, windows, flips, any length, any size."""

from pipelines.inferers.compiling import can_compile
from pipelines.inferers.features import EncodedClassInferer, FeatureInferer
from pipelines.inferers.mixed_precision import MixedPrecisionInferer, supports_bfloat16
from pipelines.inferers.pictures import PictureInferer
from pipelines.inferers.slice_classes import SliceClassInferer, resampled
from pipelines.inferers.slices import VolumeSliceInferer
from pipelines.inferers.windows import VolumeWindowInferer

__all__ = [
    "EncodedClassInferer",
    "FeatureInferer",
    "MixedPrecisionInferer",
    "PictureInferer",
    "SliceClassInferer",
    "VolumeSliceInferer",
    "VolumeWindowInferer",
    "can_compile",
    "resampled",
    "supports_bfloat16",
]
