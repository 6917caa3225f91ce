"""Whether a chest X-ray's contrast, exposure, sharpness and noise are those of the pictures that the network knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

_SIDE = 224  # of the copy that is measured: what the network sees, whatever the picture's own size
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)  # Immerkaer 1996, 10.1006/cviu.1996.0060

# The 0.05th and the 99.95th percentile of the 4,164 pictures that the shipped weights were trained on
# (benchmarks/chest_robustness.py prints them); beyond them nothing is known of the network.
LEAST_CONTRAST = 85.0
MEDIANS = (60.0, 207.5)
MIDDLES = (0.293, 0.907)
MOST_BLACK, MOST_WHITE = 0.246, 0.01
LEAST_SHARPNESS = 0.862
# Training's pictures have 0.6 at most, for JPEG and being made small smooth them: three in four of another hospital's
# have more (Shenzhen's, 1.1 at most). The network is as right as without noise up to here, and errs from twice that on.
MOST_NOISE = 4.0


@dataclass(frozen=True)
class XrayQuality:
    """What is measured on a chest X-ray, as the network sees it.

    Attributes:
        contrast: grey levels of 0..255 from the 2nd to the 98th percentile.
        middle: the median grey, in parts of the way from the 2nd to the 98th percentile: what a gamma curve moves.
        median: the median grey, 0..255: what brightness moves.
        black, white: the parts of the picture that are 0 and 255, cut off.
        sharpness: standard deviation of what is between 1 and 2 pixels wide, in percent of the contrast.
        noise: standard deviation of the noise, in percent of the contrast.
    """

    contrast: float
    middle: float
    median: float
    black: float
    white: float
    sharpness: float
    noise: float


def measure_xray(plane: NDArray) -> XrayQuality:
    """Measure a chest X-ray (W, H), grey 0..255, of any size."""
    grey = np.ascontiguousarray(plane, dtype=np.float32)
    if grey.shape != (_SIDE, _SIDE):
        grey = np.asarray(Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BOX))
    dark, median, light = (float(each) for each in np.percentile(grey, [2, 50, 98]))
    contrast = max(light - dark, 1e-6)
    between = ndimage.gaussian_filter(grey, 1.0) - ndimage.gaussian_filter(grey, 2.0)
    # the mean absolute answer of a Gaussian's second derivative in both directions; not at the border, which is padded
    noise = np.abs(ndimage.convolve(grey, _NOISE))[1:-1, 1:-1].mean() * np.sqrt(np.pi / 2) / 6
    return XrayQuality(
        contrast,
        (median - dark) / contrast,
        median,
        float((grey <= 0).mean()),
        float((grey >= 255).mean()),
        100 * float(between.std()) / contrast,
        100 * float(noise) / contrast,
    )


def xray_doubts(plane: NDArray) -> list[str]:
    """What of a chest X-ray is unlike what the shipped network was trained on or stands, in words: contrast, exposure,
    blur, noise. A person should look where there is any.

    Args:
        plane: (W, H), grey 0..255.
    """
    found = measure_xray(plane)
    doubts = []
    if found.contrast < LEAST_CONTRAST:
        doubts.append(
            f"low contrast: {found.contrast:.0f} grey levels of 255, in training at least {LEAST_CONTRAST:.0f}"
        )
    if found.median < MEDIANS[0]:
        doubts.append(f"exposure: dark, half of it below grey {found.median:.0f}")
    elif found.median > MEDIANS[1]:
        doubts.append(f"exposure: bright, half of it above grey {found.median:.0f}")
    elif not MIDDLES[0] <= found.middle <= MIDDLES[1]:
        doubts.append(f"exposure: the middle grey lies at {100 * found.middle:.0f} % of the contrast")
    elif found.white > MOST_WHITE or found.black > MOST_BLACK:
        doubts.append(f"exposure: {100 * found.black:.0f} % is cut off at black and {100 * found.white:.0f} % at white")
    if found.sharpness < LEAST_SHARPNESS:
        doubts.append("blur: what is thin is not to be seen")
    if found.noise > MOST_NOISE:
        doubts.append(f"noise: {found.noise:.2g} % of the contrast, more than {MOST_NOISE:g} %")
    return doubts
