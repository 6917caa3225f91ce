"""Lung and lesion lie in the lungs: gas elsewhere and lesion away from them, taken out of a predicted label map."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_data_type, convert_to_dst_type
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.tasks.lung_ct.coarse import coarser, finer, part_sizes, step_of
from pipelines.tasks.lung_ct.gas import gas_outside_lungs
from pipelines.tasks.lung_ct.lung_hull import lesion_away_from_lungs


class LungsOnlyd(MapTransform):
    """Sets to background what the network calls lung or lesion and what lies in no lung, and counts it.

    - In volumes gas with a wall all around, over three slices or more: trachea, main bronchi, stomach, bowel, with its
      rim and what is mixed with it (``gas_outside_lungs``), and the small parts that are left of it.
    - In pictures and volumes lesion that hangs together with no lung and lies outside the lungs' convex hulls
      (``lesion_away_from_lungs``).

    No 3D rule holds for a picture. Put it behind ``RemoveStrayLabelsd``, whose work it presupposes, and before
    ``CountMembersd`` and ``Invertd``: it wants axial slices and the greys that the network saw. Orientation and crop
    leave a voxel's size as it is, so that the counts are true of the input's grid too. What was taken out cannot be
    brought back: it inverts nothing.

    Args:
        keys: label maps (1, X, Y, Z) uint8, slices along Z: 0 background, 1 lung, 2 lesion.
        image_key: the preprocessed image (1, X, Y, Z), 0..1, on the same grid. Its ``meta["kind"]`` tells a volume from
            a picture, ``meta["intensity"]`` Hounsfield units from greys, and its affine the voxel size in mm.
        enabled: False leaves label maps as they are.
        fraction: parts of a volume that are smaller than this of the largest are taken out where gas was.
        removed_key: gets what was taken out, ``{"gas_px": int, "lesion_px": int, "lesion_before_px": int,
            "voxel_ml": float or None}``; the last is None for pictures. ``LungMaskWriter`` says it in the report.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        enabled: bool = True,
        fraction: float = 0.02,
        removed_key: str = "removed",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.enabled = enabled
        self.fraction = fraction
        self.removed_key = removed_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if not self.enabled:
            return d
        image = d[self.image_key]
        meta = getattr(image, "meta", {})
        volume = meta.get("kind", "volume") != "picture"
        for key in self.key_iterator(d):
            labels = np.array(convert_data_type(d[key], np.ndarray)[0])
            spacing = _spacing(image) if volume else None
            gas = 0
            if spacing is not None:
                grey = convert_data_type(image, np.ndarray)[0][0]
                gas = self._clear_gas(labels[0], grey, spacing, meta.get("intensity") == "hu")
            before = int((labels[0] == 2).sum())
            away = lesion_away_from_lungs(labels[0])
            labels[0][away] = 0
            d[self.removed_key] = {
                "gas_px": gas,
                "lesion_px": int(away.sum()),
                "lesion_before_px": before,
                "voxel_ml": None if spacing is None else float(np.prod(spacing)) / 1000,
            }
            d[key] = convert_to_dst_type(labels, d[key])[0]
        return d

    def _clear_gas(self, labels: NDArray[np.uint8], grey: NDArray, spacing: NDArray, hounsfield: bool) -> int:
        """Clears gas in place; how many voxels that were."""
        gas = gas_outside_lungs(labels, grey, spacing, hounsfield)
        count = int(gas.sum())
        if not count:
            return 0
        labels[gas] = 0
        step = step_of(labels.shape)
        parts, found = ndimage.label(coarser(labels > 0, step))
        if found > 1:  # what was held to the lungs by the gas alone
            sizes = part_sizes(parts, found)
            beside = np.bincount(parts[ndimage.binary_dilation(coarser(gas, step))], minlength=found + 1) > 0
            small = beside & (sizes < self.fraction * sizes[1:].max())
            small[0] = False
            for z in range(labels.shape[2]):
                left = finer(small[parts[:, :, z]], step, labels.shape[:2]) & (labels[:, :, z] > 0)
                count += int(left.sum())
                labels[:, :, z][left] = 0
        return count


def _spacing(image: Any) -> NDArray[np.float64]:
    """Millimetres along the axes of an image (1, X, Y, Z); 1 where it does not say."""
    if not isinstance(image, MetaTensor):
        return np.ones(3)
    return np.linalg.norm(np.asarray(image.affine, dtype=float)[:3, :3], axis=0)
