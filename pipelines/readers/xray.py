"""Frontal chest X-rays as grey pictures, held against what such a picture looks like before a network sees one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipelines.errors import IntensityError, UnsupportedImageError
from pipelines.readers.address import Place, locate, told_of
from pipelines.readers.dicom_picture import read_xray_dicom
from pipelines.readers.kinds import DICOM, ITK, NIFTI, kind_of, unless_picture
from pipelines.readers.picture import read_picture

SMALLEST = 28  # pixels a side, as in PneumoniaMNIST
MAX_ASPECT = 5  # the longer side over the shorter one
FEWEST_LEVELS = 16  # class numbers and thresholded pictures have fewer greys
LEAST_CONTRAST = 16.0  # levels of 0..255 from the 2nd to the 98th percentile; Kermany's least is 77
NOT_FRONTAL = "the picture does not look like an upright frontal chest X-ray"
LIKE_A_SLICE = "the picture has edges as steep as those of a CT slice, which is no chest X-ray"

# The average chest X-ray: 5,190 of Kermany's pictures, without an even border, each as means of 8 x 8 equal parts with
# mean 0 and variance 1; both halves are averaged. In tenths, rows from the neck down.
_AVERAGE = np.array(
    [
        [-11, -5, 0, 8, 8, 0, -5, -11],
        [-11, 1, 3, 7, 7, 3, 1, -11],
        [-14, 2, -1, 8, 8, -1, 2, -14],
        [-16, 0, -1, 11, 11, -1, 0, -16],
        [-16, -2, 1, 13, 13, 1, -2, -16],
        [-17, -4, 3, 13, 13, 3, -4, -17],
        [-17, 0, 9, 14, 14, 9, 0, -17],
        [-15, 8, 14, 16, 16, 14, 8, -15],
    ]
)
# Correlations with it. Kermany's pictures have 0.28 or more and fit no better on their side; their negatives have -0.28
# or less.
_UPRIGHT, _NEGATIVE = 0.2, -0.25
_OVER = 0.05  # by so much more must it be like it upside down: head and feet differ less than sides
_LOOK_SIDE = 64  # of the small copy that is looked at
_STEEP = 0.25  # of the contrast a pixel of the small copy: the 95th percentile of its slopes; see `judge_xray`
_EVEN = 0.06  # of the contrast; a line at the border that varies less is no part of the picture


@dataclass(frozen=True, eq=False)
class XrayPicture:
    """A picture that has passed every check.

    Attributes:
        array: float32 (W, H), grey 0..255, upright, air dark.
        path: the file.
        notes: what was changed on the way, where the result is still right.
        doubts: why it may be no upright frontal chest X-ray, so a person should see it; empty without a doubt.
    """

    array: NDArray[np.float32]
    path: Path
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def frontal(self) -> bool:
        """It looks like an upright frontal chest X-ray."""
        return not self.doubts


def read_xray(path: str | os.PathLike[str], *, data: bytes | None = None) -> XrayPicture:
    """Read a chest X-ray from a picture file, or from DICOM (`read_xray_dicom`).

    What `read_picture` turns into grey, turns upright or scales is accepted with its note. Fractions from 0 to 1 are
    scaled to 0..255, with a note.

    Args:
        data: what a picture file holds, where it is in memory and not on disk.

    Raises:
        UnreadableFileError: as `read_picture` and `read_xray_dicom`.
        UnsupportedImageError: as these, under 28 pixels a side, a strip, a folder or a volume.
        IntensityError: as these; values outside 0..255; see `judge_xray`.
    """
    path = Path(path)
    place = Place(path) if data is not None else locate(path)
    with told_of(place, path):
        if data is None:
            _check_kind(place.path)
            if kind_of(place.path) == DICOM:
                shown, notes = read_xray_dicom(place.path, SMALLEST)
                return XrayPicture(shown, path, notes, judge_xray(shown, path))
        read = read_picture(place.path, smallest=SMALLEST, data=data)
    plane = read.array[:, :, 0]
    notes = read.notes
    low, high = float(plane.min()), float(plane.max())
    if not (low >= 0 and high <= 255):  # False for NaN too
        raise IntensityError(
            f"the grey runs from {low:g} to {high:g}, not within 0 to 255",
            where=path,
            how="save it with 8 bits, as a screen shows it",
        )
    if high <= 1 and not np.array_equal(plane, np.rint(plane)):
        plane = plane * np.float32(255)
        notes = (*notes, "values from 0 to 1 were scaled to 0..255")
    return XrayPicture(plane, path, notes, judge_xray(plane, path))


def judge_xray(plane: NDArray, where: str | os.PathLike[str]) -> tuple[str, ...]:
    """Why a plane may be no frontal chest X-ray, by its correlation with the average of many in 8 x 8 parts.

    An even border is left out. Of 5,190 of Kermany's pictures none is refused and 8 are in doubt, and all their
    negatives are refused; of PneumoniaMNIST's 5,206 of 28 x 28, cut to squares, none is refused, 77 are in doubt, and
    98.7 % of their negatives are refused. A chest on its side is in doubt, and one upside down 19 times in 20.

    A slice of a CT is like the negative of an X-ray, and its negative like an X-ray. An X-ray is a projection, whose
    greys pass into one another; a slice has edges. The slopes of a copy of 64 x 64 tell the two apart, whichever way
    round and in whatever window: those of a slice have 639 of 639 slices in lung windows cut to the chest, 48 of 50 of
    COVID-SemiSeg's, 999 of 1,001 whole ones with equalised contrast; 4 of Kermany's 5,216 X-rays (0.08 %) and none of
    704 adults'. X-rays whose contrast was equalised or cut off have them more often (5 % with CLAHE at a clip limit of
    0.01, 72 % at 0.03), so that they are a doubt and no fault. At 28 pixels a side no slice has them.

    Args:
        plane: (W, H), grey 0..255, of at least 28 pixels a side.
        where: for the message.

    Returns:
        `LIKE_A_SLICE`, or else `NOT_FRONTAL` where it looks neither like one nor like its negative: a person should
        see it. Empty without a doubt.

    Raises:
        UnsupportedImageError: one side is more than five times the other, or it looks like the negative of an X-ray and
            has the slopes of a slice.
        IntensityError: constant, nearly so, of few levels (a mask, or 0..1 as whole numbers), or a negative: lungs are
            light and bones dark, as in MONOCHROME1 that was not turned round.
    """
    if max(plane.shape) > MAX_ASPECT * min(plane.shape):
        raise UnsupportedImageError(
            f"the picture of {plane.shape[0]} x {plane.shape[1]} pixels is a strip, not a chest",
            where=where,
            how="give the whole picture",
        )
    levels = np.flatnonzero(np.bincount(np.rint(plane).astype(np.uint8).ravel(), minlength=256))
    if levels.size == 1:
        raise IntensityError(
            f"every pixel has the value {levels[0]}", where=where, how="give a picture that shows something"
        )
    if levels[-1] <= 1:
        raise IntensityError(
            "the grey is 0 or 1 and nothing else: a mask, or a picture scaled to 0..1 and rounded",
            where=where,
            how="save it with grey from 0 to 255",
        )
    if levels.size < FEWEST_LEVELS:
        raise IntensityError(
            f"the picture has {levels.size} grey levels, as a mask has, not an X-ray",
            where=where,
            how="give the X-ray itself, with 8 bits",
        )
    small = Image.fromarray(np.ascontiguousarray(plane.T, dtype=np.float32))
    look = np.asarray(small.resize((_LOOK_SIDE, _LOOK_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))
    dark, light = np.percentile(look, [2, 98])  # a marker of lead is no contrast
    if light - dark < LEAST_CONTRAST:
        raise IntensityError(
            f"nearly all of the picture has one grey ({dark:.0f} to {light:.0f} of 255)",
            where=where,
            how="export it again, with the brightness and contrast that a person reads it with",
        )
    return _way_round(_without_border(look, _EVEN * (light - dark)), where)


def _check_kind(path: Path) -> None:
    """Name what other bundles read and this kind of picture is not."""
    if path.is_dir() or kind_of(path) in (NIFTI, ITK):
        raise UnsupportedImageError(
            "a chest X-ray is one picture (PNG, JPEG, BMP, TIFF, WebP, DICOM), not a volume or a series",
            where=path,
            how="give the file of the frontal view",
        )
    unless_picture(path)


def _way_round(look: NDArray, where: str | os.PathLike[str]) -> tuple[str, ...]:
    """Whether a small picture (rows, columns) is a chest, upright and positive; raises where it is a negative."""
    steep = _slope(look) > _STEEP
    parts = np.asarray(Image.fromarray(look).resize((8, 8), Image.Resampling.BOX))
    upright = _likeness(parts)
    aside = max(abs(_likeness(np.rot90(parts))), abs(_likeness(np.rot90(parts, -1))))
    if upright <= min(_NEGATIVE, -aside):
        if steep:
            raise UnsupportedImageError(
                "the picture looks like a slice of a CT (its edges are too steep for an X-ray), or like a negative",
                where=where,
                how="give the chest X-ray; if this is one, invert it, so that air is dark",
            )
        raise IntensityError(
            "the picture looks like a negative: lungs light and bones dark (reverse-coded, or MONOCHROME1)",
            where=where,
            how="invert it, so that air is dark",
        )
    if steep:
        return (LIKE_A_SLICE,)
    return () if upright >= max(_UPRIGHT, aside, _likeness(np.rot90(parts, 2)) - _OVER) else (NOT_FRONTAL,)


def _slope(look: NDArray) -> float:
    """The 95th percentile of the slopes of a small picture, in parts of its contrast a pixel."""
    dark, light = np.percentile(look, [2, 98])
    grey = np.clip((look - dark) / max(light - dark, 1.0), 0, 1)
    slopes = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)) / 8
    return float(np.percentile(slopes[1:-1, 1:-1], 95))


def _likeness(parts: NDArray) -> float:
    """Correlation, -1..1, of means of 8 x 8 parts with the average chest X-ray; 0 where all are equal."""
    centred, average = parts - parts.mean(), _AVERAGE - _AVERAGE.mean()
    norm = float(np.linalg.norm(centred) * np.linalg.norm(average))
    return float((centred * average).sum()) / norm if norm else 0.0


def _without_border(look: NDArray, even: float) -> NDArray:
    """A small picture without the lines at its edges whose grey varies by `even` at most; itself if little is left."""
    for _ in range(2):  # a border beside the picture hides one above it
        for axis in (1, 0):
            low, high = np.percentile(look, [5, 95], axis=axis)
            lines = np.flatnonzero(high - low > even)
            if lines.size < len(_AVERAGE):
                return look
            first, last = int(lines[0]), int(lines[-1])
            # the line beside a border is partly border
            kept = slice(first + (first > 0), last + (last == len(high) - 1))
            look = look[kept] if axis == 1 else look[:, kept]
    return np.ascontiguousarray(look)
