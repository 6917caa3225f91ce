"""Phantoms of frontal chest X-rays, with the true area of every opacity. For trying commands, never for results.

What is drawn is how much each ray loses: soft tissue, minus the air of the lungs, plus heart, spine, ribs, diaphragm
and, with pneumonia, what fills the lung's air. The film turns that into grey. A child's chest comes from the seed, the
taking of the picture (turn, size, exposure, marker, noise) from seed and view, and the pneumonia from a stream of its
own, so that nothing but the opacity tells the classes apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from pipelines.errors import UsageError
from pipelines.preparation.drawing import smooth_noise, stamp_discs

MIN_SIZE = 32  # pixels; below, ribs and opacities are the same few pixels
BACTERIA_SHARE = 0.65  # of the pneumonias, as in Kermany's training set
SUBTYPES = ("bacteria", "virus")
_DENSE = 0.3  # of what an opacity can take; where it takes more counts as its area
_LEAST_AREA = 0.04  # of the lungs
_SIDES = (-1, 1)  # the patient's right lung lies to the left of the picture

Plane = NDArray[np.float32]
Outline = tuple[tuple[float, ...], tuple[float, ...]]

# Outlines on the axes of the body: -1 to 1 from left to right and from top to bottom. Rows of y, and there the distance
# from the middle.
_BODY = ((-1.3, -1.0, -0.90, -0.80, -0.66, -0.30, 0.30, 1.3), (0.20, 0.21, 0.27, 0.50, 0.74, 0.71, 0.74, 0.80))
_LATERAL = ((-0.76, -0.70, -0.60, -0.42, -0.15, 0.20, 0.50, 0.80), (0.25, 0.36, 0.44, 0.52, 0.58, 0.63, 0.66, 0.67))
_MEDIAL = {
    -1: ((-0.76, -0.66, -0.50, -0.20, 0.00, 0.20, 0.45, 0.80), (0.25, 0.16, 0.12, 0.12, 0.15, 0.18, 0.14, 0.12)),
    1: (
        (-0.76, -0.66, -0.50, -0.32, -0.20, 0.00, 0.20, 0.45, 0.80),
        (0.25, 0.17, 0.14, 0.17, 0.14, 0.22, 0.34, 0.44, 0.5),
    ),
}
# Each side's lobes: rows from and to, and the distance from the middle around which an opacity may sit.
_LOBES = {
    -1: ((-0.62, -0.22, 0.36), (-0.12, 0.18, 0.34), (0.08, 0.42, 0.42)),
    1: ((-0.62, -0.12, 0.36), (-0.05, 0.42, 0.50)),
}


@dataclass(frozen=True)
class ChestXrayPhantom:
    """A drawn chest X-ray.

    Attributes:
        picture: uint8 (S, S), grey, rows from top to bottom.
        pneumonia: whether there is any.
        subtype: "bacteria" (dense, in one lobe or two) or "virus" (faint patches on both sides); None without.
        opacity: bool (S, S), where the lungs are opaque; empty without pneumonia.
        lungs: bool (S, S), both lung fields.
        seed: the seed it was drawn from.
    """

    picture: NDArray[np.uint8]
    pneumonia: bool
    subtype: str | None
    opacity: NDArray[np.bool_]
    lungs: NDArray[np.bool_]
    seed: int


@dataclass(frozen=True)
class _Place:
    """Planes (S, S) of where a pixel lies: `x`, `y` on the body's axes; `depth` in a lung, on the same scale, above 0
    within; `air` 0..1; `below` how far under the diaphragm. `unit`: pixels of a body's unit."""

    x: Plane
    y: Plane
    depth: Plane
    air: Plane
    below: Plane
    unit: float


def make_chest_xray_phantom(seed: int, size: int, pneumonia: bool, view: int = 0) -> ChestXrayPhantom:
    """Draw a frontal chest X-ray of `size` x `size` pixels.

    Args:
        seed: from 0 on; a child. The same with and without pneumonia is the same picture but for the opacity.
        view: from 0 on; another picture of the same child, with the same kind of pneumonia.

    Raises:
        UsageError: fewer than 32 pixels, or a negative seed or view.
    """
    if size < MIN_SIZE or seed < 0 or view < 0:
        raise UsageError(
            f"a phantom of a chest X-ray needs at least {MIN_SIZE} pixels, and a seed and view from 0 on",
            where=f"size {size}, seed {seed}, view {view}",
        )
    child, taken = np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1, view))
    place = _place(child, taken, size)
    loss = _soft_tissue(child, place) + _bones(child, place) + _vessels(child, place)
    subtype = None
    opacity = np.zeros((size, size), bool)
    if pneumonia:
        ill = np.random.default_rng((seed, 2))
        subtype = SUBTYPES[int(ill.random() >= BACTERIA_SHARE)]
        draw = _lobar if subtype == "bacteria" else _patchy
        density, opacity = _dense_enough(draw, ill, np.random.default_rng((seed, 3, view)), place)
        loss += density * place.air
    return ChestXrayPhantom(_film(taken, loss, place), pneumonia, subtype, opacity, place.depth > 0, seed)


def _place(child: Generator, taken: Generator, size: int) -> _Place:
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    x, y = (columns + 0.5) / size * 2 - 1, (rows + 0.5) / size * 2 - 1
    angle = np.deg2rad(np.clip(taken.normal(0, 3.0), -8, 8))
    scale = taken.uniform(0.98, 1.25)
    x, y = x - taken.normal(0, 0.04), y - taken.normal(0.06, 0.05)
    x, y = (np.cos(angle) * x + np.sin(angle) * y) / scale, (np.cos(angle) * y - np.sin(angle) * x) / scale
    # children differ in build: the outlines below are of the middle one
    x, y = (x / child.uniform(0.92, 1.1)).astype(np.float32), (y / child.uniform(0.92, 1.1)).astype(np.float32)
    distance = np.abs(x)
    lateral = _outline(child, _LATERAL, 0.012)
    side_depth = []
    under = []
    for side in _SIDES:
        medial = _outline(child, _MEDIAL[side], 0.012)
        dome = 0.36 + 0.05 * (side > 0) + child.normal(0, 0.05)
        floor = dome + np.where(distance > 0.36, 2.0, 0.7) * (distance - 0.36) ** 2
        walls = np.minimum(_at(lateral, y) - distance, distance - _at(medial, y))
        # outlines that fall steeply are nearer than along a row
        side_depth.append(np.minimum(np.minimum(walls, floor - y), 0.8 * (y + 0.76)))
        under.append(y - floor)
    left = x > 0
    depth = np.where(left, side_depth[1], side_depth[0])
    rim = np.clip(depth / 0.14, 0, 1)
    below = np.where(np.abs(x) < 0.05, np.maximum(under[0], under[1]), np.where(left, under[1], under[0]))
    air = np.where(depth > 0, 0.35 + 0.65 * rim * (2 - rim), 0) * np.clip(depth / 0.015, 0, 1)
    return _Place(x, y, _f32(depth), _f32(air), _f32(below), size / 2 * scale)


def _soft_tissue(rng: Generator, place: _Place) -> Plane:
    """Body, arms, heart and what lies below the diaphragm, less the air."""
    x, y = place.x, place.y
    stout = rng.uniform(0.9, 1.15)
    half = _at(_outline(rng, _BODY, 0.008), y) * (0.95 + 0.05 * stout)
    across = np.clip(1 - (x / half) ** 2, 0, 1)
    body = 0.50 * stout * across**0.45
    raised = rng.random() < 0.5
    arms = np.zeros_like(x)
    for side in _SIDES:
        hand = (side * 1.25, -1.15 + rng.normal(0, 0.08)) if raised else (side * (1.0 + rng.normal(0, 0.05)), 0.3)
        along, away = _along(x, y, (side * 0.66, -0.68), hand)
        limb = np.clip(1 - (np.hypot(away, np.minimum(along, 0)) / 0.16) ** 2, 0, 1) ** 0.5
        head = _band(np.hypot(away, along - 0.06), 0.07)
        bone = np.maximum(_band(away, 0.045) * _step(along - 0.06, 0.02), head)
        arms = np.maximum(arms, 0.32 * limb + 0.16 * bone)
    chest = np.maximum(body, arms) + 0.25 * np.minimum(body, arms)
    chest = chest * (1 - 0.66 * place.air)
    heart_x, heart_y = 0.10 + rng.normal(0, 0.02), 0.18 + rng.normal(0, 0.03)
    tilt = rng.uniform(0.25, 0.5)
    u = ((x - heart_x) * np.cos(tilt) + (y - heart_y) * np.sin(tilt)) / rng.uniform(0.31, 0.38)
    v = ((y - heart_y) * np.cos(tilt) - (x - heart_x) * np.sin(tilt)) / rng.uniform(0.26, 0.31)
    heart = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    root = np.exp(-((x / 0.13) ** 4)) * _step(0.1 - y, 0.15) * _step(y + 0.95, 0.1)
    trachea = np.exp(-((x / 0.04) ** 4)) * _step(-0.34 - y, 0.06)
    belly = _step(place.below, 0.03) * across**0.5
    liver = belly * (0.20 + 0.06 * np.clip(-x / 0.3, -1, 1)) * (1 - 0.3 * np.clip(y - 0.5, 0, 1))
    jaw = np.clip(1 - (x / 0.27) ** 2 - ((y + 1.18) / 0.24) ** 2, 0, 1) ** 0.5
    loss = chest + 0.22 * heart + 0.07 * root - 0.09 * trachea + liver + 0.35 * jaw
    if rng.random() < 0.6:  # air in the stomach
        gas_x, gas_y = 0.34 + rng.normal(0, 0.05), 0.58 + rng.normal(0, 0.03)
        bubble = 1 - ((x - gas_x) / rng.uniform(0.10, 0.18)) ** 2 - ((y - gas_y) / rng.uniform(0.06, 0.1)) ** 2
        loss -= 0.17 * np.clip(bubble * 2, 0, 1) * belly
    clouds = smooth_noise(rng, x.shape, 0.16 * place.unit) * across * 0.012
    return _f32(loss + clouds)


def _bones(rng: Generator, place: _Place) -> Plane:
    """Spine, ribs from behind and in front, clavicles and shoulder blades."""
    x, y, distance = place.x, place.y, np.abs(place.x)
    step = 0.118 * rng.uniform(0.95, 1.05)
    start = -0.72 + rng.normal(0, 0.02)
    inside = _step(_at(_BODY, y) - distance, 0.03)
    column = np.exp(-((x / 0.085) ** 6)) * (0.15 + 0.045 * np.cos(2 * np.pi * (y - start) / step))
    loss = column + 0.03 * _band(distance - 0.075, 0.02)
    wall = _at(_LATERAL, y) + 0.025
    part = distance / np.maximum(wall, 0.2)  # 0 at the spine, 1 at the side
    cage = _step(1.03 - part, 0.03) * _step(distance - 0.07, 0.02)
    drop = rng.uniform(0.10, 0.2)
    for k in range(11):
        behind = y - (start + k * step - 0.05 * np.sin(np.pi * np.clip(part * 1.3, 0, 1)) + drop * part**3)
        loss += 0.10 * _hollow(behind, 0.030) * cage * _step(0.62 - y, 0.1)
    slope = rng.uniform(0.22, 0.34)
    for k in range(8):
        front = y - (start + 0.12 + k * 1.08 * step + slope * (1 - part))
        loss += 0.05 * _hollow(front, 0.036) * cage * _step(part - 0.38, 0.06) * _step(0.55 - y, 0.1)
    ends = 0.6 + 0.4 * np.cos(2 * np.pi * (y - start - drop) / step)
    loss += 0.11 * _band(distance - wall, 0.016) * ends * _step(y + 0.62, 0.06) * _step(0.75 - y, 0.1)
    for side in _SIDES:
        lift = -0.74 + rng.normal(0, 0.03)
        along, away = _along(x, y, (side * 0.06, -0.60), (side * 0.64, lift))
        bent = away + side * 0.025 * np.sin(2 * np.pi * np.clip(along / 0.6, 0, 1))
        loss += 0.17 * _hollow(bent, 0.030) * _step(along, 0.02) * _step(0.6 - along, 0.02)
        blade = 1 - ((x - side * 0.66) / 0.13) ** 2 - ((y + 0.42) / 0.24) ** 2
        loss += 0.045 * np.clip(blade * 3, 0, 1)
    return _f32(loss * inside)


def _vessels(rng: Generator, place: _Place) -> Plane:
    """Branches from both hila."""
    trunks = _branches(rng, place, [(s * 0.15, -0.10 + 0.04 * s, s) for s in _SIDES], 13, (0.20, 0.50), 0.014)
    soft = np.zeros_like(trunks)
    for side in _SIDES:
        soft += np.exp(-(((place.x - side * 0.16) / 0.07) ** 2) - ((place.y + 0.08) / 0.13) ** 2)
    return _f32((0.06 * trunks + 0.06 * soft) * (place.depth > -0.05))


def _branches(
    rng: Generator,
    place: _Place,
    roots: list[tuple[float, float, int]],
    number: int,
    length: tuple[float, float],
    radius: float,
) -> Plane:
    """Cover (S, S), 0..1, of paths that fan out from each root (x, y, side) and taper, all on the body's scale."""
    centres, radii = [], []
    for x0, y0, side in roots:
        for heading in np.linspace(-1.25, 1.35, number) + rng.normal(0, 0.08, number):
            steps = np.linspace(0, 1, 40)
            reach = rng.uniform(*length)
            turns = heading + np.cumsum(rng.normal(0, 0.10, 40))
            px = x0 + side * rng.uniform(-0.02, 0.03) + side * np.cumsum(np.cos(turns)) * reach / 40
            py = y0 + 0.10 * np.sin(heading) + rng.normal(0, 0.03) + np.cumsum(np.sin(turns)) * reach / 40
            centres.append(np.stack([px, py], axis=1))
            radii.append(radius * (1 - 0.8 * steps))
    points, radius_of = np.concatenate(centres), np.concatenate(radii)
    return stamp_discs(place.x.shape, _pixels(place, points), radius_of * place.unit, 1.0)


def _pixels(place: _Place, points: ArrayLike) -> NDArray[np.float64]:
    """Points (N, 2) of x and y on the body's axes as rows and columns: the axes are straight, so that three pixels tell
    where all lie."""
    last = place.x.shape[0] - 1
    corners = ((0, 0), (0, last), (last, 0))
    known = np.array([[place.x[c], place.y[c], 1] for c in corners], np.float64)
    to_pixels = np.linalg.solve(known, np.array(corners, np.float64))
    given = np.asarray(points, np.float64)
    return np.column_stack([given, np.ones(len(given))]) @ to_pixels


def _lobar(ill: Generator, taken: Generator, place: _Place) -> Plane:
    """One or two lobes filled, cloudy and with air in the bronchi."""
    density = np.zeros_like(place.x)
    ragged = smooth_noise(taken, place.x.shape, 0.10 * place.unit)
    lobes = [(side, lobe) for side in _SIDES for lobe in _LOBES[side]]
    chosen = ill.permutation(len(lobes))[: 1 + int(ill.random() < 0.3)]
    for side, (top, bottom, middle) in (lobes[int(i)] for i in chosen):
        cx, cy = side * (middle + ill.normal(0, 0.05)), ill.uniform(top * 0.6 + bottom * 0.4, bottom * 0.6 + top * 0.4)
        wide, high = ill.uniform(0.18, 0.34), ill.uniform(0.15, 0.30)
        inside = 1 - np.hypot((place.x - cx) / wide, (place.y - cy) / high)
        fissures = np.minimum(bottom + 0.04 - place.y, place.y - top + 0.04)
        near = np.minimum(inside * min(wide, high), fissures) + 0.035 * ragged
        cloud = ill.uniform(0.42, 1.0) * _step(near, 0.05) * (side * place.x > 0)
        roots = [(side * 0.14, cy - 0.1 * (cy - np.clip(cy, -0.1, 0.1)), side)]
        bronchi = _branches(ill, place, roots, 7, (0.3, 0.55), 0.011)
        density = np.maximum(density, cloud * (1 - 0.4 * bronchi))
    return _f32(density * (0.92 + 0.08 * smooth_noise(taken, place.x.shape, 0.05 * place.unit)))


def _patchy(ill: Generator, taken: Generator, place: _Place) -> Plane:
    """Faint patches and streaks on both sides, thicker around the hila."""
    hilar = sum(np.exp(-(((place.x - s * 0.2) / 0.26) ** 2) - ((place.y - 0.02) / 0.36) ** 2) for s in _SIDES)
    patches = smooth_noise(ill, place.x.shape, 0.13 * place.unit) + 1.1 * hilar
    streaks = np.exp(-((smooth_noise(taken, place.x.shape, 0.06 * place.unit) / 0.35) ** 2))
    covered = np.quantile(patches[place.depth > 0], 1 - ill.uniform(0.3, 0.65))
    cloud = _step(_f32(patches - covered), 0.9)
    return _f32(ill.uniform(0.45, 0.75) * cloud * (0.72 + 0.28 * streaks))


def _dense_enough(
    draw: Callable[[Generator, Generator, _Place], Plane], ill: Generator, taken: Generator, place: _Place
) -> tuple[Plane, NDArray[np.bool_]]:
    """What the opacity takes, and its area, drawn until that is a part of the lungs worth the name."""
    lungs = place.depth > 0
    while True:
        density = draw(ill, taken, place)
        opacity = (density > _DENSE) & lungs
        if opacity.sum() >= _LEAST_AREA * lungs.sum():
            return _f32(0.37 * density), opacity


def _film(rng: Generator, loss: Plane, place: _Place) -> NDArray[np.uint8]:
    """Loss to grey: exposure, scatter, blur, grain, and a lead letter in a corner."""
    size = len(loss)
    scatter = gaussian_filter(loss, 0.10 * place.unit)
    seen = gaussian_filter(0.9 * loss + 0.1 * scatter, rng.uniform(0.3, 0.7) * max(size / 224, 0.5))
    fog, contrast, bend = rng.uniform(0.0, 0.06), rng.uniform(0.85, 1.2), rng.uniform(0.75, 1.15)
    grey = fog + contrast * np.clip(seen, 0, None) ** bend
    grey = np.where(grey > 0.75, 1 - 0.25 * np.exp((0.75 - grey) / 0.25), grey)  # a film's shoulder
    grain = rng.uniform(0.006, 0.016)
    noise = rng.standard_normal(loss.shape, dtype=np.float32)
    grey = grey + grain * gaussian_filter(noise, 0.5) * 1.6 + 0.004 * noise
    letter = _letter(rng, size)
    return np.rint(np.clip(np.maximum(grey, letter), 0, 1) * 255).astype(np.uint8)


def _letter(rng: Generator, size: int) -> Plane:
    """The side marker, 0..1: R on the patient's right, or seldom L on the left."""
    right = rng.random() < 0.8
    high = max(round(size * rng.uniform(0.055, 0.085)), 5)
    x = rng.uniform(0.02, 0.14) if right else rng.uniform(0.80, 0.92)
    plane = Image.new("L", (size, size))
    where = (round(x * size), round(rng.uniform(0.02, 0.35) * size))
    ImageDraw.Draw(plane).text(where, "R" if right else "L", font=ImageFont.load_default(high), fill=255)
    return _f32(np.asarray(plane, np.float32) / 255 * rng.uniform(0.75, 1.0))


def _outline(rng: Generator, points: Outline, vary: float) -> Outline:
    """An outline whose distances from the middle are moved by about `vary`, together more than one by one."""
    rows, distances = points
    moved = np.array(distances) * (1 + rng.normal(0, 2 * vary)) + rng.normal(0, vary / 2, len(rows))
    return rows, tuple(moved.tolist())


def _at(outline: Outline, y: Plane) -> Plane:
    return _f32(np.interp(y, *outline))


def _along(x: Plane, y: Plane, start: tuple[float, float], end: tuple[float, float]) -> tuple[Plane, Plane]:
    """How far along the line from start to end, and how far beside it, a pixel lies."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = np.hypot(dx, dy)
    u, v = x - start[0], y - start[1]
    return _f32((u * dx + v * dy) / length), _f32((v * dx - u * dy) / length)


def _step(distance: ArrayLike, soft: float) -> Plane:
    """0 to 1 as a distance passes 0, over about `soft`."""
    return _f32(1 / (1 + np.exp(-np.clip(4 * np.asarray(distance) / soft, -40, 40))))


def _band(distance: ArrayLike, half: float) -> Plane:
    return _f32(np.exp(-((np.asarray(distance) / half) ** 4)))


def _hollow(distance: ArrayLike, half: float) -> Plane:
    """A bone across: its rims take more than its middle."""
    return _f32(_band(distance, half) * (0.6 + 0.75 * np.clip(np.abs(distance) / half, 0, 1) ** 2))


def _f32(plane: ArrayLike) -> Plane:
    return np.asarray(plane, np.float32)
