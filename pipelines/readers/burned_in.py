"""Whether letters seem to be drawn into a picture: names and dates that no change of a header takes away."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy import ndimage

TEXT_LIKE = (
    "letters seem to be drawn into the picture: see that they do not say who the patient is, before it is handed on"
)
SAYS_TEXT = "the DICOM header says that text is burned into the pixels (BurnedInAnnotation): see whether it is a name"
_LARGEST = 1536  # pixels of a side that is looked at; of a larger picture every second, third ... pixel
_STEPS = (1, 2, 3)  # of a window of 7 pixels: what is thinner and stands out is a stroke
_CONTRAST = 90  # of 255, of a stroke above what is around it
_LEAST_HEIGHT, _MOST_HEIGHT = 6, 48  # pixels of a letter
_LETTERS = 6  # in a line
_BESIDE = 1.6  # gaps between letters, in heights, at most
_RIM = 0.3  # of the picture, from each edge: where annotations are


class Shown(Protocol):
    """A case that was read."""

    @property
    def array(self) -> NDArray: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


def notes_of(case: Shown) -> list[str]:
    """The notes of a case; of a picture, 0..255, (W, H), (W, H, 1) or (3, W, H), also whether letters seem to be in."""
    array, notes = case.array, list(case.notes)
    plane = array
    if array.ndim == 3 and array.shape[2] == 1:
        plane = array[:, :, 0]
    elif array.ndim == 3 and array.shape[0] == 3:
        plane = array.mean(axis=0)
    if plane.ndim == 2 and text_like(np.clip(plane.T, 0, 255).astype(np.uint8)):
        notes.append(TEXT_LIKE)
    return notes


def says_text(dataset: pydicom.Dataset) -> bool:
    """Whether a header has BurnedInAnnotation YES."""
    return str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES"


def text_like(plane: NDArray[np.uint8]) -> bool:
    """Whether a picture, uint8 (rows, columns), has a line of at least six bright or dark letters near its rim.

    Letters are thin strokes of one height beside each other on one line, most of them neither bars nor dots, as ticks
    of rulers are, and not all of one width.
    """
    step = -(-max(plane.shape) // _LARGEST)
    small = np.ascontiguousarray(plane[::step, ::step])
    if min(small.shape) < 4 * _LEAST_HEIGHT:
        return False
    bright = small - _extreme(_extreme(small, np.minimum), np.maximum)  # top hat: the picture without its opening
    dark = _extreme(_extreme(small, np.maximum), np.minimum) - small
    return any(_has_line(strokes > _CONTRAST) for strokes in (bright, dark))


def _extreme(plane: NDArray[np.uint8], of: np.ufunc) -> NDArray[np.uint8]:
    """The least or greatest value in a window of 7 x 7: of 2, then of 4, then of 7 in a row (scipy's takes ten times as
    long)."""
    reach = sum(_STEPS) // 2
    found = np.pad(plane, reach, mode="edge")
    for _ in range(2):
        for step in _STEPS:
            found = of(found[:-step], found[step:])
        found = found.T
    return found


def _has_line(strokes: NDArray[np.bool_]) -> bool:
    found, _ = ndimage.label(strokes, np.ones((3, 3)))
    rows, columns = strokes.shape
    letters = []
    for number, (vertical, horizontal) in enumerate(ndimage.find_objects(found), 1):
        height, width = vertical.stop - vertical.start, horizontal.stop - horizontal.start
        if not (_LEAST_HEIGHT <= height <= _MOST_HEIGHT and width <= 1.5 * height):
            continue
        middle = (vertical.start + vertical.stop) / 2
        across = (horizontal.start + horizontal.stop) / 2
        at_rim = min(middle, rows - middle) < _RIM * rows or min(across, columns - across) < _RIM * columns
        filled = float(np.count_nonzero(found[vertical, horizontal] == number)) / (height * width)
        if at_rim and 0.15 <= filled <= 0.95:
            letters.append((vertical.stop, horizontal.start, horizontal.stop, height, width, filled))
    letters.sort(key=lambda each: each[1])
    for first in letters:
        line = [first]
        for each in letters:
            last = line[-1]
            gap = each[1] - last[2]
            if (
                -0.2 * first[3] <= gap <= _BESIDE * first[3]
                and abs(each[0] - last[0]) <= max(0.15 * first[3], 1)
                and 0.75 <= each[3] / first[3] <= 1.34
                and each[1] > last[1]
            ):
                line.append(each)
        if len(line) >= _LETTERS and _are_letters(line):
            return True
    return False


def _are_letters(line: list[tuple[int, int, int, int, int, float]]) -> bool:
    widths = np.array([each[4] / each[3] for each in line])
    filled = np.array([each[5] for each in line])
    shaped = (widths > 0.3) & (filled < 0.8)
    return float(shaped.mean()) > 0.6 and float(filled.std()) > 0.04
