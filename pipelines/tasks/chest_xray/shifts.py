"""Chest X-rays as another scanner, operator or export would have them: fixed shifts to measure by, random ones to learn
from."""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import Dataset
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.exposure import equalize_adapthist, equalize_hist

from pipelines.errors import ConfigError

Plane = NDArray[Any]  # float32 (W, H)
SHIFT = "shift"  # the key of an item that names its shift


def contrasted(plane: Plane, factor: float) -> Plane:
    """Greys moved from or to their mean."""
    middle = plane.mean()
    return np.asarray(np.clip((plane - middle) * factor + middle, 0, 1), dtype=np.float32)


def compressed(plane: Plane, quality: int) -> Plane:
    """Through a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(np.rint(plane * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), dtype=np.float32) / 255


def resized(plane: Plane, size: Sequence[int]) -> Plane:
    """To another size (W, H), bilinearly."""
    width, height = (max(1, round(side)) for side in size)
    picture = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(picture.resize((height, width), Image.Resampling.BILINEAR), dtype=np.float32)


def through_size(plane: Plane, across: float, down: float) -> Plane:
    """Through a smaller copy, of parts of its sides, and back."""
    width, height = plane.shape
    return np.clip(resized(resized(plane, (across * width, down * height)), plane.shape), 0, 1)


def cropped(plane: Plane, left: float, right: float, top: float, bottom: float) -> Plane:
    """Without so much of each side, in parts of it; what is negative is added, black. The size is kept."""
    width, height = plane.shape
    cut = np.rint(np.array([left * width, right * width, top * height, bottom * height])).astype(int)
    plane = np.pad(plane, np.maximum(-cut, 0).reshape(2, 2))
    inner = np.maximum(cut, 0)
    return resized(plane[inner[0] : plane.shape[0] - inner[1], inner[2] : plane.shape[1] - inner[3]], (width, height))


def bordered(plane: Plane, width: float, grey: float) -> Plane:
    """An even border, of a part of each side."""
    across, down = (round(width * side) for side in plane.shape)
    result = np.full_like(plane, grey)
    result[across : len(plane) - across, down : plane.shape[1] - down] = plane[
        across : len(plane) - across, down : plane.shape[1] - down
    ]
    return result


def noisy(plane: Plane, deviation: float, rng: np.random.Generator) -> Plane:
    return np.clip(plane + rng.normal(0, deviation, plane.shape), 0, 1).astype(np.float32)


def equalised(plane: Plane, limit: float) -> Plane:
    """Contrast-limited adaptive histogram equalisation."""
    return equalize_adapthist(np.clip(plane, 0, 1).astype(np.float64), clip_limit=limit).astype(np.float32)


Shift = Callable[[Plane, np.random.Generator], Plane]
SHIFTS: dict[str, Shift] = {
    "none": lambda plane, rng: plane,
    "dark": lambda plane, rng: plane**1.6,
    "bright": lambda plane, rng: plane**0.6,
    "low_contrast": lambda plane, rng: contrasted(plane, 0.6),
    "high_contrast": lambda plane, rng: contrasted(plane, 1.5),
    "crop": lambda plane, rng: cropped(plane, *rng.uniform(0.05, 0.1, 4)),
    "wide": lambda plane, rng: cropped(plane, *-rng.uniform(0.03, 0.12, 4)),
    "border": lambda plane, rng: bordered(plane, 0.08, 0.0),
    "blur": lambda plane, rng: ndimage.gaussian_filter(plane, 1.2 * len(plane) / 224),
    "jpeg": lambda plane, rng: compressed(plane, 20),
    "noise": lambda plane, rng: noisy(plane, 6 / 255, rng),
    "size": lambda plane, rng: through_size(plane, 0.45, 0.7),
    "clahe": lambda plane, rng: equalised(plane, 0.02),
}


def shifted(plane: Plane, name: str, key: str) -> Plane:
    """A picture under one of ``SHIFTS``.

    Args:
        plane: float32 (W, H), grey 0..1.
        name: of the shift.
        key: the picture's name, of which follows what is random in the shift: the same picture is always shifted alike.

    Returns:
        The same size, 0..1.

    Raises:
        ConfigError: there is no such shift.
    """
    if name not in SHIFTS:
        raise ConfigError(f"there is no shift {name!r}", how=f"one of {', '.join(SHIFTS)}")
    rng = np.random.default_rng(zlib.crc32(f"{name} {key}".encode()))
    return np.asarray(SHIFTS[name](plane, rng), dtype=np.float32)


def each_shifted(items: Sequence[Mapping[str, Any]], shifted: bool = True) -> list[dict[str, Any]]:
    """Items of a datalist, each with one of ``SHIFTS``, by turns: as many pictures as before, in every kind.

    Args:
        items: with ``label``; turns are taken within a class.
        shifted: False leaves them as they are.
    """
    if not shifted:
        return [dict(item) for item in items]
    names, turns, result = list(SHIFTS), Counter[Any](), []
    for item in items:
        result.append({**item, SHIFT: names[turns[item["label"]] % len(names)]})
        turns[item["label"]] += 1
    return result


class ShiftedPictures(Dataset):
    """A Dataset whose items are shifted after its transform as their ``shift`` says, those without as they are.

    Args:
        data: items with ``image`` and ``case``. transform: gives ``image`` (1, W, H), grey 0..1.
    """

    def _transform(self, index: int) -> Any:
        item, source = super()._transform(index), self.data[index]
        if SHIFT in source:
            change = partial(shifted, name=source[SHIFT], key=str(source.get("case", "")))
            item = {**item, "image": _replaced(item["image"], change)}
        return item


class RandXrayScannerd(RandomizableTransform, MapTransform):
    """Pictures as another scanner would have made them: exposure, contrast, border, size, blur, noise, JPEG, histogram.

    Each kind is drawn for itself, in ranges that go beyond those of ``SHIFTS``; geometry is left to MONAI's
    ``RandAffined``.

    Args:
        keys: of pictures (1, W, H), grey 0..1.
        prob: of any change.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.9, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize(None)
        if self._do_transform:
            rng = np.random.default_rng(self.R.randint(2**31 - 1))
            for key in self.key_iterator(d):
                d[key] = _replaced(d[key], lambda plane: self.changed(plane, rng))
        return d

    def changed(self, plane: Plane, rng: np.random.Generator) -> Plane:
        """One picture (W, H), changed at random."""
        drawn = rng.random(8)
        if drawn[0] < 0.12:
            plane = equalised(plane, rng.uniform(0.005, 0.03))
        elif drawn[0] < 0.2:
            plane = equalize_hist(plane).astype(np.float32)
        if drawn[1] < 0.7:
            plane = np.clip(plane, 0, 1) ** (2 ** rng.uniform(-1, 1))
        if drawn[2] < 0.7:
            plane = contrasted(plane + rng.uniform(-0.12, 0.12), 2 ** rng.uniform(-1, 0.8))
        if drawn[3] < 0.25:
            plane = through_size(plane, *rng.uniform(0.35, 1, 2))
        elif drawn[3] < 0.4:
            plane = ndimage.gaussian_filter(plane, rng.uniform(0.4, 1.6))
        if drawn[4] < 0.25:
            plane = noisy(plane, rng.uniform(0.005, 0.04), rng)
        if drawn[5] < 0.3:
            plane = bordered(plane, rng.uniform(0.01, 0.12), float(rng.random() < 0.2))
        if drawn[6] < 0.3:
            plane = compressed(np.clip(plane, 0, 1), int(rng.integers(12, 90)))
        return np.clip(plane, 0, 1).astype(np.float32)


def _replaced(picture: Any, change: Callable[[Plane], Plane]) -> Any:
    """The picture with other values, as what it was (a MetaTensor stays one)."""
    values = change(np.asarray(picture[0], dtype=np.float32))[None]
    if not hasattr(picture, "new_tensor"):
        return values
    result = picture.clone()
    result[...] = result.new_tensor(np.ascontiguousarray(values))
    return result
