"""A chest X-ray without its lungs: what a shortcut control must not be able to tell pneumonia from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Each lung's ellipse in parts of the picture's sides: its middle (from the left; the other lung's from the right, and
# from the top), its half axes, and by how many degrees its lower end is turned outwards.
LUNG_MIDDLE, LUNG_HALF_AXES, LUNG_TURN = (0.28, 0.51), (0.25, 0.46), 12.0


def lung_template(size: int) -> NDArray[np.bool_]:
    """Where lungs lie in a frontal chest X-ray that the chest fills: two ellipses, (S, S), mirrored left to right.

    A template, the same for every picture, and no segmentation. It was drawn around the lungs of Kermany's training
    pictures with room to spare, and covers 70 % of a picture: with the lungs much of heart, diaphragm and chest wall.
    The lungs of a child that is turned, lies out of the middle or was cropped closely may reach beyond it.
    """
    place = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(place, place, indexing="ij")
    turn = math.radians(LUNG_TURN)
    template = np.zeros((size, size), dtype=bool)
    for across in (x, 1 - x):
        right, down = across - LUNG_MIDDLE[0], y - LUNG_MIDDLE[1]
        u = (right * math.cos(turn) + down * math.sin(turn)) / LUNG_HALF_AXES[0]
        v = (down * math.cos(turn) - right * math.sin(turn)) / LUNG_HALF_AXES[1]
        template |= u**2 + v**2 <= 1
    return template


class WithoutLungs:
    """The view of a shortcut control (``pipelines.evaluation.ShortcutControls``) that sees all but the lungs.

    A network that sees pneumonia there has learned the hospital (DeGrave et al., AI for radiographic COVID-19 detection
    selects shortcuts over signal, Nature Machine Intelligence 3:610, 2021).
    """

    name = "no_lungs"
    meaning = "the same, lungs blanked. High: the classes differ around the lungs (age, position, tubes, markers)"
    caveat = (
        "The lungs are blanked by a template, the same for every picture, not by a segmentation: lungs that reach "
        "beyond it stay in sight, and more than lung is blanked."
    )

    def seen(self, size: int) -> NDArray[np.bool_]:
        """(S, S): where it sees."""
        return ~lung_template(size)
