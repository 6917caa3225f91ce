"""Vessel trees for the lung phantom: grown from the hilum to points spread through a lung, thick where many tips are
fed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TIP_RADIUS_MM = 0.62
_MURRAY = 2.7  # r**2.7 of a stem is the sum over its branches (Murray 1926 has 3; measured in lungs 2.5 to 3)


@dataclass(frozen=True)
class Tree:
    """Straight pieces: `start` and `end` (N, 3) in mm, `radius` (N,) in mm at the end nearer the hilum."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    radius: NDArray[np.float64]


def grow_tree(rng: np.random.Generator, root: NDArray[np.float64], tips: NDArray[np.float64]) -> Tree:
    """Join `tips` (N, 3) to `root` (3,), all in mm: the nearest to the root first, each to the nearest piece of tree
    so far.

    Nodes that lead straight outwards are preferred, so that branches run from the hilum to the pleura rather than
    around it.
    """
    tips = tips[np.argsort(np.linalg.norm(tips - root, axis=1), kind="stable")]
    nodes = np.vstack([root[None], tips])
    outward = np.linalg.norm(nodes - root, axis=1)
    parent = np.zeros(len(nodes), int)
    for i in range(1, len(nodes)):
        gap = np.linalg.norm(nodes[:i] - nodes[i], axis=1)
        detour = outward[:i] + gap - outward[i]
        parent[i] = int(np.argmin(gap + 0.6 * detour))
    fed = np.ones(len(nodes))
    for i in range(len(nodes) - 1, 0, -1):
        fed[parent[i]] += fed[i]
    radius = _TIP_RADIUS_MM * fed[1:] ** (1 / _MURRAY)
    bent = nodes + rng.normal(0, 1.2, nodes.shape)
    return Tree(bent[parent[1:]], bent[1:], radius)


def draw_tubes(
    fraction: NDArray[np.float32],
    tree: Tree,
    spacing: NDArray[np.float64],
    origin: NDArray[np.float64],
    *,
    scale: float = 1.0,
    shift: float = 0.0,
) -> None:
    """Raise `fraction` (X, Y, Z), the part of a voxel that is vessel (0..1), along the pieces of a tree.

    Args:
        spacing, origin: (3,) in mm; voxel (i, j, k) lies at origin + spacing * (i, j, k).
        scale: factor on the radius. shift: moves a piece sideways by so many radii (a bronchus beside its artery).
    """
    pixel = float(spacing[:2].mean())
    # thick slices average over their thickness; more than 3 mm of it would turn vessels into bands
    slab = min(float(spacing[2]) / 2, 3.0)
    for start, end, wide in zip(tree.start, tree.end, tree.radius, strict=True):
        radius = wide * scale
        axis = end - start
        if shift:
            side = np.cross(axis, (0.0, 0.0, 1.0))
            offset = side / max(float(np.linalg.norm(side)), 1e-6) * wide * shift
            start, end = start + offset, end + offset
        reach = np.array([radius + pixel, radius + pixel, radius + slab])
        low = np.maximum(np.ceil((np.minimum(start, end) - reach - origin) / spacing), 0).astype(int)
        high = np.minimum((np.maximum(start, end) + reach - origin) / spacing + 1, fraction.shape).astype(int)
        if np.any(high <= low):
            continue
        x, y, z = (origin[a] + spacing[a] * np.arange(low[a], high[a]) for a in range(3))
        dx, dy, dz = x[:, None, None] - start[0], y[None, :, None] - start[1], z[None, None, :] - start[2]
        along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / max(float(axis @ axis), 1e-6), 0, 1)
        height = np.maximum(np.abs(dz - along * axis[2]) - slab, 0)
        away = np.sqrt((dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + height**2)
        share = np.clip((radius - away) / pixel + 0.5, 0, min(1.0, 2 * radius / pixel))
        part = fraction[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        np.maximum(part, share.astype(np.float32), out=part)
