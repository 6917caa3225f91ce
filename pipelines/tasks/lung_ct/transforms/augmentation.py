"""Random windows and random equalisation: the grey scales that pictures of CT come in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type
from skimage.exposure import equalize_adapthist


class RandWindowd(RandomizableTransform, MapTransform):
    """Shows an image in another window: ``(x - centre) / width + 0.5``, clipped to 0..1.

    Args:
        keys: images, values 0..1, which the window of centre 0.5 and width 1 leaves as they are.
        prob: of a change.
        centre, width: ranges, drawn from uniformly (the width on a logarithmic scale).

    Raises:
        ValueError: a range that is none, or a width of 0 or below.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        centre: tuple[float, float] = (0.4, 0.6),
        width: tuple[float, float] = (0.7, 1.4),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if not (centre[0] <= centre[1] and 0 < width[0] <= width[1]):
            raise ValueError(f"centre {centre} and width {width} must be ranges, the width above 0")
        self.centre = centre
        self.width = width

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        centre = self.R.uniform(*self.centre)
        width = float(np.exp(self.R.uniform(*np.log(self.width))))
        for key in self.key_iterator(d):
            d[key] = ((d[key] - centre) / width + 0.5).clip(0.0, 1.0)
        return d


class RandEqualizeContrastd(RandomizableTransform, MapTransform):
    """Equalises an image's contrast place by place (CLAHE; Zuiderveld, Graphics Gems IV, 1994; skimage).

    Args:
        keys: images (1, X, Y), values 0..1.
        prob: of a change.
        clip_limit: range that skimage's clip limit is drawn from.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.1,
        clip_limit: tuple[float, float] = (0.005, 0.03),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.clip_limit = clip_limit

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        limit = float(self.R.uniform(*self.clip_limit))
        for key in self.key_iterator(d):
            plane = np.asarray(d[key])[0].clip(0.0, 1.0)
            equalised = equalize_adapthist(plane, clip_limit=limit) if np.ptp(plane) > 0 else plane
            d[key] = convert_to_dst_type(equalised[None].astype(np.float32), d[key])[0]
        return d
