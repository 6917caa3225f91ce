"""Phantoms of skin lesions under a dermatoscope, with masks that are known. For trying commands, never for results.

Light that goes through a pigment loses a fixed part of each colour (Beer and Lambert): a lesion is a density of
melanin, blood and so on over a skin, so that the same naevus is lighter on light skin, and thin pigment is tan where
thick one is nearly black. Every number comes from one seed, so a phantom is the same byte for byte wherever the same
numpy and scipy are installed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab

from pipelines.errors import UsageError
from pipelines.preparation.drawing import smooth_noise, stamp_discs
from pipelines.tasks.dermoscopy.looks import SKIN_TONES, add_dark_corners, add_glare, add_hairs, add_marks

MIN_SIDE = 48  # pixels; below, a lesion of 2 % is a few pixels
MALIGNANT_SHARE = 0.2
AREAS = (0.02, 0.7)  # of the picture
MIN_CONTRAST = 8.0  # Delta E (CIE 1976) between the mean colours of lesion and surroundings, before the artefacts
_MEDIAN_AREA = 0.2
_MEASURED = 20_000  # pixels are enough for a mean colour

Plane = NDArray[np.float32]
Picture = NDArray[np.float32]

_BROWN, _BLACK, _BLOOD, _BLUE = range(4)
# What a density of one takes of red, green and blue, as a negative logarithm.
_ABSORPTION = np.array([[0.28, 0.66, 1.00], [0.95, 0.95, 0.90], [0.08, 0.62, 0.52], [1.00, 0.72, 0.42]], np.float32)
# Densities (brown, black, blood, blue) of the lesion, from and to, and how often it is so.
_KINDS = {
    "tan": (0.22, (0.55, 0.0, 0.0, 0.0), (0.95, 0.15, 0.15, 0.0)),
    "brown": (0.28, (0.80, 0.20, 0.0, 0.0), (1.30, 0.60, 0.25, 0.0)),
    "black": (0.20, (0.70, 0.80, 0.0, 0.0), (1.20, 1.50, 0.10, 0.2)),
    "red": (0.11, (0.05, 0.0, 0.45, 0.0), (0.35, 0.15, 1.00, 0.0)),
    "blue": (0.07, (0.10, 0.10, 0.0, 0.7), (0.40, 0.40, 0.10, 1.3)),
    "pale": (0.12, (0.20, 0.0, 0.05, 0.0), (0.40, 0.10, 0.20, 0.0)),
}


@dataclass(frozen=True)
class DermoscopyPhantom:
    """A drawn skin lesion.

    Attributes:
        picture: uint8 (H, W, 3), RGB.
        mask: bool (H, W), True in the lesion; freckles, small naevi beside it and reddened skin do not count.
        diagnosis: "benign" or "malignant".
        seed: the seed it was drawn from.
    """

    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    diagnosis: str
    seed: int


@dataclass(frozen=True)
class _Contour:
    """Planes (H, W) of one closed outline: how deep inside it a pixel lies, how far out, and in which direction.

    Attributes:
        depth: pixels, about; above 0 inside.
        out: 0 in the middle, 1 on the outline.
        angle: radians about the middle.
    """

    depth: Plane
    out: Plane
    angle: Plane


def make_dermoscopy_phantom(seed: int, width: int, height: int, artefacts: bool = True) -> DermoscopyPhantom:
    """Draw one phantom.

    About one in five is malignant: larger, less regular, of several colours. The lesion takes 2 % to 70 % of the
    picture (median about 20 %), may be cut by the border, and differs from its surroundings by ``MIN_CONTRAST``.

    Args:
        seed: everything random comes from it, the width and the height.
        width: columns, at least 48.
        height: rows, at least 48.
        artefacts: hairs, dark corners, rulers, ink, stickers, glare, each on some; the lesion is the same without them.

    Raises:
        UsageError: a picture too small to draw a lesion on, or a seed below 0.
    """
    if min(width, height) < MIN_SIDE or seed < 0:
        raise UsageError(
            f"a phantom of a skin lesion needs at least {MIN_SIDE} pixels each way and a seed from 0 on",
            where=f"{width}x{height}, seed {seed}",
        )
    rng, artefact_rng, camera_rng = np.random.default_rng([seed, width, height]).spawn(3)
    shape, malignant = (height, width), bool(rng.random() < MALIGNANT_SHARE)
    skin = _draw_skin(rng, shape)
    contour = _draw_contour(rng, shape, malignant)
    mask = contour.depth > 0
    picture = _draw_lesion(rng, skin, contour, mask, malignant)
    if artefacts:
        picture = _add_artefacts(picture, artefact_rng, mask)
    picture = _photograph(picture, camera_rng)
    drawn = np.ascontiguousarray(np.moveaxis(np.rint(picture * 255), 0, -1).astype(np.uint8))
    return DermoscopyPhantom(drawn, mask, "malignant" if malignant else "benign", seed)


def _side(shape: tuple[int, int]) -> float:
    return float(np.sqrt(shape[0] * shape[1]))


def _draw_skin(rng: Generator, shape: tuple[int, int]) -> Picture:
    """Skin (3, H, W), 0..1, of one of Fitzpatrick's types or between two, furrowed, mottled and unevenly lit."""
    side = _side(shape)
    place = (len(SKIN_TONES) - 1) * rng.beta(1.1, 2.2)  # archives hold far more light skin than dark
    tone = np.array([np.interp(place, np.arange(len(SKIN_TONES)), SKIN_TONES[:, k]) for k in range(3)])
    tone *= rng.normal(1, 0.035, 3)
    densities = np.zeros((4, *shape), np.float32)
    densities[_BROWN] = rng.uniform(0.02, 0.06) * smooth_noise(rng, shape, 0.25 * side)
    densities[_BROWN] += rng.uniform(0.01, 0.035) * smooth_noise(rng, shape, 0.02 * side)
    densities[_BLOOD] = rng.uniform(0.02, 0.07) * smooth_noise(rng, shape, 0.12 * side)
    furrows = np.abs(smooth_noise(rng, shape, rng.uniform(0.012, 0.03) * side))
    densities[_BLACK] = rng.uniform(0.01, 0.1) * np.maximum(1 - furrows / 0.5, 0)
    densities[_BLACK] += 0.015 * smooth_noise(rng, shape, 1.5)
    pores = rng.uniform(0, 1, (int(rng.integers(0, 150)), 2)) * shape
    densities[_BLACK] -= stamp_discs(shape, pores, 0.004 * side, rng.uniform(0.02, 0.12))
    y, x = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None], np.linspace(-1, 1, shape[1], dtype=np.float32)
    slope, fall = rng.normal(0, 0.06, 2).astype(np.float32), np.float32(rng.uniform(0, 0.12))
    densities[_BLACK] += slope[0] * y + slope[1] * x + fall * (y**2 + x**2)
    return np.clip(_through(densities, tone[:, None, None].astype(np.float32)), 0, 1)


def _through(densities: Plane, light: Picture) -> Picture:
    """Light (3, H, W) that has passed pigments of these densities (4, H, W)."""
    passed: list[Plane] = []
    for colour in range(3):
        taken = densities[0] * _ABSORPTION[0, colour]
        for pigment in range(1, 4):
            taken += densities[pigment] * _ABSORPTION[pigment, colour]
        taken /= 1 + np.float32(0.28) * np.maximum(taken, 0)  # the deepest black still scatters some light
        passed.append(light[colour] * np.exp(-taken))
    return np.stack(passed)


def _draw_contour(rng: Generator, shape: tuple[int, int], malignant: bool) -> _Contour:
    """An ellipse with Fourier radii, bent by noise, and scaled until it takes exactly the area that was drawn."""
    side, least = _side(shape), np.array(shape).min()
    area = float(np.clip(_MEDIAN_AREA * rng.lognormal(0.3 if malignant else -0.05, 0.75), *AREAS))
    irregular = rng.uniform(0.7, 1.5) if malignant else rng.uniform(0.15, 0.75)
    centre = np.array(shape) / 2 + rng.normal(0, 0.05, 2) * least
    if rng.random() < 0.12:
        centre[rng.integers(2)] += rng.choice([-1, 1]) * rng.uniform(0.3, 0.5) * least
    bends = [
        (rng.uniform(0.3, 1) * 0.05 * irregular, rng.uniform(0.15, 0.3)),
        (rng.uniform(0.3, 1) * 0.008 * (irregular + 0.3), rng.uniform(0.04, 0.07)),
    ]
    coordinates: list[Plane] = []
    for axis in range(2):
        at = ((np.arange(shape[axis]) - centre[axis]) / side).astype(np.float32)
        plane = np.broadcast_to(at[:, None] if axis == 0 else at, shape).copy()
        for amount, length in bends:
            plane += min(amount, amount * np.sqrt(area / 0.1)) * smooth_noise(rng, shape, length * side)
        # a large lesion has to be as oblong as the picture, or its corners would be all the skin there is
        plane *= (side / shape[axis]) ** float(np.clip((area - 0.2) / 0.3, 0, 1))
        coordinates.append(plane)
    turn, stretch = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1, 1.7 if area < 0.4 else 1.25))
    y = (np.cos(turn) * coordinates[0] - np.sin(turn) * coordinates[1]) * stretch
    x = (np.sin(turn) * coordinates[0] + np.cos(turn) * coordinates[1]) / stretch
    radius, angle = np.maximum(np.hypot(y, x), 1e-4).astype(np.float32), np.arctan2(y, x).astype(np.float32)
    reach = np.zeros(shape, np.float32)
    for order in range(2, 9):
        amount = irregular * rng.normal(0, 0.22) / order**1.1
        reach += np.float32(amount) * np.cos(order * angle + np.float32(rng.uniform(0, 2 * np.pi)))
    if rng.random() < (0.35 if malignant else 0.1):  # pseudopods
        fingers = np.cos(int(rng.integers(14, 30)) * angle + 2 * smooth_noise(rng, shape, 0.15 * side))
        reach += np.float32(rng.uniform(0.03, 0.07)) * fingers * np.clip(smooth_noise(rng, shape, 0.3 * side), 0, 1)
    out = radius * np.exp(-reach)
    out /= np.quantile(out, area)
    depth = (radius / out - radius) * np.float32(side)
    return _Contour(_one_piece(depth), out, angle)


def _one_piece(depth: Plane) -> Plane:
    """Depths without the specks and holes that strong bends can leave beside an outline or in it."""
    parts, count = ndimage.label(depth > 0)
    largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    solid = ndimage.binary_fill_holes(largest)
    if count > 1:  # a speck is as far out as it lies from the lesion
        depth = np.where(solid, depth, np.minimum(depth, -ndimage.distance_transform_edt(~solid))).astype(np.float32)
    return np.where(solid, np.maximum(depth, np.float32(1e-3)), depth)


def _draw_lesion(rng: Generator, skin: Picture, contour: _Contour, mask: NDArray[np.bool_], malignant: bool) -> Picture:
    """The skin with the lesion and its surroundings on it; thicker pigment is tried until the lesion can be seen."""
    shape = contour.depth.shape[0], contour.depth.shape[1]
    size = float(np.sqrt(np.count_nonzero(mask)))
    edge = max(size * np.exp(rng.uniform(np.log(0.02), np.log(0.3))), 0.8)
    inside = np.clip(contour.depth / np.float32(edge) + 0.5, 0, 1)
    inside *= inside * (3 - 2 * inside)
    lesion = _pigment(rng, contour, size, malignant)
    around = _surround(rng, contour, edge)
    scar, veil = _cover(rng, contour, size, 0.35 if malignant else 0.06), np.zeros(shape, np.float32)
    if rng.random() < (0.5 if malignant else 0.04):
        veil = _patch(rng, shape, 0.35 * size, rng.uniform(0.2, 0.5)) * np.float32(rng.uniform(0.35, 0.6))
    lesion *= 1 - np.float32(0.7) * scar
    pale = np.float32(rng.uniform(0.1, 0.3)) * scar
    few = slice(None, None, max(int(np.sqrt(mask.size / _MEASURED)), 1))
    light = float(np.clip(skin.mean(), 0.3, 0.75))
    veil_colour = np.array([0.66, 0.72, 0.86]) * light

    def seen(strength: float, part: slice) -> Picture:
        """Mixed by colour, not by density, so that halfway between skin and lesion is where the mask ends."""
        under = _through(around[:, part, part], skin[:, part, part])
        over = _through(np.float32(strength) * lesion[:, part, part] + around[:, part, part], skin[:, part, part])
        for channel, colour, white in zip(over, veil_colour, (0.93, 0.86, 0.84), strict=True):
            channel += pale[part, part] * (np.float32(white * min(1.2 * light, 1)) - channel)
            channel += veil[part, part] * (np.float32(colour) - channel)
        return under + inside[part, part] * (over - under)

    strength = 1.0
    while contrast(seen(strength, few), mask[few, few]) < MIN_CONTRAST and strength < 8:
        strength *= 1.2
    return seen(strength, slice(None))


def contrast(picture: Picture, mask: NDArray[np.bool_]) -> float:
    """Delta E (CIE 1976) between the mean colours of a picture (3, H, W), RGB 0..1, inside and outside of a mask."""
    lab = rgb2lab(picture, channel_axis=0)
    return float(np.linalg.norm(lab[:, mask].mean(axis=1) - lab[:, ~mask].mean(axis=1)))


def _pigment(rng: Generator, contour: _Contour, size: float, malignant: bool) -> Plane:
    """Densities (4, H, W) of the lesion's pigments as if it filled the picture, with the structures in them."""
    shape = contour.depth.shape[0], contour.depth.shape[1]
    shares = np.array([kind[0] for kind in _KINDS.values()])
    _, low, high = list(_KINDS.values())[rng.choice(len(_KINDS), p=shares / shares.sum())]
    densities = rng.uniform(low, high).astype(np.float32)[:, None, None] * np.ones((4, *shape), np.float32)
    core = np.float32(rng.normal(0.25, 0.45))
    mottled = core * (0.5 - np.minimum(contour.out, 1.2)) + np.float32(rng.uniform(0.1, 0.3)) * smooth_noise(
        rng, shape, 0.35 * size
    )
    mottled += np.float32(rng.uniform(0.05, 0.2)) * smooth_noise(rng, shape, max(0.06 * size, 2))
    mottled += np.float32(0.07) * smooth_noise(rng, shape, max(0.02 * size, 1))
    densities *= np.exp(mottled)
    if rng.random() < 0.5:
        densities[: _BLACK + 1] *= 1 + np.float32(rng.uniform(0.2, 0.55)) * _network(rng, contour, size)
    if rng.random() < 0.4:
        count = int(rng.integers(15, 110))
        at = np.argwhere(contour.depth > 0)
        at = at[rng.integers(0, len(at), count)]
        globules = stamp_discs(
            shape, at, size * rng.uniform(0.006, 0.018) * rng.lognormal(0, 0.35, count), rng.random(count)
        )
        globules = ndimage.gaussian_filter(globules, 0.005 * size)
        densities[_BROWN] += np.float32(rng.uniform(0.2, 0.7)) * globules
        densities[_BLACK] += np.float32(rng.uniform(0.1, 0.6)) * globules
    if rng.random() < (0.4 if malignant else 0.12):
        spokes = np.cos(int(rng.integers(18, 40)) * contour.angle + 3 * smooth_noise(rng, shape, 0.15 * size))
        rim = np.clip((contour.out - 0.55) / 0.3, 0, 1) * np.clip(0.5 + smooth_noise(rng, shape, 0.4 * size), 0, 1)
        densities *= 1 + np.float32(rng.uniform(0.3, 0.8)) * np.maximum(spokes, 0) * rim
    for pigment, likely, least, most in (
        (_BLACK, 0.75 if malignant else 0.15, 0.5, 1.6),
        (_BLUE, 0.4 if malignant else 0.04, 0.4, 1.0),
        (_BLOOD, 0.45 if malignant else 0.08, 0.3, 0.9),
        (_BROWN, 0.6 if malignant else 0.15, 0.3, 0.9),
    ):
        if rng.random() < likely:
            patch = _patch(rng, shape, rng.uniform(0.2, 0.5) * size, rng.uniform(0.15, 0.5))
            densities[pigment] += np.float32(rng.uniform(least, most)) * patch
    return densities


def _patch(rng: Generator, shape: tuple[int, int], length: float, share: float) -> Plane:
    """Cover (H, W), 0..1, of soft blots that take about this share of the plane."""
    noise = smooth_noise(rng, shape, length) + np.float32(0.3) * smooth_noise(rng, shape, max(0.15 * length, 1.5))
    return np.clip((noise - np.quantile(noise[::4, ::4], 1 - share)) / np.float32(rng.uniform(0.5, 1.6)), 0, 1)


def _cover(rng: Generator, contour: _Contour, size: float, likely: float) -> Plane:
    """Cover (H, W), 0..1, of where a lesion has gone pale (regression): at most a third of it, off its rim."""
    shape = contour.depth.shape[0], contour.depth.shape[1]
    if rng.random() >= likely:
        return np.zeros(shape, np.float32)
    return _patch(rng, shape, 0.4 * size, rng.uniform(0.1, 0.33)) * np.clip((0.95 - contour.out) / 0.15, 0, 1)


def _network(rng: Generator, contour: _Contour, size: float) -> Plane:
    """A bent honeycomb (H, W), -1..1, high on its cords; three waves at 60 degrees have their crests in its holes."""
    shape = contour.depth.shape[0], contour.depth.shape[1]
    cell = max(rng.uniform(0.022, 0.042) * np.sqrt(size * _side(shape)), 3.5)
    y, x = (
        at + np.float32(0.3 * cell) * smooth_noise(rng, shape, 2 * cell)
        for at in np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    )
    start = rng.uniform(0, np.pi)
    waves = np.zeros(shape, np.float32)
    for k in range(3):
        angle = start + k * np.pi / 3
        waves += np.cos(np.float32(2 * np.pi / cell) * (np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y))
    window = np.clip(0.6 + 0.5 * smooth_noise(rng, shape, 0.3 * size), 0, 1)
    return np.clip(0.3 - waves / 1.5, -1, 1) * window


def _surround(rng: Generator, contour: _Contour, edge: float) -> Plane:
    """Densities (4, H, W) that are not the lesion's: reddened skin about it, freckles, small naevi clear of it."""
    shape = contour.depth.shape[0], contour.depth.shape[1]
    side = _side(shape)
    densities = np.zeros((4, *shape), np.float32)
    if rng.random() < 0.15:
        halo = np.exp(np.minimum(contour.depth, 0) / np.float32(rng.uniform(0.03, 0.1) * side))
        densities[_BLOOD] += np.float32(rng.uniform(0.12, 0.3)) * halo
    for likely, most, low, high, dark in ((0.3, 30, 0.004, 0.012, 0.5), (0.15, 3, 0.012, 0.035, 0.9)):
        if rng.random() >= likely:
            continue
        count = int(rng.integers(1, most + 1))
        at, radii = rng.uniform(0, 1, (count, 2)) * shape, side * rng.uniform(low, high, count)
        clear = contour.depth[tuple(at.astype(int).T)] < -(radii + edge + 0.03 * side)
        spots = stamp_discs(shape, at[clear], radii[clear], rng.uniform(0.3, 1, count)[clear])
        densities[_BROWN] += np.float32(dark) * ndimage.gaussian_filter(spots, 0.3 * low * side)
    return densities


def _add_artefacts(picture: Picture, rng: Generator, mask: NDArray[np.bool_]) -> Picture:
    """What lies on the skin first, the dermatoscope's frame last."""
    if rng.random() < 0.2:
        picture = add_marks(picture, rng, mask)
    if rng.random() < 0.4:
        picture = add_hairs(picture, rng)
    if rng.random() < 0.2:
        picture = add_glare(picture, rng)
    if rng.random() < 0.3:
        picture = add_dark_corners(picture, rng, mask)
    return picture


def _photograph(picture: Picture, rng: Generator) -> Picture:
    """Slightly out of focus, and with the noise of the sensor."""
    shape = picture.shape[1], picture.shape[2]
    picture = ndimage.gaussian_filter(picture, (0, *[rng.uniform(0.2, 0.2 + 0.0015 * _side(shape))] * 2), truncate=3)
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(picture + np.float32(rng.uniform(0.003, 0.014)) * noise, 0, 1)
