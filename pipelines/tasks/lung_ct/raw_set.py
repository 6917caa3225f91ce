"""What a layout finds in a raw folder of lung CT: cases, and how the label of each is made of its masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.preparation.raw_case import RawCase, RawFolder
from pipelines.readers import CaseImage


@dataclass(frozen=True)
class BuiltLabel:
    """A label on its image's grid: `array` uint8 (X, Y, Z) of 0, 1, 2; `lung` "reference" or "derived"; `notes` for
    the report."""

    array: NDArray[np.uint8]
    lung: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RawSet(RawFolder):
    """A raw folder of CT; `build` makes a case's label and raises a PipelinesError where it cannot be trusted."""

    build: Callable[[RawCase, CaseImage], BuiltLabel]
