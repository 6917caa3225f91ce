"""How much of the lung is lesion, in truth and prediction: what an evaluation of lung CT measures beside overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import ConfigError


def lesion_extent(
    prediction: NDArray, label: NDArray, classes: Mapping[int, str], spacing: Sequence[float] | None = None
) -> dict[str, float]:
    """The extent of one case: lesion over lung and lesion, where lung means lung without lesion.

    Args:
        prediction, label: X x Y or X x Y x Z label maps of one grid.
        classes: names by value, "lung" and "lesion" among them.
        spacing: makes no difference.

    Returns:
        ``lesion_extent_label`` and ``lesion_extent_prediction``, 0..1, NaN without lung and lesion, and
        ``lesion_extent_error``, their absolute difference.

    Raises:
        ConfigError: there is no class called lung, or none called lesion.
    """
    values = {name: value for value, name in classes.items()}
    for name in ("lung", "lesion"):
        if name not in values:
            raise ConfigError(f"an extent is lesion over lung, and there is no class {name!r}", where="lesion_extent")
    of_label, of_prediction = (extent(each, values["lung"], values["lesion"]) for each in (label, prediction))
    return {
        "lesion_extent_label": of_label,
        "lesion_extent_prediction": of_prediction,
        "lesion_extent_error": abs(of_prediction - of_label),
    }


def extent(values: NDArray, lung: int, lesion: int) -> float:
    """Of a label map, any shape: lesion over lung and lesion, 0..1; NaN without both.

    Args:
        lung, lesion: their values.
    """
    ill = int(np.count_nonzero(values == lesion))
    whole = ill + int(np.count_nonzero(values == lung))
    return ill / whole if whole else float("nan")
