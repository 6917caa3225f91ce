"""Phantoms of no organ: an ellipsoid with a smaller one in it, in volumes and pictures, and shapes for classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.preparation.drawing import Plane, smooth_noise

LABELS = {1: "organ", 2: "lesion"}
CLASSES = ("bar", "disc", "ring")  # in the order of their names
# Axes that volumes are stored along, as scanners and converters have them.
ORIENTATIONS = ("LPS", "RAS", "LAS", "PIR", "ASL", "SRA")
_ORGAN, _LESION = np.array((172, 84, 78)), np.array((96, 44, 62))
_GROUND = np.array((206, 178, 160))


@dataclass(frozen=True, eq=False)
class VolumePhantom:
    """`image` int16 and `label` uint8 (0, 1 organ, 2 lesion), (X, Y, Z) along right, front and up; `spacing` in mm."""

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    spacing: tuple[float, float, float]


def draw_volume(rng: Generator, size: int) -> VolumePhantom:
    """A textured volume of no unit, as MR is: `size` across, a little less deep, and half as many thicker slices."""
    shape = (size, size - int(rng.integers(0, size // 8 + 1)), max(size // 2, 16))
    plane = float(rng.uniform(0.8, 1.2))
    spacing = (round(plane, 3), round(plane, 3), round(plane * float(rng.uniform(1.8, 2.6)), 3))
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    centre, radii = rng.uniform(-0.2, 0.2, 3), rng.uniform(0.4, 0.55, 3)
    organ = _inside(grid, centre, radii)
    towards = rng.standard_normal(3)
    lesion = _inside(grid, centre + 0.45 * radii * towards / np.linalg.norm(towards), radii * rng.uniform(0.4, 0.5))
    label = organ.astype(np.uint8)
    label[lesion & organ] = 2
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), (2, 2, 1))
    values = 160 + 25 * texture / texture.std() + 8 * rng.standard_normal(shape)
    body = ndimage.gaussian_filter(np.where(label == 1, 190.0, np.where(label == 2, -110.0, 0.0)), (0.45, 0.45, 0.3))
    uneven = 1 + 0.15 * np.tensordot(rng.uniform(-1, 1, 3), grid, 1)  # as the field of a coil
    image = np.clip((values + body) * uneven, 0, 4095).astype(np.int16)
    return VolumePhantom(image, label, spacing)


def draw_picture(rng: Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A colour picture, uint8 (rows, columns, 3), three quarters as high as wide, and its labels (rows, columns)."""
    rows, columns = size * 3 // 4, size
    grid = np.stack(np.meshgrid(np.linspace(-0.75, 0.75, rows), np.linspace(-1, 1, columns), indexing="ij"))
    wobble = 1 + 0.08 * smooth_noise(rng, (rows, columns), size / 6)
    centre, radii = rng.uniform(-0.15, 0.15, 2), rng.uniform(0.35, 0.5, 2)
    organ = _inside(grid * wobble, centre, radii)
    towards = rng.standard_normal(2)
    lesion = _inside(grid * wobble, centre + 0.4 * radii * towards / np.linalg.norm(towards), radii * 0.36)
    label = organ.astype(np.uint8)
    label[lesion & organ] = 2
    picture = np.empty((rows, columns, 3))
    picture[:] = _GROUND + rng.uniform(-12, 12, 3)
    picture[label == 1], picture[label == 2] = _ORGAN, _LESION
    picture = ndimage.gaussian_filter(picture, (0.8, 0.8, 0))
    picture += 9 * smooth_noise(rng, (rows, columns), size / 10)[:, :, None] + 3 * rng.standard_normal(picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), label


def relabelled(label: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Of background, organ and lesion as many labels as are asked for: of one, organ and lesion together; of more than
    two, the organ in equal parts along the first axis, 1 and 3, 4, ...."""
    if number == 1:
        return (label > 0).astype(np.uint8)
    organ = np.nonzero(label == 1)
    part = np.argsort(np.argsort(organ[0], kind="stable")) * (number - 1) // max(len(organ[0]), 1)
    parted = label.copy()
    parted[organ] = np.where(part == 0, 1, part + 2)
    return parted


def draw_class(rng: Generator, size: int, number: int) -> NDArray[np.uint8]:
    """A textured colour picture, uint8 (size, size, 3), that shows one of `CLASSES`, by its number; higher ones are the
    same shapes in other colours."""
    name, paint = CLASSES[number % len(CLASSES)], np.roll(_ORGAN, number // len(CLASSES))
    rows, columns = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    row, column, radius = *rng.uniform(-0.25, 0.25, 2), rng.uniform(0.45, 0.6)
    away = np.hypot(rows - row, columns - column)
    if name == "bar":
        angle = rng.uniform(0, np.pi)
        across = (rows - row) * np.cos(angle) + (columns - column) * np.sin(angle)
        shape = (np.abs(across) < 0.16) & (away < 1.3 * radius)
    else:
        shape = (away < radius) & ((name == "disc") | (away > 0.62 * radius))
    cover: Plane = ndimage.gaussian_filter(shape.astype(np.float32), 0.8)
    ground = _GROUND + rng.uniform(-15, 15, 3)
    picture = ground + cover[:, :, None] * (paint - ground)
    picture += 9 * smooth_noise(rng, (size, size), size / 8)[:, :, None] + 4 * rng.standard_normal(picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _inside(grid: NDArray[np.float64], centre: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the points (axes, ...) lie within an ellipsoid."""
    shape = (-1, *[1] * (grid.ndim - 1))
    return (((grid - centre.reshape(shape)) / radii.reshape(shape)) ** 2).sum(axis=0) < 1
