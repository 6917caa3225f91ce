"""Whether a predicted mask can be true of a chest at all: what the grey values alone say against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from skimage.morphology import convex_hull_image

from pipelines.tasks.lung_ct.lungs import derive_lung_mask

# Of the lungs: more lesion than that, and they do not breathe. BasicUNet finds no more in any of COVID-SemiSeg's 50.
MOST_LESION = 0.9
# Of the lungs: lesion outside the convex hull of what is dark enough for lung. One of COVID-SemiSeg's 50 pictures, a
# lung that is nearly white, has more (the next 0.32, the median 0.00); negatives of them have 0.63 in the median.
MOST_OUTSIDE = 0.35

# Of what was called lesion: more than that away from the lungs, and the rest is not to be believed either.
MOST_AWAY = 0.3

_PLANE, _SLICES = 256, 32  # pixels a side and slices that suffice to see it


def implausible(mask: NDArray, image: NDArray | None) -> list[str]:
    """What of a mask no chest has, in words; nothing for one that may be true.

    Args:
        mask: (X, Y, Z) axial label map, 0 background, 1 lung, 2 lesion.
        image: (X, Y, Z) in the lung window, 0..1, of pictures and 8-bit volumes, whose window nobody knows: lesion
            outside the lungs is looked for. None in Hounsfield units.
    """
    lung, lesion = int((mask > 0).sum()), int((mask == 2).sum())
    if not lesion:
        return []
    found = []
    if lesion > MOST_LESION * lung:
        found.append(
            f"{100 * lesion / lung:.0f} % of what is called lung is called lesion, which no breathing lung holds"
        )
    if image is not None:
        step, z_step = max(1, -(-max(mask.shape[:2]) // _PLANE)), max(1, -(-mask.shape[2] // _SLICES))
        mask, image = mask[::step, ::step, ::z_step], image[::step, ::step, ::z_step]
        outside = sum(_outside(mask[:, :, z], image[:, :, z]) for z in range(mask.shape[2]))
        if outside > MOST_OUTSIDE * (mask > 0).sum():
            found.append(
                f"{100 * outside / (mask == 2).sum():.0f} % of what is called lesion lies outside the lungs, "
                "as far as grey values show them"
            )
    return found


def away_from_lungs(removed: Mapping[str, Any] | None) -> list[str]:
    """Whether most lesion lay where no lung is, in words; nothing where it did not.

    Args:
        removed: what ``LungsOnlyd`` took out of the mask and left under its ``removed_key``; None where it was not run.
    """
    if not removed or removed["lesion_px"] <= MOST_AWAY * removed["lesion_before_px"]:
        return []
    share = removed["lesion_px"] / removed["lesion_before_px"]
    return [f"{100 * share:.0f} % of what was called lesion lay away from the lungs, and the rest is doubtful with it"]


def _outside(mask: NDArray, plane: NDArray) -> int:
    """Pixels of lesion in a slice that lie outside the hull of its dark lungs."""
    lesion = mask == 2
    if not lesion.any():
        return 0
    lungs = derive_lung_mask(plane[:, :, None])[:, :, 0]
    return int((lesion & ~convex_hull_image(lungs)).sum()) if lungs.any() else int(lesion.sum())
