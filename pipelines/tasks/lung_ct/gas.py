"""Gas that is no lung: of what a network calls lung in a volume, the trachea, the main bronchi, stomach and bowel.

A slice alone does not tell a bubble in the stomach from a lung; three things together do. Gas holds no blood, so that
it is as dark as air. It has a wall of soft tissue all around, where a bulla borders on lung. And it goes on through the
slices with such a wall: a bulla that is walled in one slice is not in the next. No rule asks which way up the slices
lie, how many lungs there are, or that a lung be one body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import isotropic_dilation, isotropic_opening

from pipelines.tasks.lung_ct.coarse import finer, step_of

_SLICES = 400  # that suffice to tell gas from lung
_FIELD_MM = 320.0  # of the frame's longer side, where the voxel size cannot be true
_FEWEST = 3  # slices
_DARK = 25.0  # percentile of what is called lung without lesion: its front, which lies above the blood
_GAS, _DIM = 0.5, 0.75  # of the way from air to that: darker is gas, or may be the edge of gas
_GAS_SHARE = 0.4  # of what may be gas in a slice must be
_LEAST_CONTRAST = 0.03  # between air and lung (40 HU): in an emphysema with less, gas cannot be told
_TISSUE = 0.45  # of the lung window (-370 HU): more is a wall
_WALL_MM = 4.0  # how far around gas its wall is looked for
_WALLED_SLICE, _WALLED = 0.5, 0.78  # of the rim, in one slice and of the whole body: less is a bulla
_LEAST_WALL = 0.35  # of the rim, whatever the rest borders on
_FILLED = 1.3  # holes may make gas so much larger
_CALLED = 0.1  # of the gas called lung: with less there is nothing to take out, and its rim is lung's rim
_NEITHER, _WALL, _OPEN = 0, 1, 2
_LEAST_MM2, _LEAST_ML = 30.0, 0.4  # a smaller spot is a bronchus in the lung
_RIM_MM = 4.0  # around gas: half air, half wall
_CORE_MM = 2.5  # what is thinner beside gas is its rim, not lung
_MOST_MIXED = 1.0  # of the gas that it touches: a larger body beside gas is no bowel's content


def gas_outside_lungs(
    labels: NDArray[np.uint8],
    image: NDArray[np.floating],
    spacing: Sequence[float] | NDArray[np.float64],
    hounsfield: bool,
) -> NDArray[np.bool_]:
    """Gas with a wall in what is called lung or lesion, with the rim between both and what is mixed with it.

    Args:
        labels: (X, Y, Z) axial, slices along Z: 0 background, above 0 lung or lesion. Fewer than three tell nothing.
        image: the same shape, lung window 0..1.
        spacing: millimetres along X, Y, Z.
        hounsfield: 0 of the image is -1000 HU, air. Else air is the darkest of the image.

    Returns:
        (X, Y, Z) bool, a part of ``labels > 0``. All False where none is found, or where lung is as dark as air.
    """
    outside = np.zeros(labels.shape, dtype=bool)
    box = ndimage.find_objects((labels > 0).view(np.uint8))
    if not box or labels.shape[2] < _FEWEST:
        return outside
    x, y, _ = box[0]
    inner = (slice(max(x.start - 8, 0), x.stop + 8), slice(max(y.start - 8, 0), y.stop + 8), slice(None))
    step = step_of(labels.shape)
    z_step = max(1, -(-labels.shape[2] // _SLICES))
    small, coarse = _smaller(image[inner], step, z_step), labels[inner][::step, ::step, ::z_step]
    called = coarse > 0
    limits = _limits(small, coarse == 1, hounsfield)
    if limits is None:
        return outside
    size = _true_spacing(spacing, labels.shape) * (step, step, z_step)
    bodies = _walled_bodies(small, coarse, limits, size)
    if not bodies.any():
        return outside
    found = _with_rim(bodies, called, size)
    found |= _mixed(found, called, small, limits[0])
    whole = outside[inner]  # a view
    for z in range(whole.shape[2]):
        whole[:, :, z] = finer(found[:, :, z // z_step], step, whole.shape[:2]) & (labels[inner][:, :, z] > 0)
    return outside


def _true_spacing(spacing: Sequence[float] | NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    size = np.asarray(spacing, dtype=float)
    side = max(size[:2]) * max(shape[:2])
    if not 80 <= side <= 1000:  # centimetres for millimetres, or none stated
        size = size * (_FIELD_MM / side)
    return size


def _smaller(image: NDArray, step: int, z_step: int) -> NDArray[np.float32]:
    """Every ``step``-th pixel of the slices, each the mean of those around it: gas and lung differ less than noise."""
    planes = [
        ndimage.uniform_filter(image[:, :, z].astype(np.float32), step + 1 + step % 2)[::step, ::step]
        for z in range(0, image.shape[2], z_step)
    ]
    return np.stack(planes, axis=-1)


def _limits(small: NDArray, lung: NDArray, hounsfield: bool) -> tuple[float, float] | None:
    """The grey values below which there is gas, and below which its edge may be; None where lung is as dark."""
    air = 0.0 if hounsfield else float(np.percentile(small[::2, ::2], 0.2))
    contrast = float(np.percentile(small[lung], _DARK)) - air if lung.any() else 0.0
    return (air + _GAS * contrast, air + _DIM * contrast) if contrast >= _LEAST_CONTRAST else None


def _walled_bodies(small: NDArray, coarse: NDArray, limits: tuple[float, float], size: NDArray) -> NDArray[np.bool_]:
    """Gas with a wall in each of its slices and as a whole, of which some is called lung."""
    limit, dim = limits
    reach = _pixels(_WALL_MM, size)
    least = _LEAST_MM2 / (size[0] * size[1])
    kept = np.zeros(coarse.shape, dtype=bool)
    surface = np.zeros(coarse.shape, dtype=np.uint8)
    for z in range(coarse.shape[2]):
        plane, called = small[:, :, z], coarse[:, :, z]
        if not called.any():
            continue
        surface[:, :, z] = _surface(plane > _TISSUE, called, reach)
        for where, part in _parts(plane < dim, least, reach + 1):
            if not called[where][part].any() or (plane[where][part] < limit).mean() < _GAS_SHARE:
                continue
            part = _without_noise(part)
            rim = isotropic_dilation(part, 1) & ~part
            counts = np.bincount(surface[:, :, z][where][rim], minlength=3)
            if _is_walled(counts, _WALLED_SLICE):
                kept[where[0], where[1], z] |= part
    bodies, _ = ndimage.label(kept)
    for k, (x, y, z) in enumerate(ndimage.find_objects(bodies), start=1):
        box = (_wider(x), _wider(y), _wider(z))
        body = bodies[box] == k
        seen = (coarse[box] > 0)[body].mean() >= _CALLED and body.sum() * np.prod(size) >= 1000 * _LEAST_ML
        if not seen or not _is_walled(_surface_areas(body, surface[box], size), _WALLED):
            kept[box] &= ~body
    return kept


def _without_noise(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A part of a plane with its small holes filled; the air around a body is no part with a hole."""
    closed = ndimage.binary_closing(part) | part
    filled = np.asarray(ndimage.binary_fill_holes(closed))
    return filled if filled.sum() <= _FILLED * closed.sum() else closed


def _surface(tissue: NDArray[np.bool_], called: NDArray, reach: int) -> NDArray[np.uint8]:
    """What gas in a slice borders on: ``_WALL``, ``_OPEN`` lung, or ``_NEITHER``.

    Consolidated lung around a bronchus or a cavity is no wall; nor is it lung that gas opens into, since the wall of
    the bowel is called lesion too.
    """
    found = np.where(called > 0, _OPEN, _NEITHER).astype(np.uint8)
    for mask, value in ((tissue & (called == 2), _NEITHER), (tissue & (called == 0), _WALL)):
        if mask.any():
            found[isotropic_dilation(mask, reach)] = value
    return found


def _is_walled(areas: NDArray, least: float) -> bool:
    """Whether so much of what is wall or open is wall, and enough of the whole.

    Args:
        areas: of the surface: ``_NEITHER``, ``_WALL``, ``_OPEN``.
        least: 0..1.
    """
    return bool(
        areas[_WALL] >= least * (areas[_WALL] + areas[_OPEN]) and areas[_WALL] >= _LEAST_WALL * max(areas.sum(), 1)
    )


def _surface_areas(body: NDArray[np.bool_], surface: NDArray, size: NDArray) -> NDArray[np.float64]:
    """A body's surface in mm2 by what it borders on; above and below too, where a bulla opens into lung."""
    areas = np.zeros(3)
    for axis, area in enumerate((size[1] * size[2], size[0] * size[2], size[0] * size[1])):
        for way in (1, -1):
            outside = np.roll(body, way, axis=axis) & ~body  # the box is wider than the body, but at the scan's ends
            outside[(slice(None),) * axis + (0 if way == 1 else -1,)] = False
            areas += area * np.bincount(surface[outside], minlength=3)
    return areas


def _wider(span: slice) -> slice:
    return slice(max(span.start - 1, 0), span.stop + 1)


def _parts(mask: NDArray, least: float, margin: int) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """The parts of a plane that have so many pixels: where they lie, with a margin, and what of it they are."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    for k, (x, y) in enumerate(ndimage.find_objects(parts), start=1):
        if sizes[k] >= least:
            where = (slice(max(x.start - margin, 0), x.stop + margin), slice(max(y.start - margin, 0), y.stop + margin))
            yield where, parts[where] == k


def _with_rim(bodies: NDArray, called: NDArray, size: NDArray) -> NDArray[np.bool_]:
    found = bodies.copy()
    for z in np.flatnonzero(bodies.any(axis=(0, 1))):
        gas, plane = bodies[:, :, z], called[:, :, z]
        rest = np.pad(plane & ~isotropic_dilation(gas, 1.5), 4)
        core = isotropic_opening(rest, _CORE_MM / size[0])[4:-4, 4:-4] if rest.any() else rest[4:-4, 4:-4]
        found[:, :, z] |= plane & isotropic_dilation(gas, _RIM_MM / size[0]) & ~core
    return found


def _mixed(found: NDArray, called: NDArray, small: NDArray, limit: float) -> NDArray[np.bool_]:
    """Bodies beside gas that are smaller than it and are not of lung's density: what else the bowel holds."""
    parts, count = ndimage.label(called & ~found)
    mixed = np.zeros(found.shape, dtype=bool)
    if not count:
        return mixed
    sizes = np.bincount(parts.ravel())
    near = ndimage.maximum_filter(found, size=(5, 5, 3))
    gas = int(found.sum())
    touching = np.bincount(parts[near], minlength=count + 1)
    for k, where in enumerate(ndimage.find_objects(parts), start=1):
        if touching[k] and sizes[k] <= _MOST_MIXED * gas:
            body = parts[where] == k
            if not limit < np.median(small[where][body]) < _TISSUE:
                mixed[where] |= body
    return mixed


def _pixels(mm: float, size: NDArray) -> int:
    return int(np.clip(np.ceil(mm / float(size[0])), 3, 8))
