"""Slices with too little aerated lung to be rated, by their grey values: an evaluation leaves them to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.readers import read_case
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.lungs import aerated_share
from pipelines.tasks.lung_ct.severity import LUNG_FLOOR_SHARE


class TooLittleLung:
    """A doubt of ``pipelines.evaluation.ClassificationReport``."""

    reason = "too little aerated lung"

    def __call__(self, item: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Of each slice of a case, from the feet, whether less than ``LUNG_FLOOR_SHARE`` of it is aerated lung: (Z,).

        Args:
            item: with ``image``, whose meta says the file. It is read as it is served: the whole slice, not the frame
                that the network sees.
        """
        case = read_case(str(item["image"].meta["filename_or_obj"]))
        return aerated_share(scale_ct(case.axial(case.array), case.intensity)) < LUNG_FLOOR_SHARE
