"""What cannot be lung in a scan, taken out of a predicted label map."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from scipy import ndimage

from pipelines.tasks.lung_ct.coarse import finer, part_sizes, step_of
from pipelines.tasks.lung_ct.lungs import body_mask, gas_in_slice, is_whole_body

_MOST_STRAY = 0.3  # of what is called lung or lesion: more is not stray, and the body was not found


class RemoveStrayLabelsd(MapTransform):
    """Sets to background what lies outside the body and small parts that hang together with no lung.

    A slice alone does not tell bowel gas, the aorta or the air above the table from lung and lesion; the volume does:
    lungs and the lesions in them are few large bodies. A wholly opaque lung is large too, and stays. Of a picture that
    shows the whole body, what lies outside it goes, and parts as dark as the air around it (bowel gas). A picture that
    is cropped is left as it is: in one that is cropped to the lungs no rule holds.

    Args:
        keys: label maps (1, X, Y, Z), 0 background, 1 lung, 2 lesion.
        image_key: the preprocessed image (0..1) on the same grid; its ``meta["kind"]`` tells a volume from a picture.
        fraction: parts (of lung and lesion together, in 3D) smaller than this of the largest are removed.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        fraction: float = 0.02,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.fraction = fraction

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = d[self.image_key]
        picture = getattr(image, "meta", {}).get("kind", "volume") == "picture"
        for key in self.key_iterator(d):
            labels = np.array(d[key])
            if picture:
                _clear_picture(labels[0], np.asarray(image)[0])
                d[key] = convert_to_dst_type(labels, d[key])[0]
                continue
            _clear(labels[0], ~_body(np.asarray(image)[0]))
            for box in ndimage.find_objects((labels[0] > 0).view(np.uint8)):  # the box of all labels
                _clear_small(labels[0][box], self.fraction)
            d[key] = convert_to_dst_type(labels, d[key])[0]
        return d


def _body(volume: np.ndarray) -> np.ndarray:
    """The body in a volume (X, Y, Z), looked for at 256 pixels a side at most: lungs lie deeper than such a pixel."""
    step = step_of(volume.shape)
    return finer(body_mask(volume[::step, ::step]), step, volume.shape)


def _clear_small(labels: np.ndarray, fraction: float) -> None:
    """Clears in place the parts that are smaller than a fraction of the largest."""
    parts, count = ndimage.label(labels > 0)
    if count > 1:
        sizes = part_sizes(parts, count)
        sizes[0] = 0
        small = sizes < fraction * sizes.max()
        for z in range(labels.shape[2]):
            labels[:, :, z][small[parts[:, :, z]]] = 0


def _clear(labels: np.ndarray, outside: np.ndarray) -> bool:
    """Clears labels outside the body in place, unless they are too many to be stray; whether it did.

    Padding (a circular field of view, a black border) joins lungs that reach it to the air outside.
    """
    stray = (labels[outside] > 0).sum() <= _MOST_STRAY * (labels > 0).sum()
    if stray:
        labels[outside] = 0
    return bool(stray)


def _clear_picture(labels: np.ndarray, image: np.ndarray) -> None:
    """Clears the labels (X, Y, Z) of pictures in place."""
    body = body_mask(image)
    for z in range(labels.shape[2]):
        if is_whole_body(body[:, :, z]):
            plane = labels[:, :, z]
            if _clear(plane, ~body[:, :, z]):
                plane[gas_in_slice(image[:, :, z], plane > 0)] = 0
