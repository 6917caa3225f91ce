"""What is called lesion and lies away from the lungs: a lesion of the lung lies in one.

A lung is what is called lung **with** the lesion that hangs together with it, each side on its own: a lobe that is
wholly lesion, or lesion along the chest wall, makes the lung larger and is not outside of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image, isotropic_dilation

from pipelines.tasks.lung_ct.coarse import coarser, finer, part_sizes, step_of

MARGIN = 0.02  # of a slice's longer side, added around each lung's convex hull
LITTLE_LUNG = 0.02  # of a part of lung and lesion: one with less of it called lung is lesion alone
LONE_LUNG = 0.2  # of the largest part: lesion alone that is larger may be a lung without air


def lesion_away_from_lungs(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Lesion that hangs together with no lung and lies wholly outside the lungs' hulls.

    Parts hang together in the slice, over corners, and from slice to slice. A volume is looked at with no more than 256
    pixels a side, in which a pixel is lung or lesion where any of those in it is.

    Args:
        labels: (X, Y, Z) axial, slices along Z; a picture has one. 0 background, 1 lung, 2 lesion.

    Returns:
        (X, Y, Z) bool, a part of ``labels == 2``. All False where no part has lung.
    """
    away = np.zeros(labels.shape, dtype=bool)
    if not ((labels == 2).any() and (labels == 1).any()):
        return away
    step = 1 if labels.shape[2] == 1 else step_of(labels.shape)
    called, lung = coarser(labels > 0, step), coarser(labels == 1, step)
    parts, count = ndimage.label(called, structure=np.ones((3, 3, 3), dtype=bool))
    sizes = part_sizes(parts, count)
    sizes[0] = 0
    lungs = np.bincount(parts[lung], minlength=count + 1)
    alone = (lungs < LITTLE_LUNG * sizes) & (sizes < LONE_LUNG * sizes.max())
    if not alone.any():
        return away
    margin = MARGIN * max(called.shape[:2])
    for plane, lungs_in in zip(np.moveaxis(parts, 2, 0), np.moveaxis(called, 2, 0), strict=True):
        if not alone[plane].any():
            continue
        inside = plane[alone[plane] & _hulls(lungs_in & ~alone[plane], margin)]
        alone[inside] = False
    for z in range(labels.shape[2]):
        away[:, :, z] = finer(alone[parts[:, :, z]], step, labels.shape[:2]) & (labels[:, :, z] == 2)
    return away


def _hulls(lungs: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """The convex hulls of the parts of a slice (X, Y), each on its own, and so many pixels around them."""
    sides, _ = ndimage.label(lungs, structure=np.ones((3, 3), dtype=bool))
    hulls = np.zeros(lungs.shape, dtype=bool)
    for k, where in enumerate(ndimage.find_objects(sides), start=1):
        hulls[where] |= convex_hull_image(sides[where] == k)
    return isotropic_dilation(hulls, margin) if hulls.any() else hulls
