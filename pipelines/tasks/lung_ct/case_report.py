"""What a predicted mask says of a case: volumes, extent, and a picture to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from skimage.segmentation import find_boundaries

from pipelines.evaluation.label_outlines import TILES, resized, side_by_side, tile_size
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.severity import slice_counts, volume_extent, volume_floor

COLOURS = {1: (86, 180, 233), 2: (230, 159, 0)}  # Okabe and Ito's sky blue for lung, orange for lesion
# Litres that lungs hold on CT: some 0.3 from a child of about a year, and in the largest adults 10.
LUNG_RANGE_L = (0.3, 12.0)
# Millimetres that a chest CT shows across and from front to back (a gantry is at most 0.9 m wide), and along the body.
# Fewer slices than _FEW_SLICES make a slab that is meant to be low.
PLANE_RANGE_MM, HEIGHT_RANGE_MM, _FEW_SLICES = (80.0, 1000.0), (60.0, 2200.0), 10
MOST_APART_MM = 8.0  # between slices: of the scans that the training's slices are of, some 1 to 8 mm


def measure_case(mask: np.ndarray, spacing: tuple[float, float, float] | None) -> dict[str, Any]:
    """Volumes and extent of a label map.

    Args:
        mask: (X, Y, Z), slices along Z; values 0 background, 1 lung, 2 lesion.
        spacing: millimetres along X, Y, Z; None for a picture, whose areas are then in pixels.

    Returns:
        ``lung_ml`` (the lungs with what is diseased in them: labels 1 and 2), ``lesion_ml``, both None without spacing;
        ``lung_px`` and ``lesion_px`` counts of voxels; ``extent`` = lesion / lung, 0..1, None below the lung floor;
        ``slices_with_lesion``; ``largest_lesion_slice``, an index along Z or None.
    """
    lesion_by_slice, lung_by_slice = slice_counts(mask)
    lesion, lung = int(lesion_by_slice.sum()), int(lung_by_slice.sum())
    ml = None if spacing is None else float(np.prod(spacing)) / 1000.0
    extent = volume_extent(lesion, lung, volume_floor(mask.size, spacing))
    return {
        "lung_ml": None if ml is None else round(lung * ml, 3),
        "lesion_ml": None if ml is None else round(lesion * ml, 3),
        "lung_px": lung,
        "lesion_px": lesion,
        "extent": None if extent is None else round(extent, 6),
        "slices_with_lesion": int((lesion_by_slice > 0).sum()),
        "largest_lesion_slice": int(lesion_by_slice.argmax()) if lesion else None,
    }


def volume_notes(lung_ml: float | None) -> list[str]:
    """What a report says of a lung volume (mL) that no person has; None is a picture's, and says nothing."""
    low, high = LUNG_RANGE_L
    if lung_ml is None or low <= lung_ml / 1000 <= high:
        return []
    return [
        f"a lung of {lung_ml / 1000:.3g} L is outside the {low:g} to {high:g} L that persons have: either the scan "
        "shows a part of the lungs only, or its voxel size is wrong, and the volumes with it"
    ]


def extent_notes(shape: tuple[int, ...], spacing: tuple[float, float, float] | None) -> list[str]:
    """What a report says of a scan that is too small or too large for a chest, as where centimetres were taken for
    millimetres along an axis. Volumes can still be a person's then, so that `volume_notes` need not see it.

    Args:
        shape: (X, Y, Z) voxels, slices along Z. The height of under 10 slices is not judged.
        spacing: millimetres along X, Y, Z; None for a picture, of which nothing is said.
    """
    if spacing is None:
        return []
    found = []
    for axis, name in enumerate(("wide", "deep", "high")):
        low, high = PLANE_RANGE_MM if axis < 2 else HEIGHT_RANGE_MM
        length = shape[axis] * spacing[axis]
        if length <= high and (length >= low or (axis == 2 and shape[axis] < _FEW_SLICES)):
            continue
        found.append(
            f"a scan {length:.4g} mm {name} ({shape[axis]} voxels of {spacing[axis]:.3g} mm) is outside the {low:g} to "
            f"{high:g} mm of a chest CT: either it shows a part of the chest only, or its voxel size is wrong, and the "
            "volumes with it"
        )
    if shape[2] > 1 and spacing[2] > MOST_APART_MM:
        found.append(
            f"slices lie {spacing[2]:.3g} mm apart, further than in the scans of the training ({MOST_APART_MM:g} mm): "
            "what lies between two slices is not seen, and volumes are coarse"
        )
    return found


def removed_notes(removed: Mapping[str, Any] | None) -> list[str]:
    """What a report says of what ``LungsOnlyd`` took out of a mask, with its size; nothing where that is nothing.

    Args:
        removed: what that transform left under its ``removed_key``; None where it was not run.
    """
    if not removed:
        return []
    whats = {
        "gas_px": "called lung is gas with a wall around it (airways, stomach or bowel), and was taken out",
        "lesion_px": "called lesion lies away from the lungs, and was taken out",
    }
    notes = []
    for key, what in whats.items():
        if not removed[key]:
            continue
        ml = removed["voxel_ml"]
        much = f"{removed[key]} pixels" if ml is None else f"{removed[key] * ml:.3g} mL ({removed[key]} voxels)"
        notes.append(f"{much} of what was {what}")
    return notes


def overlay(image: np.ndarray, mask: np.ndarray, intensity: str) -> np.ndarray:
    """Outlines of lung (blue) and lesion (orange) on one slice, upright as a person sees it.

    Args:
        image: (X, Y), X to the patient's left, Y to the back.
        mask: (X, Y) label values.
        intensity: "hu" or "display", what the image's values are.

    Returns:
        uint8 (Y, X, 3).
    """
    grey = (scale_ct(image, intensity) * 255).astype(np.uint8).T
    picture = np.stack([grey] * 3, axis=-1)
    upright = mask.T
    for regions, value in ((upright > 0, 1), (upright == 2, 2)):
        picture[find_boundaries(regions, mode="inner")] = COLOURS[value]
    return picture


def volume_overlay(
    image: np.ndarray, mask: np.ndarray, intensity: str, spacing: tuple[float, float, float] | None = None
) -> np.ndarray:
    """Up to ``TILES`` slices of a volume side by side: evenly through the lungs, and the one with the largest lesion.

    Args:
        image: (X, Y, Z) in LPS order.
        mask: (X, Y, Z) label values in the same order.
        intensity: "hu" or "display", what the image's values are.
        spacing: millimetres along X, Y, Z; pixels that are not square are drawn at their true proportions.

    Returns:
        uint8 (rows, columns, 3); slices run from feet to head, left to right, top to bottom.
    """
    inside = np.flatnonzero((mask > 0).any(axis=(0, 1)))
    if inside.size == 0:
        inside = np.arange(mask.shape[2])
    chosen = set(inside[np.linspace(0, inside.size - 1, min(TILES, inside.size)).round().astype(int)].tolist())
    lesion_by_slice = (mask == 2).sum(axis=(0, 1))
    largest = int(lesion_by_slice.argmax())
    if lesion_by_slice[largest] and largest not in chosen:
        chosen.remove(min(chosen, key=lambda z: abs(z - largest)))
        chosen.add(largest)
    size = tile_size(image.shape[:2], spacing)
    tiles = [
        overlay(resized(image[:, :, z], size, 1), resized(mask[:, :, z], size, 0), intensity) for z in sorted(chosen)
    ]
    return side_by_side(tiles)
