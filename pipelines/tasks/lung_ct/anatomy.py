"""The tissues of the chest phantom, slice by slice, in Hounsfield units.

Coordinates are millimetres: x towards the patient's left, y towards the back, z towards the head with 0 at the
lowest slice.
Organs are implicit functions, positive inside and roughly the distance to the surface; sizes are those of an adult.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

HEIGHT_MM = 330.0  # from the upper abdomen to the neck
CARINA_MM = 200.0
AIR, FAT, MUSCLE, LUNG = -1000.0, -100.0, 50.0, -860.0


@dataclass(frozen=True)
class Body:
    """What differs between patients. Lengths in mm; `tilt` is a rotation about the body's axis in radians."""

    size: float
    fat: float
    muscle: float
    heart: float
    domes: tuple[float, float]
    tilt: float
    offset: tuple[float, float]
    rib_phase: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Body:
        """One patient; the sizes vary by about a tenth."""
        right = rng.uniform(98, 112)
        return cls(
            size=rng.uniform(0.92, 1.05),
            fat=rng.uniform(7, 20),
            muscle=rng.uniform(8, 13),
            heart=rng.uniform(0.9, 1.15),
            domes=(right - rng.uniform(5, 14), right),
            tilt=rng.uniform(-0.06, 0.06),
            offset=(rng.uniform(-6, 6), rng.uniform(-6, 6)),
            rib_phase=rng.uniform(0, 1),
        )


@dataclass(frozen=True)
class Slice:
    """One slice: `hu` (X, Y) without lung vessels, lesions and noise; `left` and `right`: mm inside that lung,
    negative outside."""

    hu: Field
    left: Field
    right: Field


def _smooth_minimum(*fields: Field, width: float = 3.5) -> Field:
    """The minimum with corners rounded over about `width` mm."""
    total = sum(np.exp(-np.clip(f, -60, 60) / width) for f in fields)
    return np.asarray(-width * np.log(total), dtype=np.float32)


def _ellipse(x: Field, y: Field, at: tuple[float, float], radii: tuple[float, float], turn: float = 0.0) -> Field:
    """About the distance to an ellipse's edge in mm, positive inside; `turn` in radians."""
    u, v = x - at[0], y - at[1]
    if turn:
        u, v = np.cos(turn) * u + np.sin(turn) * v, np.cos(turn) * v - np.sin(turn) * u
    return (1 - np.hypot(u / radii[0], v / radii[1])) * min(radii)


def _ramp(z: float, low: float, high: float) -> float:
    t = min(max((z - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def draw_slice(body: Body, x: Field, y: Field, z: float, texture: Field, bowel_gas: bool = False) -> Slice:
    """Draw one slice.

    Args:
        body: the patient.
        x, y: (X, Y) coordinates of the pixel centres in mm.
        z: height of the slice in mm, 0..HEIGHT_MM.
        texture: (X, Y) smooth noise of about unit variance, which places fat among the soft tissues.
        bowel_gas: the colon is full of gas and stool, up to under the diaphragm; else there is little in it.
    """
    cos, sin = np.cos(body.tilt), np.sin(body.tilt)
    x, y = x - body.offset[0], y - body.offset[1]
    x, y = (cos * x + sin * y) / body.size, (cos * y - sin * x) / body.size

    neck = _ramp(z, 292, 326)
    half_width = 158 + 12 * _ramp(z, 40, 160) - 95 * neck
    half_depth = 104 + 8 * _ramp(z, 30, 140) - 46 * neck
    power = 2.35
    radial = (np.abs(x / half_width) ** power + np.abs(y / half_depth) ** power) ** (1 / power)
    depth = (1 / np.maximum(radial, 1e-2) - 1) * np.hypot(x, y)  # mm under the skin
    angle = np.arctan2(np.abs(x), y)  # 0 at the back, pi in front
    fat = body.fat * (1 - 0.35 * np.cos(angle)) * (1 + 0.12 * texture)
    muscle = body.muscle * (1 + 0.5 * np.cos(angle) + 0.5 * _ramp(z, 210, 270) * np.sin(angle))
    cavity = depth - fat - muscle - 9  # the inside of the rib cage
    back = half_depth - 46  # centre of the vertebral body

    hu = np.full(x.shape, AIR, np.float32)
    table = np.abs(y - (116 + 0.4 * body.fat - 0.0008 * x**2))
    hu[(table < 2.2) & (np.abs(x) < 195)] = -150
    hu[depth > 0] = 20
    hu[depth > 1.8] = FAT
    hu[(depth > fat) & (depth < fat + muscle + 9 + 200)] = MUSCLE
    hu[(depth > fat) & (cavity < -5) & (texture > 1.3)] = -70  # fat between the muscles

    left, right = _lungs(body, x, y, z, cavity, back)
    lung = np.maximum(left, right)
    _mediastinum(body, hu, x, y, z, cavity, lung, texture)
    _abdomen(body, hu, x, y, z, cavity, lung, texture)
    if bowel_gas:
        _colon(body, hu, x, y, z, (cavity > 2) & (lung <= -4), texture)
    _bones(body, hu, x, y, z, cavity, angle, depth - fat, back, half_depth, neck)
    _airways(hu, x, y, z, depth)
    inside = lung > 0
    hu[inside] = (LUNG + 0.45 * y)[inside]  # supine: the back is denser
    return Slice(hu, left, right)


def _lungs(body: Body, x: Field, y: Field, z: float, cavity: Field, back: float) -> tuple[Field, Field]:
    sides = []
    heart = _heart(body, x, y, z)
    for sign, dome in ((1, body.domes[0]), (-1, body.domes[1])):
        middle = 9 + 22 * np.exp(-(((y - 22) / 38) ** 2)) + 8 * _ramp(z, 215, 280)
        spread = (x - sign * 66) ** 2 + (y + 12) ** 2
        apex = 292 - z - 0.0115 * ((x - sign * 60) ** 2 + (y - 14) ** 2)
        diaphragm = z - np.maximum(dome - 0.0105 * spread, 46)
        spine = -_ellipse(x, y, (0, back + 8), (31, 27))
        wall = (sign * x - middle).astype(np.float32)
        sides.append(_smooth_minimum(cavity - 1, wall, apex, diaphragm, spine, -heart - 3))
    return sides[0], sides[1]


def _heart(body: Body, x: Field, y: Field, z: float) -> Field:
    height = 1 - ((z - 132) / (58 * body.heart)) ** 2
    if height <= 0:
        return np.full(x.shape, -60, np.float32)
    scale = np.sqrt(height) * body.heart
    return _ellipse(x, y, (20, -26), (62 * scale, 47 * scale), turn=0.45)


def _mediastinum(
    body: Body, hu: Field, x: Field, y: Field, z: float, cavity: Field, lung: Field, texture: Field
) -> None:
    if z > 300:
        return
    hu[(cavity > 0) & (texture > -0.2)] = -85
    hu[(cavity > 0) & (lung > -4)] = 35  # pleura and what lies on it
    heart = _heart(body, x, y, z)
    hu[heart > 0] = -75
    hu[heart > 3.5 + 2 * texture] = 42
    vessels = [
        ((22.0, 44.0), 12.5, 0.0, 214.0),
        ((-30.0, -16.0), 8.5, 140.0, 270.0),
        ((9.0, 41.0 - 10), 6.5, 0.0, 300.0),
    ]
    vessels.append(((-12.0, -22.0), 15.5, 135.0, 214.0))
    for at, radius, low, high in vessels:
        if low <= z <= high:
            hu[np.hypot(x - at[0], y - at[1]) < radius] = 44
    if 206 <= z <= 226:  # the arch of the aorta, from the ascending to the descending part
        along = np.clip(((x + 12) * 34 + (y + 22) * 66) / (34**2 + 66**2), 0, 1)
        hu[np.hypot(x + 12 - 34 * along, y + 22 - 66 * along) < 12] = 46
    if 165 <= z <= 195:  # pulmonary trunk and arteries
        hu[_ellipse(x, y, (4, -2), (40, 13), turn=0.25) > 0] = 44
    if z > 230:  # branches to arms and head
        for at in ((-18.0, -10.0), (4.0, -12.0), (22.0, -2.0)):
            hu[np.hypot(x - at[0], y - at[1]) < 5.5] = 46


def _abdomen(body: Body, hu: Field, x: Field, y: Field, z: float, cavity: Field, lung: Field, texture: Field) -> None:
    inside = (cavity > 0) & (lung <= 0)
    for sign, dome in ((1, body.domes[0]), (-1, body.domes[1])):
        roof = np.maximum(dome - 0.0105 * ((x - sign * 66) ** 2 + (y + 12) ** 2), 46)
        below = inside & (z < roof) & (sign * x > 0)
        hu[below] = FAT
        if sign < 0:
            hu[below & (cavity > 3)] = 58  # liver
        else:
            hu[below & (_ellipse(x, y, (92, 40), (32, 48)) > 0)] = 50  # spleen
            stomach = _ellipse(x, y, (58, -28), (44, 40)) if 20 < z < dome else np.full(x.shape, -1, np.float32)
            hu[below & (stomach > -3)] = 40
            hu[below & (stomach > 0)] = 15
            hu[below & (stomach > 0) & (y < -38)] = -960  # gas rises to the front
            hu[below & (z < 46) & (texture > 0.9) & (stomach < -4)] = 35  # bowel
    if z < 46:
        hu[inside & (x < 22) & (y < 45) & (cavity > 4)] = 58
        for at, radius in (((24.0, -62.0), 9.0), ((100.0, -22.0), 8.0)):
            hu[inside & (np.hypot(x - at[0], y - at[1]) < radius + 3)] = 38
            hu[inside & (np.hypot(x - at[0], y - at[1]) < radius)] = -940
        for sign in (-1, 1):
            hu[inside & (_ellipse(x, y, (sign * 62, 48), (22, 26)) > 0)] = 35  # kidneys


def _colon(body: Body, hu: Field, x: Field, y: Field, z: float, room: NDArray[np.bool_], texture: Field) -> None:
    """Colon full of gas, with stool at its back: across the front, and up on both sides to under the diaphragm."""
    for sign, dome in ((1, body.domes[0]), (-1, body.domes[1])):
        roof = np.maximum(dome - 0.0105 * ((x - sign * 66) ** 2 + (y + 12) ** 2), 46) - 6
        side = 24 - np.hypot(x - sign * 92, y + 18)
        across = 21 - np.hypot(y + 58, z - 38 - 0.002 * x**2)
        tube = np.minimum(np.maximum(side, across), roof - z) + 2.0 * np.cos(z / 6.0)  # haustra
        tube = np.where(room & (sign * x > -1), tube, -9)
        hu[tube > -3] = 38
        hu[tube > 0] = -965
        stool = (tube > 0) & (side > 0) & (y > -8)
        hu[stool] = (-250 + 260 * texture)[stool]


def _bones(
    body: Body,
    hu: Field,
    x: Field,
    y: Field,
    z: float,
    cavity: Field,
    angle: Field,
    under_fat: Field,
    back: float,
    half_depth: float,
    neck: float,
) -> None:
    if z < 290:  # ribs fall towards the front, so that one slice cuts several
        phase = np.cos(2 * np.pi * (z / 29 + 4.2 * angle / np.pi + body.rib_phase))
        shell = 3.6 - np.abs(cavity + 5)
        rib = np.minimum(shell, 7 * (phase - 0.3))
        rib[(angle < 0.28) | (angle > 2.75) | (under_fat < 1)] = -1
        hu[rib > 0] = 620
        hu[rib > 1.6] = 260
    if 105 < z < 275:
        sternum = _ellipse(x, y, (0, -half_depth + body.fat * 1.3 + 14), (19, 6.5))
        hu[sternum > 0] = 480
        hu[sternum > 2] = 170
    if z > 195:  # shoulder blades
        for sign in (-1, 1):
            blade = _ellipse(x, y, (sign * 112, 52), (36, 3.6), turn=sign * -0.75)
            blade = np.where(under_fat > 1.5, blade, -1)
            hu[(blade > 0) & (cavity < -4)] = 560
    disc = (z / 27 + body.rib_phase) % 1 < 0.2
    vertebra = _ellipse(x, y, (0, back), (19 - 5 * neck, 15.5 - 4 * neck))
    hu[vertebra > 0] = 90 if disc else 560
    hu[vertebra > 2.2] = 80 if disc else 230
    arch = _ellipse(x, y, (0, back + 23), (14.5, 12))
    hu[(arch > 0) & (vertebra <= 0)] = 520
    for sign in (-1, 1):
        process = _ellipse(x, y, (sign * 24, back + 20), (14, 4.5), turn=sign * 0.35)
        hu[process > 0] = 450 if not disc else 60
    hu[_ellipse(x, y, (0, back + 37), (3.6, 9)) > 0] = 500
    hu[_ellipse(x, y, (0, back + 22.5), (9.5, 8)) > 0] = 25  # canal


def _airways(hu: Field, x: Field, y: Field, z: float, depth: Field) -> None:
    """Trachea above the carina, main bronchi below it, each with its wall."""
    if z >= CARINA_MM:
        centres = [(0.0, 22.0 - 12 * _ramp(z, 285, 325))]
        radius = 8.5
    else:
        fall = (CARINA_MM - z) / 36
        if fall > 1:
            return
        centres = [(sign * (8 + 36 * fall), 22.0) for sign in (-1, 1)]
        radius = 7.2 - 1.6 * fall
    for at in centres:
        stretch = 1.0 if z >= CARINA_MM else 1.35
        tube = _ellipse(x, y, at, (radius * stretch + 1.8, radius + 1.8))
        hu[(tube > 0) & (depth > 8)] = 30
        hu[(_ellipse(x, y, at, (radius * stretch, radius)) > 0) & (depth > 8)] = -990
