"""Images as they are stored, made fit to be looked at: what reports and comparisons draw behind their outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import PipelinesError
from pipelines.evaluation.pictures import grey
from pipelines.readers import read_as_shown, read_colour, read_picture
from pipelines.readers.picture_file import SUFFIXES

Window = tuple[float, float]


def is_picture(path: str) -> bool:
    """Whether a file is a picture, by its name."""
    return path.lower().endswith(SUFFIXES)


def stored_picture(path: str) -> NDArray[np.uint8]:
    """A picture, rows x columns (x 3), upright.

    Raises:
        PipelinesError: it cannot be read.
    """
    try:
        return read_colour(path).array.transpose(2, 1, 0).astype(np.uint8)
    except PipelinesError:  # smaller than a camera's picture, or not in 8 bits
        return read_picture(Path(path), smallest=1).array[:, :, 0].T.astype(np.uint8)


def stored_slice(path: str, number: int = 0, window: Window | None = None) -> NDArray[np.uint8]:
    """A picture, or an axial slice of a volume, rows x columns (x 3), upright.

    Args:
        number: of the slice, from the feet. window: see ``shown_grey``.

    Raises:
        PipelinesError: it cannot be read.
        IndexError: there is no such slice.
    """
    if is_picture(path):
        return stored_picture(path)
    case = read_as_shown(path)
    return shown_grey(case.axial(case.array)[:, :, number], case.intensity, window).T


def shown_grey(values: NDArray, intensity: str, window: Window | None = None) -> NDArray[np.uint8]:
    """Values of an image as greys, 0..255.

    Args:
        values: of any shape.
        intensity: what they are (``CaseImage``); "display" is 0..255 already.
        window: the least and the greatest value that is shown; None for the darkest and the brightest percent.
    """
    low, high = (0.0, 255.0) if intensity == "display" else window or (None, None)
    return grey(values, low, high)
