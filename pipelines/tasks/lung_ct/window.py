"""In what window a grey CT picture was made: whether its greys can be placed where the networks expect them.

A network that knows the lung window takes whatever is mid-grey for lesion. What a picture of 0..255 shows is therefore
judged from what must be true of any chest, whoever windowed it:

- soft tissue (fat to muscle, some 160 HU) is a narrow part of the way from lung to soft tissue (some 900 HU). In a
  picture whose contrast was equalised place by place it is not, and one density has many greys: for networks that were
  trained on such pictures only;
- lungs hold blood and vessels: where they are black throughout, the window cut them off (mediastinal, soft tissue,
  bone), and what is in them is lost;
- what is thin in a chest is denser than what is around it (vessels in lung, ribs, the table in air): in a negative,
  thin things are dark, and air and lungs are light.

A window that is merely wide is no fault: the greys are stretched until soft tissue lies where a lung window has it, or
where a network expects it of a wide one. Nor is a lung
window that begins far below air (-1400..200), in which the darkest of the lungs is grey, and lung passes for ground
glass: the greys are stretched until both lie where they belong. Every other picture of COVID-SemiSeg, made to such a
one: lesion Dice of TinyUNet 0.30, and 0.51 stretched (0.52 as they are); of BasicUNet 0.61 and 0.71 (0.70). As they
are, one of its 50 pictures is taken for one, and none of 160 slices of COVID-19-CT-Seg. -1250..250 is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from pipelines.tasks.lung_ct.lungs import air_around

WIDE = 140.0  # 0..255: soft tissue below this is not found by the median of what is bright
FEWEST_LEVELS = 32.0  # between lung and soft tissue; with fewer, ground glass is a matter of one or two
_LOOK, _DETAIL = 128, 256  # pixels of the longer side of the copies that are looked at; noise is gone in the first
_SLICES = 9  # of a volume
_LEAST_BRIGHT, _LEAST_DARK = 0.05, 0.02  # of a slice: with less there is nothing to tell the window by
# Levels above the darkest grey that are black, for JPEG's sake, but no more than this part of the way to soft tissue.
_BLACK, _BLACK_PART = 4.0, 0.04
# Part of the lungs that is black. Where soft tissue is mid-grey too, as in a mediastinal window, less will do.
_CLIPPED, _CLIPPED_GREY = 0.3, 0.15
_CROPPED = 0.3  # of the rim: with less air there, the picture is cropped to the lungs
# Parts of the way from lung to soft tissue: the narrowest range with half of what is bright, and its middle half.
# COVID-SemiSeg's 50 pictures in lung windows have at most 0.25 and 0.28.
_EQUALISED = (0.29, 0.31)
_UNEVEN = (0.26, 0.28)
_NEGATIVE, _SURELY_NEGATIVE = -0.9, -2.0  # skewness of details; the median of pictures in lung windows is 1.8
_LIGHT = 0.31  # of soft tissue's grey: the darkest of the lungs; COVID-SemiSeg's have 0.30 but for one, medians 0.13
# Of a negative of the whole body, also an equalised one: the air around is bright along so much of the rim, and so much
# of the slice is bright with no way to the rim (lungs); of pictures cropped to the chest the largest such part is a
# vessel or an opacity. Thin things are dark then, or at least not
# clearly light while the lungs add to the greys of what is bright.
_AIR_RIM, _ISLAND, _UNLIT, _SPREAD = 0.8, 0.03, 0.35, 0.1
_MOSTLY_BRIGHT = 0.66  # of a slice: where more is bright, thin dark things are bronchi in a lung that is nearly white


@dataclass(frozen=True)
class Window:
    """What was found of a picture's window.

    Attributes:
        tissue: grey of soft tissue, 0..255; None where that cannot be told.
        fault: why the greys cannot be placed, or None.
        note: what is doubtful, or what is done about it, where the picture can be used; or None.
        doubtful: the note says that the result may be wrong.
        lung: grey of the darkest of the lungs, 0..255, where it is lighter than in a lung window; else None.
        equalised: the fault is that contrast was equalised.
    """

    tissue: float | None
    fault: str | None = None
    note: str | None = None
    doubtful: bool = False
    lung: float | None = None
    equalised: bool = False

    @property
    def wide(self) -> bool:
        """Soft tissue is darker than any lung window shows it and nothing is wrong else: the greys can be stretched."""
        return self.fault is None and self.tissue is not None and self.tissue < WIDE


@dataclass(frozen=True)
class SliceGreys:
    """What is measured on a slice.

    Attributes:
        tissue, dark: medians of what is bright and of what is dark (Otsu), 0..255, noise smoothed.
        half, middle: the narrowest grey range with half of the bright pixels, and the one between their quartiles, in
            parts of the way from ``dark`` to ``tissue``.
        black: the part of the dark pixels inside the body that are at the darkest grey; None without such pixels.
        details: skewness of what is thin, at two sizes: negative where thin things are dark.
        bright: the part of the slice that is bright.
        lung: the darkest 2 % of the lungs, as a part of ``tissue``; None as for ``black``.
        lit: whether what is bright lies as air and lungs do: all around, and in an island.
    """

    tissue: float
    dark: float
    half: float
    middle: float
    black: float | None
    details: tuple[float, float]
    bright: float
    lung: float | None
    lit: bool


def judge_window(array: NDArray) -> Window:
    """Judge the window of a picture, or of a volume by nine of its slices.

    Args:
        array: (X, Y, Z), grey 0..255, axial slices along Z.
    """
    depth = array.shape[2]
    chosen = np.unique(np.linspace(depth / 6, depth * 5 / 6 - 1, _SLICES).round().astype(int).clip(0, depth - 1))
    measured = [greys for z in chosen if (greys := measure_slice(array[:, :, z])) is not None]
    if not measured:
        return Window(None)
    tissue, dark, half, middle, bright = (
        float(np.median([getattr(each, name) for each in measured]))
        for name in ("tissue", "dark", "half", "middle", "bright")
    )
    details = np.median([each.details for each in measured], axis=0)
    lungs = [each.black for each in measured if each.black is not None]
    black = float(np.median(lungs)) if lungs else 0.0
    if tissue - dark < FEWEST_LEVELS:
        return Window(
            tissue, f"lung and soft tissue are {tissue - dark:.0f} grey levels of 255 apart: too wide a window"
        )
    if black > (_CLIPPED_GREY if tissue < WIDE else _CLIPPED):
        return Window(
            tissue,
            f"{100 * black:.0f} % of the lungs are black, as in a mediastinal, soft-tissue or bone window: "
            "what is in them cannot be seen",
        )
    if (details < (_NEGATIVE if bright < _MOSTLY_BRIGHT else _SURELY_NEGATIVE)).all():
        return Window(tissue, "vessels and ribs are darker than what is around them: a negative, with lungs light")
    lit = 2 * sum(each.lit for each in measured) > len(measured)
    if lit and ((details < _NEGATIVE).all() or ((details < _UNLIT).all() and half > _SPREAD)):
        return Window(tissue, "air and lungs are light, and the body is dark: a negative, with lungs light")
    if half > _EQUALISED[0] and middle > _EQUALISED[1]:
        return Window(
            tissue,
            "soft tissue has many greys where a CT window gives it few: the contrast was equalised (CLAHE, "
            "histogram equalisation), and grey says nothing of density any more",
            "the contrast was equalised place by place (CLAHE), and grey says nothing of density: taken as it is",
            equalised=True,
        )
    if half > _UNEVEN[0] and middle > _UNEVEN[1]:
        return Window(tissue, None, "soft tissue has more greys than a lung window gives it (equalised?)", True)
    if tissue < WIDE and not lungs:
        return Window(
            tissue,
            None,
            f"soft tissue is at grey {tissue:.0f} of 255, and no lung is in view that would tell the window",
            True,
        )
    if tissue < WIDE:
        return Window(
            tissue, None, f"soft tissue is at grey {tissue:.0f} of 255 (a wide window): its greys were stretched"
        )
    floors = [each.lung for each in measured if each.lung is not None]
    if floors and np.median(floors) > _LIGHT:
        lung = tissue * float(np.median(floors))
        note = f"the darkest of the lungs is at grey {lung:.0f} of 255: the greys were stretched until lungs are dark"
        return Window(tissue, None, note, lung=lung)
    return Window(tissue)


def measure_slice(plane: NDArray) -> SliceGreys | None:
    """Measure a slice (X, Y), grey 0..255; None where it has too little that is bright or dark."""
    look = _reduced(plane, _LOOK)
    if np.ptp(look) < 1:
        return None
    threshold = float(threshold_otsu(look))
    is_dark = look <= threshold
    bright, dark = look[~is_dark], look[is_dark]
    if bright.size < _LEAST_BRIGHT * look.size or dark.size < _LEAST_DARK * look.size:
        return None
    low, tissue, high = np.percentile(bright, [25, 50, 75])
    lung = float(np.median(dark))
    way = max(1.0, float(tissue) - lung)
    bright.sort()
    n = bright.size // 2
    half = float((bright[n:] - bright[: bright.size - n]).min())
    darkest = float(plane.min())
    inside = _inside(is_dark, look <= darkest + (threshold - darkest) / 3)
    blackish = min(_BLACK, _BLACK_PART * (float(tissue) - darkest))
    black = floor = None
    if inside.mean() >= _LEAST_DARK:
        black = float((look[inside] <= darkest + blackish).mean())
        floor = float(np.percentile(look[inside], 2)) / max(1.0, float(tissue))
    shares = half / way, float(high - low) / way
    lit = _lit(ndimage.median_filter(look, 3) > threshold)
    return SliceGreys(float(tissue), lung, *shares, black, _details(plane), bright.size / look.size, floor, lit)


def _lit(bright: NDArray) -> bool:
    """Whether the bright pixels of a slice run along its rim and hold an island too."""
    parts, _ = ndimage.label(bright)
    rim = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    sizes = np.bincount(parts.ravel())
    sizes[np.union1d(rim, [0])] = 0
    return bool((rim > 0).mean() > _AIR_RIM and sizes.max() > _ISLAND * bright.size)


def _inside(dark: NDArray, nearly_air: NDArray) -> NDArray[np.bool_]:
    """Of the dark pixels those in the body; in a picture cropped to the lungs, which reach its corners, all of them.

    Fat is dark in a mediastinal window, and would join lungs and the air around the body, but is not nearly air.
    """
    around = air_around(nearly_air)
    inside = dark & ~around
    rim = np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
    return dark if inside.mean() < _LEAST_DARK and rim.mean() < _CROPPED else inside


def _details(plane: NDArray) -> tuple[float, float]:
    look = _reduced(plane, _DETAIL)
    first, second = (_skewness(look - ndimage.median_filter(look, size)) for size in (7, 5))
    return first, second


def _skewness(values: NDArray) -> float:
    """Third moment about zero in units of the second."""
    second = float(np.mean(values**2))
    return float(np.mean(values**3)) / second**1.5 if second > 0 else 0.0


def _reduced(plane: NDArray, side: int) -> NDArray[np.float32]:
    """A copy with no side longer than that, as means of areas."""
    factor = max(plane.shape) / side
    grey = np.ascontiguousarray(plane, dtype=np.float32)
    if factor <= 1:
        return grey
    columns, rows = (max(1, round(n / factor)) for n in (plane.shape[1], plane.shape[0]))
    return np.asarray(Image.fromarray(grey).resize((columns, rows), Image.Resampling.BOX))
