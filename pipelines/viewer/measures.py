"""What a mask says by slice and as a whole, and what two masks say of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.tasks.registry import PARTS


def measure(mask: NDArray[np.uint8], labels: Mapping[int, str], spacing: tuple[float, ...] | None) -> dict[str, Any]:
    """Volumes, extent and curves of a mask.

    Args:
        mask: (X, Y, Z), Z up.
        labels: names of its values; 0 is background.
        spacing: millimetres along the axes; None for a picture.

    Returns:
        ``labels``: [{value, name, title, voxels, ml, share, slices: [voxels by Z]}] (ml None without spacing; share of
        all voxels); ``extent`` 0..1 or None; ``curve``: {title, of, values: [a number or None by Z]} of the highest
        label: its share of another (``registry.PARTS``), or else its area; ``most``: the Z where it is largest, or
        None.
    """
    counts = count_slices(mask, max(labels, default=1))
    known = {value: labels.get(value, f"label {value}") for value in range(1, len(counts)) if value in labels}
    known |= {int(v): f"label {v}" for v in np.flatnonzero(counts.sum(axis=1)) if v and v not in known}
    ml = None if spacing is None else float(np.prod(spacing)) / 1000
    parts = {name: PARTS[name] for name in known.values() if name in PARTS and PARTS[name].whole in known.values()}
    wholes = {part.whole: name for name, part in parts.items()}
    found: dict[str, Any] = {
        "labels": [
            {
                "value": value,
                "name": name,
                "title": f"{name} without {wholes[name]}" if name in wholes else name,
                "voxels": int(counts[value].sum()),
                "ml": None if ml is None else round(int(counts[value].sum()) * ml, 3),
                "share": round(int(counts[value].sum()) / mask.size, 6),
                "slices": counts[value].tolist(),
            }
            for value, name in sorted(known.items())
        ],
        "extent": None,
        "curve": None,
        "most": None,
    }
    sought = max(known, default=None)
    if sought is None:
        return found
    if counts[sought].any():
        found["most"] = int(counts[sought].argmax())
    area = mask.shape[0] * mask.shape[1]
    part = parts.get(known[sought])
    if part is not None:
        whole = next(value for value, name in known.items() if name == part.whole)
        both = counts[whole] + counts[sought]
        enough = both >= max(part.floor_share * area, 1)
        values = [
            round(int(a) / int(b), 6) if there else None
            for a, b, there in zip(counts[sought], both, enough, strict=True)
        ]
        found["curve"] = {"title": f"{known[sought]} in {part.whole}, %", "of": sought, "values": values}
        floor = part.floor_share * mask.size if ml is None else min(part.floor_share * mask.size, part.floor_ml / ml)
        if both.sum() >= max(floor, 1):
            found["extent"] = round(int(counts[sought].sum()) / int(both.sum()), 6)
    else:
        shares = (counts[sought] / area).round(6).tolist()
        found["curve"] = {"title": f"{known[sought]} in slice, %", "of": sought, "values": shares}
    return found


def count_slices(mask: NDArray[np.uint8], highest: int) -> NDArray[np.int64]:
    """Voxels of each value by slice: (values, Z)."""
    counts = [np.bincount(mask[:, :, z].ravel(order="K"), minlength=highest + 1) for z in range(mask.shape[2])]
    length = max(len(each) for each in counts)
    return np.stack([np.pad(each, (0, length - len(each))) for each in counts], axis=1).astype(np.int64)


def differences(first: NDArray[np.uint8], second: NDArray[np.uint8], value: int) -> NDArray[np.uint8]:
    """Where two masks of one grid have a label: 1 the first only, 2 the second only, 3 both, 0 neither."""
    return (first == value).astype(np.uint8) + 2 * (second == value).astype(np.uint8)


def agreement(first: Mapping[str, Any], second: Mapping[str, Any], both: Mapping[int, int]) -> list[dict[str, Any]]:
    """Figures of two masks, a row a label.

    Args:
        first, second: as ``measure`` gives them.
        both: voxels that have a label in both masks, by its value.

    Returns:
        [{value, name, first, second (voxels), first_ml, second_ml, dice}]; Dice is None where neither has the label.
    """
    there = {each["value"]: each for each in second["labels"]}
    here = {each["value"]: each for each in first["labels"]}
    none = {"voxels": 0, "ml": None}
    rows = []
    for value in sorted(here.keys() | there.keys()):
        a, b = here.get(value, none), there.get(value, none)
        total = a["voxels"] + b["voxels"]
        rows.append(
            {
                "value": value,
                "name": (here.get(value) or there[value])["name"],
                "first": a["voxels"],
                "second": b["voxels"],
                "first_ml": a["ml"],
                "second_ml": b["ml"],
                "dice": round(2 * both.get(value, 0) / total, 6) if total else None,
            }
        )
    return rows
