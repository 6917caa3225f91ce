"""Random looks of skin lesions under a dermatoscope, as transforms (``pipelines.tasks.dermoscopy.looks`` draws them).

A segmenter that is trained on the pictures of one clinic takes what it never saw there (a ruler, the dark frame of
another dermatoscope) for lesion.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type

from pipelines.tasks.dermoscopy.looks import Picture, add_dark_corners, add_glare, add_hairs, add_marks, shift_tones


class _RandLookd(RandomizableTransform, MapTransform):
    """Draws ``look`` on RGB pictures (3, W, H), float32, 0..1, the same on every key; meta and labels stay."""

    look: Callable[..., Picture]

    def __init__(self, keys: KeysCollection, prob: float = 0.1, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)

    def options(self, data: Mapping[Hashable, Any]) -> dict[str, Any]:
        return {}  # what ``look`` is told besides the picture

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        seed, options = int(self.R.randint(2**31)), self.options(d)
        for key in self.key_iterator(d):
            picture = np.ascontiguousarray(d[key], dtype=np.float32)
            if picture.ndim != 3 or picture.shape[0] != 3:
                raise ValueError(f"{key} must be an RGB picture (3, W, H), not {picture.shape}")
            drawn = np.ascontiguousarray(self.look(picture, np.random.default_rng(seed), **options), np.float32)
            d[key] = convert_to_dst_type(drawn, dst=d[key], dtype=torch.float32)[0]
        return d


class _RandSparingLookd(_RandLookd):
    """A look that is drawn elsewhere, or left out, where it would hide what ``label_key`` (1, W, H) holds above 0."""

    def __init__(
        self, keys: KeysCollection, prob: float = 0.1, label_key: str | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, prob, allow_missing_keys)
        self.label_key = label_key

    def options(self, data: Mapping[Hashable, Any]) -> dict[str, Any]:
        return {} if self.label_key is None else {"spare": np.asarray(data[self.label_key])[0] > 0}


class RandHaird(_RandLookd):
    """``number`` hairs (the fewest, the most) over pictures (3, W, H), 0..1, of a part ``prob`` of the cases;
    ValueError: ``number`` is no range from 1 on, or a picture is not (3, W, H)."""

    look = staticmethod(add_hairs)

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        number: tuple[int, int] = (4, 30),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, prob, allow_missing_keys)
        if not 0 < number[0] <= number[1]:
            raise ValueError(f"number must be the fewest and the most hairs, at least one, not {number}")
        self.number = number

    def options(self, data: Mapping[Hashable, Any]) -> dict[str, Any]:
        return {"number": self.number}


class RandDarkCornersd(_RandSparingLookd):
    """The dark round frame of a dermatoscope on pictures (3, W, H), 0..1, of a part ``prob`` of the cases; with
    ``label_key`` (1, W, H) it hides at most 3 % of what is above 0 there. ValueError: a picture is not (3, W, H)."""

    look = staticmethod(add_dark_corners)


class RandRulerd(_RandSparingLookd):
    """A ruler, ink or a sticker on pictures (3, W, H), 0..1, of a part ``prob`` of the cases; with ``label_key``
    (1, W, H) all but ticks keep off what is above 0 there. ValueError: a picture is not (3, W, H)."""

    look = staticmethod(add_marks)


class RandSkinToned(_RandLookd):
    """Other cameras' and skins' colours (``shift_tones``) in pictures (3, W, H), 0..1, of a part ``prob`` of the cases;
    ValueError: a picture is not (3, W, H)."""

    look = staticmethod(shift_tones)


class RandGlared(_RandLookd):
    """Reflections, bubbles, uneven light (``add_glare``) on pictures (3, W, H), 0..1, of a part ``prob`` of the cases;
    ValueError: a picture is not (3, W, H)."""

    look = staticmethod(add_glare)
