"""Where a CT's values lie in the lung window, and what moves the greys of pictures there."""

from __future__ import annotations

import numpy as np

from pipelines.errors import IntensityError
from pipelines.readers import CaseImage
from pipelines.tasks.lung_ct.window import Window, judge_window

SOFT_TISSUE = 0.74  # 40 HU in the lung window
DARKEST_LUNG = 0.074  # some -900 HU
BRIGHT, MIN_BRIGHT = 0.55, 0.05  # above -230 HU in that window; the share of a picture that must be so
PLACEABLE = (
    "export the slice in a lung window, air dark (centre -600, width 1500), or give the DICOM series or NIfTI volume"
)
LUNG_WINDOW = (-1000.0, 400.0)  # HU: aerated lung lands near 0.1, soft tissue near 0.75, as in most 8-bit pictures


def scale_ct(array: np.ndarray, intensity: str) -> np.ndarray:
    """Maps Hounsfield units ("hu", window -1000..400) or 8-bit grey ("display", 0..255) to 0..1, clipped.

    Args:
        array: any shape, real values.
        intensity: "hu" or "display".

    Returns:
        float32 of the same shape, 0..1.

    Raises:
        IntensityError: for any other word.
    """
    if intensity not in ("hu", "display"):
        raise IntensityError(f"intensity is {intensity!r}", how="give 'hu' or 'display'")
    low, high = LUNG_WINDOW if intensity == "hu" else (0.0, 255.0)
    scaled = array.astype(np.float32)
    scaled -= low
    scaled /= high - low
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def anchor_soft_tissue(scaled: np.ndarray) -> np.ndarray:
    """Brightens or darkens a picture so that its soft tissue lies where the window in Hounsfield units puts it.

    Pictures come in windows that nobody wrote down: soft tissue is anything from 0.7 to white. Its grey value is taken
    as the median of what is bright; air stays 0.

    Args:
        scaled: (…), 0..1.

    Returns:
        float32 of the same shape, 0..1; unchanged where hardly anything is bright.
    """
    bright = scaled[scaled > BRIGHT]
    if bright.size < MIN_BRIGHT * scaled.size:
        return scaled
    return np.clip(scaled * (SOFT_TISSUE / float(np.median(bright))), 0.0, 1.0).astype(np.float32)


def stretch_wide_window(scaled: np.ndarray, window: Window, wide_tissue: float = SOFT_TISSUE) -> np.ndarray:
    """Changes a picture made in a wide window, as a whole, until its soft tissue lies where it is expected, and where
    the lungs are too light for a lung window, the darkest of them too.

    Args:
        scaled: (…), 0..1.
        window: of the picture.
        wide_tissue: where the soft tissue of a wide window goes; that of the others goes to where a lung window has it.

    Returns:
        float32 of the same shape, 0..1; unchanged where the window is not wide.
    """
    if window.tissue is not None and window.lung is not None:
        slope = (SOFT_TISSUE - DARKEST_LUNG) * 255 / (window.tissue - window.lung)
        return np.clip(DARKEST_LUNG + (scaled - window.lung / 255) * slope, 0.0, 1.0).astype(np.float32)
    if not window.wide or window.tissue is None:
        return scaled
    return np.clip(scaled * (wide_tissue * 255 / window.tissue), 0.0, 1.0).astype(np.float32)


def placed(case: CaseImage) -> tuple[np.ndarray, Window]:
    """A case's axial image in the lung window, float32 (X, Y, Z) 0..1, stretched where its window is wide, and what was
    found of that window; nothing of one in Hounsfield units."""
    image = case.axial(case.array)
    scaled = scale_ct(image, case.intensity)
    if case.intensity == "hu":
        return scaled, Window(None)
    window = judge_window(image)
    return stretch_wide_window(scaled, window), window
