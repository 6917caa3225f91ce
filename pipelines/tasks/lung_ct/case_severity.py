"""Severity of one case by its mask: extents with intervals, classes, and whether they are borderline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.tasks.lung_ct.lungs import body_mask
from pipelines.tasks.lung_ct.severity import SeverityScale, slice_counts, slice_extents, volume_extent, volume_floor

NO_LUNG = "too little lung to divide by: not rated"
ONE_SIDE = 0.05  # of a slice's lung: with less than this on a side, there is no lung there


def case_severity(
    mask: NDArray,
    scale: SeverityScale,
    *,
    spacing: tuple[float, float, float] | None,
    members: NDArray | None = None,
    width: float = 2.0,
    share: float = 0.0,
    floor: float = 0.0,
) -> dict[str, Any]:
    """What a mask says of severity.

    The interval is the extent ± (``width`` standard deviations of the extents that the members find + ``share`` of the
    extent + ``floor``), within 0..1. The first part is how far the network's answer depends on how the slice is held.
    What all members get wrong together is for the other two, whose sizes were chosen on slices that the
    network had not seen (docs/explanation/extent-is-not-severity.md). Where neither the mask nor a member has
    lesion, the interval is 0 alone.

    Args:
        mask: (X, Y, Z) axial, slices from the feet to the head: 0 background, 1 lung, 2 lesion.
        scale: classes and their thresholds.
        spacing: millimetres along X, Y, Z; None for a picture.
        members: (M, 2, Z), of each member and slice, pixels of lesion and of lung with lesion; None: no interval.
        width: of the interval, in standard deviations.
        share: and in parts of the extent.
        floor: and at least this, 0..1: small lesions that a network finds are often none.

    Returns:
        ``class``, ``extent`` (0..1), ``extent_low``, ``extent_high``, ``borderline`` (the interval reaches into more
        than one class) and ``reason`` of the case; ``rule``; ``slices``, the same of each, with ``slice``, ``lung_px``
        and ``lesion_px``. Where there is too little lung, ``class`` and ``extent`` are None and ``reason`` says so.
    """
    lesion, lung = slice_counts(mask)
    area = mask.shape[0] * mask.shape[1]
    extents = slice_extents(lesion, lung, area)
    of_members = None if members is None else slice_extents(members[:, 0], members[:, 1], area)
    slices = []
    for z, extent in enumerate(extents):
        found = None if of_members is None else of_members[:, z]
        counted = {"slice": z, "lung_px": int(lung[z]), "lesion_px": int(lesion[z])}
        slices.append(
            {**counted, **_rated(None if np.isnan(extent) else float(extent), found, scale, (width, share, floor))}
        )
    least = volume_floor(mask.size, spacing)
    whole = volume_extent(int(lesion.sum()), int(lung.sum()), least)
    found = None
    if members is not None:
        totals = members.sum(axis=2)
        each = [volume_extent(a, b, least) for a, b in totals]
        found = np.array([np.nan if value is None else value for value in each])
    return {"rule": str(scale), **_rated(whole, found, scale, (width, share, floor)), "slices": slices}


def _rated(
    extent: float | None, members: NDArray | None, scale: SeverityScale, parts: tuple[float, float, float]
) -> dict[str, Any]:
    if extent is None:
        nothing = dict.fromkeys(("class", "extent", "extent_low", "extent_high", "borderline"))
        return {**nothing, "reason": NO_LUNG}
    low = high = borderline = None
    defined = np.zeros(0) if members is None else members[~np.isnan(members)]
    if members is not None and defined.size > 1:
        width, share, floor = parts
        half = width * float(defined.std(ddof=1)) + share * extent + (floor if extent or defined.any() else 0.0)
        low, high = max(extent - half, 0.0), min(extent + half, 1.0)
        borderline = scale.is_borderline(low, high) or defined.size < members.size
        low, high = round(low, 6), round(high, 6)
    return {
        "class": scale.name(extent),
        "extent": round(extent, 6),
        "extent_low": low,
        "extent_high": high,
        "borderline": borderline,
        "reason": None,
    }


def one_lung_slices(mask: NDArray, scaled: NDArray) -> list[int]:
    """Slices whose lung lies on one side of the body only: what is rated there is that lung.

    The body is wider than deep, however a picture is turned: its sides are the halves of its longer side.

    Args:
        mask: (X, Y, Z) axial: 0 background, 1 lung, 2 lesion. scaled: the image, lung window 0..1.
    """
    found = []
    body = body_mask(scaled)
    lesion, lung = slice_counts(mask)
    for z in np.flatnonzero(~np.isnan(slice_extents(lesion, lung, mask.shape[0] * mask.shape[1]))):
        boxes = [np.flatnonzero(body[:, :, z].any(axis=1 - axis)) for axis in (0, 1)]
        longer = max((0, 1), key=lambda axis: int(np.ptp(boxes[axis])) if boxes[axis].size else 0)
        if not boxes[longer].size:
            continue
        middle = int(boxes[longer].mean())
        along = (mask[:, :, z] > 0).sum(axis=1 - longer)
        sides = along[:middle].sum(), along[middle + 1 :].sum()
        if min(sides) < ONE_SIDE * lung[z]:
            found.append(int(z))
    return found
