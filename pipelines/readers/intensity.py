"""What the numbers in an image mean: Hounsfield units, 0..255 grey as displayed, or nothing that can be used."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from pipelines.errors import IntensityError

AIR_HU = -1024.0
# Lung lies at -900..-500 HU. Where nothing is below -200 the lungs were cut off or were never in Hounsfield units.
LUNG_CEILING_HU = -200.0
TISSUE_HU = (-200.0, 300.0)
# 16-bit files saturate here (metal); padding goes down to -32768.
HU_RANGE = (-32768.0, 32767.0)
# Of the voxels, at least this share must be air or lung, and as much soft tissue, for values to be Hounsfield units:
# stored values whose rescale was lost also begin at -2000 (padding), but have nothing between -1024 and -200.
MIN_SHARE = 1e-3
# Whole numbers up to here are class numbers, not grey.
MAX_CLASS_NUMBER = 15.0

_HOW = "export the CT in Hounsfield units, or as 8-bit pictures in a lung window"


def classify(array: np.ndarray, where: str | os.PathLike[str]) -> tuple[str, tuple[str, ...]]:
    """Say what an image's values mean, and put the harmless oddities right in place.

    Values under -1024 HU (padding) become -1024; a 0..1 image is scaled to 0..255. Works slab by slab: its own memory
    is one slab.

    Args:
        array: float32 (X, Y, Z), changed in place.
        where: the file or folder, for the message.

    Returns:
        "hu" or "display" (0..255), and a note for each thing that was changed.

    Raises:
        IntensityError: NaN, infinite or constant values, or values that are neither Hounsfield units with visible lungs
            nor 0..255 grey.
    """
    low, high = _extremes(array, where)
    if low < LUNG_CEILING_HU:
        return "hu", _settle_hu(array, low, high, where)
    if low < 0:
        raise IntensityError(
            f"values from {low:g} to {high:g}: below -200 HU there is nothing, so lungs cannot be seen "
            "(a soft-tissue window, or normalised values)",
            where=where,
            how=_HOW,
        )
    if high > 255:
        raise IntensityError(
            f"values from {low:g} to {high:g} are neither Hounsfield units nor 0..255 grey "
            "(stored values without their rescale?)",
            where=where,
            how=_HOW,
        )
    return "display", _settle_display(array, low, high, where)


def check_values(array: np.ndarray, where: str | os.PathLike[str]) -> None:
    """Refuse a volume whose values say nothing, whatever they mean; none is changed.

    Args:
        array: float32 (X, Y, Z).
        where: the file or folder, for the message.

    Raises:
        IntensityError: NaN, infinite or constant values, or so few levels that it is a mask: two, or whole numbers
            within 15 of each other.
    """
    low, high = _extremes(array, where)
    if fault := _like_a_mask(array, low, high, high - low):
        raise IntensityError(
            f"{fault}, not like an image", where=where, how="give the image here and the mask as its label"
        )


def _slabs(array: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, 2**22 // max(1, array.shape[0] * array.shape[1]))
    for first in range(0, array.shape[2], step):
        yield array[:, :, first : first + step]


def _extremes(array: np.ndarray, where: str | os.PathLike[str]) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for slab in _slabs(array):
        slab_low, slab_high = float(slab.min()), float(slab.max())  # both are NaN if any voxel is
        if not (np.isfinite(slab_low) and np.isfinite(slab_high)):
            raise IntensityError("the image holds NaN or infinite values", where=where, how="export the scan again")
        low, high = min(low, slab_low), max(high, slab_high)
    if low == high:
        raise IntensityError(
            f"every voxel has the value {low:g}", where=where, how="give an image that shows something"
        )
    return low, high


def _settle_hu(array: np.ndarray, low: float, high: float, where: str | os.PathLike[str]) -> tuple[str, ...]:
    if low < HU_RANGE[0] or high > HU_RANGE[1]:
        raise IntensityError(f"values from {low:g} to {high:g} are not Hounsfield units", where=where, how=_HOW)
    padded = air = tissue = 0
    for slab in _slabs(array):
        padded += int(np.count_nonzero(slab < AIR_HU))
        air += int(np.count_nonzero(slab < LUNG_CEILING_HU))
        tissue += int(np.count_nonzero((slab >= TISSUE_HU[0]) & (slab <= TISSUE_HU[1])))
        np.maximum(slab, np.float32(AIR_HU), out=slab)
    enough = max(1.0, MIN_SHARE * array.size)
    if air - padded < enough or tissue < enough:
        lacking = "air or lung (-1024..-200)" if air - padded < enough else "soft tissue (-200..300)"
        raise IntensityError(
            f"values from {low:g} to {high:g} hold no {lacking}, so they are not Hounsfield units of a chest "
            "(rescale lost, or applied twice?)",
            where=where,
            how=_HOW,
        )
    return (f"{padded} voxels below -1024 HU (padding, down to {low:g}) were set to -1024",) if padded else ()


def _settle_display(array: np.ndarray, low: float, high: float, where: str | os.PathLike[str]) -> tuple[str, ...]:
    if fault := _like_a_mask(array, low, high, high):
        raise IntensityError(
            f"{fault}, not like a CT", where=where, how="give the image here and the mask as its label"
        )
    if high <= 1:
        for slab in _slabs(array):
            np.multiply(slab, np.float32(255), out=slab)
        return ("values from 0 to 1 were scaled to 0..255",)
    return ()


def _like_a_mask(array: np.ndarray, low: float, high: float, reach: float) -> str:
    """Why the values look like those of a mask: only two of them, or whole numbers with a small reach; "" for no."""
    whole, between = True, False
    for slab in _slabs(array):
        whole = whole and bool(np.array_equal(slab, np.rint(slab)))
        between = between or bool(((slab != low) & (slab != high)).any())
    if between and not (whole and reach <= MAX_CLASS_NUMBER):
        return ""
    return f"grey values from {low:g} to {high:g} with {'few' if between else 'only two'} steps look like a mask"
