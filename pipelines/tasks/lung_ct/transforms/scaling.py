"""From stored values to the lung window that the networks see."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from pipelines.errors import IntensityError
from pipelines.tasks.lung_ct.intensity import PLACEABLE, SOFT_TISSUE, anchor_soft_tissue, scale_ct, stretch_wide_window
from pipelines.tasks.lung_ct.window import judge_window


class ScaleCTd(MapTransform):
    """``scale_ct`` as a dictionary transform: reads ``meta["intensity"]`` that ``LoadCTd`` left; gives values 0..1.

    What comes in 0..255 is anchored at its soft tissue too (``anchor_soft_tissue``), or stretched where its window is
    wide (``stretch_wide_window``). Contrast that was equalised says nothing of density: such pictures are taken as they
    are, or refused.

    A tensor without that entry (from another loader, MONAI Label's for one) is taken as Hounsfield units if any value
    is below -200, else as 0..255.

    Args:
        keys, allow_missing_keys: as MONAI's.
        wide_tissue: where the soft tissue of a wide window goes, 0..1. With less than a lung window has it at (0.74), a
            network that knows wide windows sees that it is one.
        equalised: take pictures of equalised contrast: for a network that is trained on such.
        any_window: take 0..255 whose greys cannot be placed in a lung window too, as they are: for a network that is
            trained on such.

    Raises:
        IntensityError: 0..255 in a window that shows no lung, a negative, or of equalised contrast
            (``judge_window``).
    """

    def __init__(
        self,
        keys: KeysCollection,
        any_window: bool = False,
        wide_tissue: float = SOFT_TISSUE,
        equalised: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.wide_tissue = wide_tissue
        self.equalised = equalised
        self.any_window = any_window

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            image = d[key]
            meta = getattr(image, "meta", {})
            intensity = meta.get("intensity") or ("hu" if float(image.min()) < -200 else "display")
            scaled = scale_ct(np.asarray(image), intensity)
            if intensity == "display":
                scaled = self._place(np.asarray(image), scaled, meta.get("filename_or_obj"))
            d[key] = MetaTensor(scaled, meta=meta, applied_operations=getattr(image, "applied_operations", []))
        return d

    def _place(self, grey: np.ndarray, scaled: np.ndarray, where: Any) -> np.ndarray:
        window = judge_window(grey[0])
        if window.equalised and self.equalised:
            return scaled
        if window.fault and not self.any_window:
            raise IntensityError(window.fault, where=where, how=PLACEABLE)
        if window.wide or window.lung is not None:
            return stretch_wide_window(scaled, window, self.wide_tissue)
        return anchor_soft_tissue(scaled)
