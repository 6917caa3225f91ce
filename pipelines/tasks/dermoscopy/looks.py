"""Looks of skin lesions under a dermatoscope: hairs, dark corners, rulers, ink, glare, cameras and skins.

A segmenter that is trained on the pictures of one clinic takes what it never saw there (a ruler, the dark frame of
another dermatoscope) for lesion. The functions draw on arrays; phantoms use them, and the transforms of
``pipelines.transforms`` call them on tensors. All take RGB float32 (3, rows, columns) of 0..1, rows and columns either
way round and 16 pixels at least, leave the array they are given as it is, and size what they draw by the picture's
side, sqrt(rows x columns).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from pipelines.preparation.drawing import smooth_noise, soft_rim, stamp_discs

Picture = NDArray[np.float32]
Plane = NDArray[np.float32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Pair = tuple[int, int]  # rows and columns, or the least and the most


def _rgb(*colours: str) -> Floats:
    return np.array([list(bytes.fromhex(colour)) for colour in colours]) / 255


SKIN_TONES = _rgb("edc9bd", "e0b59e", "cc9e7d", "ab7a5c", "805740", "573b2e")  # Fitzpatrick's types I to VI
_HAIRS, _HAIR_SHARES = _rgb("120d0a", "1f140f", "4d2e1a", "d9c49e"), [0.4, 0.25, 0.23, 0.12]
_INKS = _rgb("5c299e", "734099", "2e4db8", "24242b")
_STICKERS = _rgb("339e59", "296bbf", "edc733", "eb7a29", "cc2e38", "8cbfd9")
_TRIES = 8  # places tried for what must spare the lesion


def stamp_curves(shape: Pair, controls: ArrayLike, radii: ArrayLike, opacities: ArrayLike, taper: float = 0) -> Plane:
    """Cover (rows, columns), 0..1, of cubic Bézier curves.

    Args:
        shape, radii, opacities: as of ``stamp_discs``; the radius is half a curve's width.
        controls: (N, 4, 2), the control points in pixels, row and column.
        taper: by which part a curve is thinner at its end, 0..1.
    """
    controls = np.asarray(controls, np.float32).reshape(-1, 4, 2)
    radii, opacities = (np.broadcast_to(np.asarray(each, np.float32), len(controls)) for each in (radii, opacities))
    lengths = np.linalg.norm(np.diff(controls, axis=1), axis=2).sum(axis=1)  # of the polygon, and so never too short
    counts = np.ceil(lengths / np.maximum(0.6 * radii, 0.7)).astype(int) + 2
    curve = np.repeat(np.arange(len(controls)), counts)
    along = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    t = (along / (counts[curve] - 1)).astype(np.float32)
    weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    points = np.einsum("nk,nkd->nd", weights, controls[curve])
    return stamp_discs(shape, points, radii[curve] * (1 - taper * t**2), opacities[curve])


def add_hairs(picture: Picture, rng: Generator, number: Pair = (4, 30)) -> Picture:
    """Hairs of one head, dark, brown or light, some out of focus; ``number`` from the least to the most of them."""
    shape, side = _measures(picture)
    count = int(rng.integers(number[0], number[1] + 1))
    colour = _HAIRS[rng.choice(len(_HAIRS), p=_HAIR_SHARES)]
    radius = side * np.exp(rng.uniform(np.log(0.0012), np.log(0.0045))) * rng.uniform(0.7, 1.3, count)
    spread = rng.choice([0.2, 0.6, np.pi])
    controls = _curves(rng, shape, side * rng.lognormal(-0.5, 0.45, count), rng.uniform(0, 2 * np.pi), spread)
    opacity = rng.uniform(0.65, 1.0, count) * (0.75 if colour[0] > 0.5 else 1.0)
    blurred = rng.random(count) < (0.35 if rng.random() < 0.5 else 0.0)
    out = picture.copy()
    for chosen, blur in ((blurred, rng.uniform(0.003, 0.008) * side), (~blurred, 0.0)):
        if chosen.any():
            cover = stamp_curves(shape, controls[chosen], radius[chosen], opacity[chosen], taper=0.6)
            cover = ndimage.gaussian_filter(cover, blur, truncate=2.5) if blur else cover
            _blend(out, cover, colour * rng.uniform(0.8, 1.2))
    return out


def add_dark_corners(picture: Picture, rng: Generator, spare: Mask | None = None) -> Picture:
    """The dark round frame of a dermatoscope, a ring or its corners; none that hides over 3 % of ``spare``."""
    shape, side = _measures(picture)
    half = np.array(shape) / 2
    for _ in range(_TRIES):
        y, x = (c - s * (1 + rng.normal(0, 0.06)) for c, s in zip(np.ogrid[: shape[0], : shape[1]], half, strict=True))
        distance = np.sqrt(y**2 + x**2).astype(np.float32)
        ring = rng.random() < 0.3
        radius = half.min() * rng.uniform(0.85, 1.05) if ring else np.hypot(*half) * rng.uniform(0.74, 0.97)
        if spare is None or np.count_nonzero(spare & (distance > radius)) <= 0.03 * np.count_nonzero(spare):
            break
    else:
        return picture.copy()
    edge = max(side * np.exp(rng.uniform(np.log(0.003), np.log(0.2))), 1.0)
    cover = np.clip((distance - radius) / edge + 0.5, 0, 1)
    cover *= cover * (3 - 2 * cover) * rng.uniform(0.85, 1)
    out = picture.copy()
    if rng.random() < 0.5:  # the lamp falls off before the frame begins
        out *= 1 - rng.uniform(0.05, 0.3) * np.minimum(distance / radius, 1.5) ** 4
    return np.clip(_blend(out, cover, rng.uniform(0, 0.13) * rng.uniform(0.8, 1.1, 3)), 0, 1)


def add_ruler(picture: Picture, rng: Generator, spare: Mask | None = None) -> Picture:
    """Millimetre ticks along an edge, longer at each fifth and tenth, on the skin or on paper that leaves ``spare``."""
    shape, side = _measures(picture)
    grid = np.ogrid[: shape[0], : shape[1]]
    axis, far = int(rng.integers(2)), rng.random() < 0.5
    depth = shape[axis] - 1 - grid[axis] if far else grid[axis]
    millimetre, angle = side * rng.uniform(0.022, 0.065), rng.normal(0, 0.035)
    shift = rng.uniform(0, 0.1) * side
    across = (depth * np.cos(angle) - (grid[1 - axis] - shape[1 - axis] / 2) * np.sin(angle) - shift).astype(np.float32)
    along = grid[1 - axis] * np.cos(angle) + depth * np.sin(angle) + rng.uniform(0, 10) * millimetre
    along = along.astype(np.float32)
    tick = np.rint(along / millimetre).astype(np.int32)
    length = millimetre * rng.uniform(0.7, 1.1) * np.choose((tick % 5 == 0) + 1 * (tick % 10 == 0), [1.0, 1.5, 2.1])
    thickness = np.float32(max(millimetre * rng.uniform(0.03, 0.09), 0.35))
    cover = soft_rim(thickness, np.abs(along - tick * millimetre))
    cover *= np.clip(across + 0.5, 0, 1) * np.clip(length - across + 0.5, 0, 1)
    if rng.random() < 0.4:
        cover = np.maximum(cover, soft_rim(thickness, np.abs(across)))
    out = picture.copy()
    light = rng.random() < 0.25
    if not light and rng.random() < 0.3 and (spare is None or across[spare].min(initial=np.inf) > 2.8 * millimetre + 1):
        paper = np.clip(2.8 * millimetre - across + 0.5, 0, 1) * rng.uniform(0.75, 0.97)
        _blend(out, paper, np.array([0.93, 0.92, 0.88]) * rng.uniform(0.8, 1.0))
    colour = rng.uniform(0.85, 1.0, 3) if light else rng.uniform(0.03, 0.2, 3)
    return _blend(out, cover * rng.uniform(0.6, 0.95), colour)


def add_ink(picture: Picture, rng: Generator, spare: Mask | None = None) -> Picture:
    """Up to five strokes of a skin marker, purple, blue or black; a stroke that would touch ``spare`` is left out."""
    shape, side = _measures(picture)
    cover: Plane = np.zeros(shape, np.float32)
    radius, blur = side * np.exp(rng.uniform(np.log(0.006), np.log(0.03))), side * rng.uniform(0.001, 0.005)
    for _ in range(int(rng.integers(1, 6))):
        for _ in range(_TRIES):
            stroke = _curves(rng, shape, side * rng.uniform(0.02, 0.4, 1), 0, np.pi)
            if spare is None or not stamp_curves(shape, stroke, radius + 3 * blur + 1, 1)[spare].any():
                np.maximum(cover, stamp_curves(shape, stroke, radius, rng.uniform(0.6, 0.95)), out=cover)
                break
    cover = ndimage.gaussian_filter(cover, blur, truncate=2.5)
    cover *= np.clip(0.8 + 0.15 * smooth_noise(rng, shape, 0.008 * side), 0.2, 1)  # the marker skips over the furrows
    ink = _INKS[rng.integers(len(_INKS))] * rng.uniform(0.85, 1.15)
    return picture * (1 - cover * (1 - ink.astype(np.float32))[:, None, None])


def add_sticker(picture: Picture, rng: Generator, spare: Mask | None = None) -> Picture:
    """A coloured round patch that the border cuts; none if it would touch ``spare``."""
    shape, side = _measures(picture)
    for _ in range(_TRIES):
        centre = rng.uniform(0, 1, 2)
        centre[rng.integers(2)] = rng.choice([-0.08, 0.0, 1.0, 1.08])
        y, x = (c - m * n for c, m, n in zip(np.ogrid[: shape[0], : shape[1]], centre, shape, strict=True))
        radius, stretch = side * rng.uniform(0.15, 0.42), rng.uniform(0.8, 1.25)
        distance = np.sqrt((y * stretch) ** 2 + (x / stretch) ** 2).astype(np.float32)
        if spare is None or distance[spare].min(initial=np.inf) > radius + 0.025 * side + 1:
            break
    else:
        return picture.copy()
    out = picture * (1 - 0.35 * np.clip(1 - np.abs(distance - radius) / (0.02 * side), 0, 1))  # the shadow of its rim
    cover = np.clip((radius - distance) / max(0.004 * side, 1) + 0.5, 0, 1)
    colour = _STICKERS[rng.integers(len(_STICKERS))] * rng.uniform(0.75, 1.1, 3)
    return np.clip(_blend(out, cover * rng.uniform(0.85, 1.0), colour), 0, 1)


def add_marks(picture: Picture, rng: Generator, spare: Mask | None = None) -> Picture:
    """One or more of a ruler, ink and a sticker; all but the ruler's ticks keep off ``spare`` (rows, columns)."""
    kinds = rng.random(3) < (0.55, 0.35, 0.2)
    kinds[0] |= not kinds.any()
    out = add_sticker(picture, rng, spare) if kinds[2] else picture
    out = add_ink(out, rng, spare) if kinds[1] else out
    return add_ruler(out, rng, spare) if kinds[0] else out


def add_glare(picture: Picture, rng: Generator) -> Picture:
    """Lights on the skin's ridges, bubbles in the gel, and in half of the pictures uneven light (0.7..1.3)."""
    shape, side = _measures(picture)
    out = picture.copy()
    if rng.random() < 0.5:
        y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
        angle, amount, bend = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.2), rng.uniform(-0.1, 0.1)
        across = np.float32(np.cos(angle)) * y[:, None] + np.float32(np.sin(angle)) * x
        out *= 1 + amount * across + bend * across**2
    glints: Plane = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        count = int(rng.integers(2, 14))
        near = rng.uniform(0, 1, 2) * shape + rng.normal(0, 0.07, (count, 2)) * side
        strokes = _curves(rng, shape, side * rng.uniform(0.002, 0.022, count), rng.uniform(0, np.pi), 0.5, near)
        radii = side * rng.uniform(0.001, 0.006) * rng.lognormal(-0.3, 0.4, count)
        np.maximum(glints, stamp_curves(shape, strokes, radii, rng.uniform(0.3, 1.0, count)), out=glints)
    glints = ndimage.gaussian_filter(glints, rng.uniform(0.0005, 0.003) * side + 0.15, truncate=2.5)
    _blend(out, glints, np.array([1.0, 0.99, 0.97]))
    light = rng.uniform(0, 2 * np.pi)
    for _ in range(max(int(rng.integers(-3, 6)), 0)):
        radius, centre = side * np.exp(rng.uniform(np.log(0.008), np.log(0.06))), rng.uniform(0, 1, 2) * shape
        angles = np.linspace(0, 2 * np.pi, int(6 * radius) + 12)
        rim = np.stack([np.sin(angles), np.cos(angles) * rng.uniform(0.85, 1.15)], axis=1)
        facing = 0.5 + 0.5 * np.cos(angles - light)
        thin = max(0.0016 * side, 0.45)
        _blend(out, stamp_discs(shape, centre + (radius - 1.5 * thin) * rim, thin, 0.35 * (1 - facing)), np.zeros(3))
        _blend(out, stamp_discs(shape, centre, radius, 0.08), np.ones(3))
        _blend(out, stamp_discs(shape, centre + radius * rim, thin, 0.15 + 0.75 * facing**2), np.ones(3))
    return np.clip(out, 0, 1)


def shift_tones(picture: Picture, rng: Generator) -> Picture:
    """The colours of another camera and, in half of the pictures, of another skin.

    Gains of each channel 0.75..1.3, saturation 0.5..1.5, hue +-0.06 of a turn, contrast 0.8..1.2, gamma 0.6..1.7; mild
    ones are likelier. Where all of them together would leave a picture garish, nearly black or white, they are damped.
    """
    out = picture.reshape(3, -1)
    few = slice(None, None, max(out.shape[1] // 4096, 1))  # enough to measure by
    if rng.random() < 0.5:
        skin = np.maximum(np.percentile(out[:, few], 65, axis=1), 0.1)  # the brighter part is skin more often than not
        place = rng.uniform(0, len(SKIN_TONES) - 1)
        wanted = [np.interp(place, np.arange(len(SKIN_TONES)), SKIN_TONES[:, k]) for k in range(3)]
        out = np.minimum(out * np.clip(wanted / skin, 0.3, 1.6).astype(np.float32)[:, None], 1)
    gains = rng.triangular([0.75, 0.85, 0.75], 1.0, [1.3, 1.15, 1.3])  # cameras differ least in green
    turned = _turn_hue(rng.triangular(-0.06, 0, 0.06)) @ np.diag(gains)
    sample = np.clip(turned @ out[:, few], 0.01, 1)
    vivid = float(np.percentile(1 - sample.min(axis=0) / sample.max(axis=0), 85))
    saturation = min(rng.triangular(0.5, 1, 1.5), 0.7 / max(vivid, 0.1))
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    out = ((grey + saturation * (np.eye(3) - grey)) @ turned).astype(np.float32) @ out
    contrast, middle = rng.triangular(0.8, 1, 1.2), float(out.mean())
    out = np.clip((out - middle) * np.float32(contrast) + np.float32(middle + rng.triangular(-0.1, 0, 0.1)), 0, 1)
    gamma = np.exp(rng.triangular(np.log(0.6), 0, np.log(1.7)))
    level = float(np.clip(out.mean(), 0.01, 0.99))
    gamma *= np.log(np.clip(level**gamma, 0.3, 0.85)) / np.log(level**gamma)
    return np.power(out, np.float32(np.clip(gamma, 0.3, 3.0))).reshape(picture.shape)


def _measures(picture: Picture) -> tuple[Pair, float]:
    rows, columns = picture.shape[1:]
    return (rows, columns), float(np.sqrt(rows * columns))


def _blend(picture: Picture, cover: Plane, colour: Floats) -> Picture:
    """Lays a colour over the picture, in place."""
    for channel, value in zip(picture, colour, strict=True):
        channel += cover * (np.float32(value) - channel)
    return picture


def _curves(
    rng: Generator, shape: Pair, lengths: Floats, angle: float, spread: float, at: Floats | None = None
) -> Floats:
    """Control points (N, 4, 2) of bent strokes of about these lengths (pixels), turned by angle +- spread."""
    count = len(lengths)
    centres = rng.uniform(-0.05, 1.05, (count, 2)) * shape if at is None else at
    turned = angle + rng.uniform(-1, 1, count) * spread
    forward = np.stack([np.sin(turned), np.cos(turned)], axis=1)
    aside = np.stack([forward[:, 1], -forward[:, 0]], axis=1)
    along = (np.array([-0.5, -0.17, 0.17, 0.5]) * lengths[:, None])[..., None] * forward[:, None]
    bend = rng.normal(0, 0.2, (count, 4)) * lengths[:, None]
    return centres[:, None] + along + bend[..., None] * aside[:, None]


def _turn_hue(turns: float) -> Floats:
    """The matrix (3, 3) that turns RGB colours about the grey axis."""
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    angle = 2 * np.pi * turns
    return np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) / 3 + np.sin(angle) * cross
