"""Lung CT phantoms: a drawn chest in Hounsfield units with lesions of known extent. For trying commands, never for
results.

Every number comes from one seed, so a phantom is the same bit for bit wherever the same numpy and scipy are installed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.errors import UsageError
from pipelines.tasks.lung_ct.anatomy import HEIGHT_MM, Body, draw_slice
from pipelines.tasks.lung_ct.severity import SCALES
from pipelines.tasks.lung_ct.vessels import draw_tubes, grow_tree

MIN_SLICES = 7  # fewer would be more than 50 mm apart, which no reader takes for a CT
# Cases a class. Lesions lie unevenly along a lung, so that a mild case has normal and severe slices too; with these the
# slices come out in about the proportions of the task's reference set (1,441 normal, 1,954 mild, 159 severe).
_CASE_SHARES = {"normal": 0.27, "severe": 0.03}
_MILD_EXTENTS, _SEVERE_EXTENTS = (0.02, 0.12), (0.28, 0.5)
# Extents of a slice that clear-cut phantoms keep clear of: about the thresholds between normal, mild and severe.
_UNCLEAR_EXTENTS = ((0.0, 0.02), (0.18, 0.32))
_FIELD_OF_VIEW_MM = 400.0
_GROUND_GLASS_HU = (-650.0, -350.0)
_CONSOLIDATION_HU = (-100.0, 50.0)


@dataclass(frozen=True)
class Phantom:
    """A drawn chest, upright in LPS order (x to the patient's left, y to the back, z to the head).

    Attributes:
        array: int16 (X, Y, Z) in HU.
        label: uint8 (X, Y, Z), 0 background, 1 lung, 2 lesion.
        lungs: uint8 (X, Y, Z), 1 left and 2 right lung, lesions included.
        affine: float64 (4, 4), voxel to RAS millimetres.
        extent: lesion voxels over lung voxels (lesions included), 0..1.
        severity: "normal" below 0.1 % extent, "mild" below 25 %, "severe" from there on.
        consolidation: part of the lesion voxels that are consolidated, 0..1.
        seed: the seed it was drawn from.
    """

    array: NDArray[np.int16]
    label: NDArray[np.uint8]
    lungs: NDArray[np.uint8]
    affine: NDArray[np.float64]
    extent: float
    severity: str
    consolidation: float
    seed: int


def plan_extents(cases: int, seed: int = 0) -> list[float]:
    """Lesion extents (0..1) for so many phantoms, whose slices have about the class imbalance of the reference set.

    From six cases on there is at least one without lesions and one severe.
    """
    severe = max(round(cases * _CASE_SHARES["severe"]), int(cases >= 6))
    normal = max(round(cases * _CASE_SHARES["normal"]), int(cases >= 6))
    normal = min(normal, max(cases - 3, 0))  # each of three splits needs lesions
    mild = cases - severe - normal
    rng = np.random.default_rng([seed, 7])
    extents = [0.0] * normal + list(rng.uniform(*_MILD_EXTENTS, mild)) + list(rng.uniform(*_SEVERE_EXTENTS, severe))
    return [float(extents[i]) for i in rng.permutation(cases)]


def make_lung_phantom(
    seed: int,
    size: int = 160,
    slices: int = 24,
    extent: float = 0.1,
    consolidation: float | None = None,
    clear_cut: bool = False,
    bowel_gas: bool = False,
) -> Phantom:
    """Draw one phantom.

    Args:
        seed: everything random comes from it.
        size: columns and rows; the field of view is 400 mm.
        slices: from the upper abdomen to the neck, so that the first and the last show no lung.
        extent: wanted lesion voxels over lung voxels, 0..0.8; met to the voxel.
        consolidation: wanted part of the lesion voxels that is consolidated, 0..1; drawn if None.
        clear_cut: no slice lies near a threshold of severity (none between 0 and 2 %, nor 18 and 32 %): lesions of
            such slices are taken away or grown, so that `extent` is met only about.
        bowel_gas: the colon is full of gas and stool, up to under the diaphragm, which a slice alone does not tell from
            lung. (Trachea, main bronchi and a bubble in the stomach are always there.)

    Raises:
        UsageError: a size, number of slices, extent or part that cannot be drawn.
    """
    if size < 48 or slices < MIN_SLICES:
        raise UsageError("a phantom needs at least 48 pixels and 7 slices", where=f"{size} pixels, {slices} slices")
    if not 0 <= extent <= 0.8 or (consolidation is not None and not 0 <= consolidation <= 1):
        raise UsageError(
            "the extent of a phantom must lie in 0..0.8 and the consolidated part in 0..1", where=str(extent)
        )
    rng = np.random.default_rng([seed, size, slices])
    body = Body.drawn(rng)
    spacing = np.array([_FIELD_OF_VIEW_MM / size, _FIELD_OF_VIEW_MM / size, HEIGHT_MM / slices])
    origin = np.array([-(size - 1) / 2 * spacing[0], -(size - 1) / 2 * spacing[1], spacing[2] / 2])
    hu, left, right = _draw_chest(rng, body, (size, size, slices), spacing, origin, bowel_gas)
    depth = np.maximum(left, right)
    lung = depth > 0
    lungs = np.where(left > 0, 1, np.where(right > 0, 2, 0)).astype(np.uint8)
    del left, right

    lesion, dense = _place_lesions(rng, depth, lung, spacing, origin, extent, consolidation, clear_cut)
    _fill_lungs(rng, hu, lung, lesion, dense, spacing)
    _add_vessels(rng, hu, lungs, spacing, origin)
    ndimage.gaussian_filter(hu, (0.5, 0.5, 0), output=hu)  # the scanner's point spread, in plane
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    ndimage.gaussian_filter(noise, (0.6, 0.6, 0), output=noise)
    hu += noise * (rng.uniform(14, 30) / float(noise.std()))
    array = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)

    label = lung.astype(np.uint8)
    label[lesion] = 2
    found = int(np.count_nonzero(lesion)) / int(np.count_nonzero(lung))
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[:3, 3] = (-origin[0], -origin[1], origin[2])
    part = int(np.count_nonzero(dense)) / max(int(np.count_nonzero(lesion)), 1)
    return Phantom(array, label, lungs, affine, found, str(SCALES["normal_mild_severe"].name(found)), part, seed)


def _smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: NDArray[np.float64], length: float
) -> NDArray[np.float32]:
    """Noise of unit variance that changes over about `length` mm: drawn on a coarse grid, then enlarged."""
    coarse: list[int] = [
        min(max(round(n * float(s) / (0.7 * length)) + 1, 2), n) for n, s in zip(shape, spacing, strict=True)
    ]
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), 0.8)
    factors = [n / c for n, c in zip(shape, coarse, strict=True)]
    noise = ndimage.zoom(noise, factors, order=1, grid_mode=False)
    noise -= noise.mean()
    noise /= max(float(noise.std()), 1e-6)
    return noise


def _draw_chest(
    rng: np.random.Generator,
    body: Body,
    shape: tuple[int, int, int],
    spacing: NDArray[np.float64],
    origin: NDArray[np.float64],
    bowel_gas: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    hu, left, right = (np.empty(shape, np.float32) for _ in range(3))
    x, y = np.meshgrid(
        (origin[0] + spacing[0] * np.arange(shape[0])).astype(np.float32),
        (origin[1] + spacing[1] * np.arange(shape[1])).astype(np.float32),
        indexing="ij",
    )
    texture = _smooth_noise(rng, shape, spacing, 14.0)
    for k in range(shape[2]):
        drawn = draw_slice(body, x, y, float(origin[2] + spacing[2] * k), texture[:, :, k], bowel_gas)
        hu[:, :, k], left[:, :, k], right[:, :, k] = drawn.hu, drawn.left, drawn.right
    return hu, left, right


def _place_lesions(
    rng: np.random.Generator,
    depth: NDArray[np.float32],
    lung: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    origin: NDArray[np.float64],
    extent: float,
    consolidation: float | None,
    clear_cut: bool,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of all lesions and of the consolidated ones. Thresholding a field at a rank gives the wanted count
    exactly."""
    wanted = round(extent * np.count_nonzero(lung))
    lesion, dense = np.zeros(lung.shape, bool), np.zeros(lung.shape, bool)
    if wanted == 0:
        return lesion, dense
    where = np.nonzero(lung)
    at = np.stack(where, axis=1) * spacing + origin
    score = np.exp(-depth[where] / 10) * 1.1 + 0.012 * at[:, 1] - 0.002 * at[:, 2]  # peripheral, dorsal, basal
    score = score.astype(np.float32)
    likely = np.exp(2 * score)
    centres = at[rng.choice(len(at), size=int(3 + 14 * extent + rng.integers(0, 4)), p=likely / likely.sum())]
    for centre in centres:
        radii = rng.uniform(12, 30) * np.array([1, 1, rng.uniform(0.8, 1.6)])
        score += 2.6 * np.exp(-0.5 * (((at - centre) / radii) ** 2).sum(axis=1)).astype(np.float32)
    for length, weight in ((16.0, 0.55), (7.0, 0.42), (4.0, 0.25)):
        score += weight * _smooth_noise(rng, lung.shape, spacing, length)[where]
    chosen = np.argsort(-score, kind="stable")[:wanted]
    if clear_cut:
        chosen = _clear_cut(chosen, score, where[2])
        wanted = len(chosen)
    lesion[tuple(axis[chosen] for axis in where)] = True

    part = float(rng.uniform(0.08, 0.35)) if consolidation is None else consolidation
    core = score[chosen] + 0.6 * _smooth_noise(rng, lung.shape, spacing, 10.0)[where][chosen]
    densest = chosen[np.argsort(-core, kind="stable")[: round(part * wanted)]]
    dense[tuple(axis[densest] for axis in where)] = True
    return lesion, dense


def _clear_cut(chosen: NDArray[np.intp], score: NDArray[np.floating], z: NDArray[np.intp]) -> NDArray[np.intp]:
    """`chosen` with lesion taken from or added to the slices whose extent is unclear, to the nearer clear one."""
    lung, lesion = np.bincount(z), np.bincount(z[chosen], minlength=z.max() + 1)
    kept = []
    for k in np.flatnonzero(lesion):
        count = int(lesion[k])
        for low, high in _UNCLEAR_EXTENTS:
            if low < count / lung[k] < high:
                nearer_low = count / lung[k] < (low + high) / 2
                count = int(low * lung[k]) if nearer_low else math.ceil(high * lung[k])
        mine = np.flatnonzero(z == k)
        kept.append(mine[np.argsort(-score[mine], kind="stable")[:count]])
    return np.concatenate(kept)


def _fill_lungs(
    rng: np.random.Generator,
    hu: NDArray[np.float32],
    lung: NDArray[np.bool_],
    lesion: NDArray[np.bool_],
    dense: NDArray[np.bool_],
    spacing: NDArray[np.float64],
) -> None:
    fine = _smooth_noise(rng, lung.shape, spacing, 4.0)
    broad = _smooth_noise(rng, lung.shape, spacing, 22.0)
    hu[lung] += (14 * broad + 12 * fine)[lung]
    glass = rng.uniform(-560, -460) + 55 * broad + 40 * fine
    glass += rng.uniform(0, 130) * (np.abs(_smooth_noise(rng, lung.shape, spacing, 6.0)) < 0.2)  # thickened septa
    hu[lesion] = np.clip(glass, *_GROUND_GLASS_HU)[lesion]
    hu[dense] = np.clip(-20 + 25 * broad + 18 * fine, *_CONSOLIDATION_HU)[dense]


def _add_vessels(
    rng: np.random.Generator,
    hu: NDArray[np.float32],
    lungs: NDArray[np.uint8],
    spacing: NDArray[np.float64],
    origin: NDArray[np.float64],
) -> None:
    """Arteries of 0..50 HU and the larger bronchi, drawn over the lesions, so that they stay visible in ground
    glass."""
    for value, sign in ((1, 1), (2, -1)):
        mine = lungs == value
        where = np.argwhere(mine)
        if not len(where):
            continue
        tips = where[rng.choice(len(where), size=min(650, len(where)), replace=False)] * spacing + origin
        tips = tips + (rng.random(tips.shape) - 0.5) * spacing  # off the voxel grid
        tree = grow_tree(rng, np.array([sign * 38.0, 20.0, 172.0]), tips)
        vessel = np.zeros(hu.shape, np.float32)
        draw_tubes(vessel, tree, spacing, origin)
        vessel *= mine
        hu += vessel * (np.maximum(rng.uniform(10, 45), hu) - hu)
        large = tree.radius > 1.9
        airway = type(tree)(tree.start[large], tree.end[large], tree.radius[large])
        for scale, target in ((0.8, -250.0), (0.5, -980.0)):  # a thin wall, then the air
            tube = np.zeros(hu.shape, np.float32)
            draw_tubes(tube, airway, spacing, origin, scale=scale, shift=1.6)
            tube *= mine
            hu += tube * (target - hu)
