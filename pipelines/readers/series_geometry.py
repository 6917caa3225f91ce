"""Where the slices of a DICOM series lie: one right-angled, evenly spaced stack, or a refusal that says why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.errors import GeometryError, SeriesError
from pipelines.readers.raw import check_affine
from pipelines.readers.series_mixture import check_one_scan
from pipelines.readers.slice_header import SliceHeader

# Millimetres that a slice may lie off its place in the even stack: scanners round positions. Or 1 % of the spacing, if
# that is more.
POSITION_TOLERANCE = 0.05
POSITION_SHARE = 0.01
ORIENTATION_TOLERANCE = 1e-3
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Stack(NamedTuple):
    """Slices from first to last, the affine from (column, row, slice) to RAS millimetres, and notes."""

    headers: list[SliceHeader]
    affine: np.ndarray
    notes: tuple[str, ...]


def order_slices(headers: Sequence[SliceHeader], where: Path) -> Stack:
    """Sort the slices along their normal and give the stack's affine.

    Raises:
        SeriesError: slices of several patients, studies, series, acquisitions or kernels, duplicate or missing slices,
            or sizes that change.
        GeometryError: directions not at right angles, a tilted gantry, or an impossible spacing.
    """
    _check_one_series(headers, where)
    _check_one_shape(headers, where)
    across, down = _directions(headers[0])
    normal = np.cross(across, down)
    places = np.array([header.position for header in headers])
    order = np.argsort(places @ normal, kind="stable")
    headers = [headers[index] for index in order]
    places = places[order]
    notes = check_one_scan(headers, where)
    step = normal * _slice_spacing(headers, places, normal, where)
    row_spacing, column_spacing = headers[0].pixel_spacing
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = (
        across * column_spacing,
        down * row_spacing,
        step,
        places[0],
    )
    affine = _LPS_TO_RAS @ affine
    check_affine(affine, where)
    instances = {(header.instance, header.frame) for header in headers if header.instance}
    if 0 < len(instances) < sum(bool(header.instance) for header in headers):
        notes += (
            "several slices share a SOPInstanceUID (an exporter or anonymiser spoilt them); "
            "their positions differ, so all were read",
        )
    return Stack(list(headers), affine, notes)


def _short(uid: str) -> str:
    return f"…{uid[-12:]}" if uid else "none"


def _check_one_series(headers: Sequence[SliceHeader], where: Path) -> None:
    patients = {header.patient for header in headers}
    if len(patients) > 1:
        raise SeriesError(
            f"slices of {len(patients)} patients are mixed",
            where=where,
            how="give each patient's series its own folder",
        )
    for name in ("study", "series", "frame_of_reference"):
        counts = Counter(getattr(header, name) for header in headers)
        if len(counts) > 1:
            listed = ", ".join(f"{_short(uid)} ({count} files)" for uid, count in counts.most_common(4))
            words = {"study": "studies", "series": "series", "frame_of_reference": "frames of reference"}[name]
            raise SeriesError(
                f"slices of {len(counts)} {words} are mixed: {listed}",
                where=where,
                how="give each series a folder of its own",
            )
    if len(headers) > 1 and not headers[0].series:
        raise SeriesError(
            "the slices do not say which series they belong to", where=where, how="export the series again"
        )


def _check_one_shape(headers: Sequence[SliceHeader], where: Path) -> None:
    first = headers[0]
    for header in headers[1:]:
        fault = ""
        if (header.rows, header.columns) != (first.rows, first.columns):
            fault = f"the slice size changes from {first.columns} x {first.rows} to {header.columns} x {header.rows}"
        elif not np.allclose(header.pixel_spacing, first.pixel_spacing, rtol=1e-4):
            fault = "the pixel spacing changes"
        elif not np.allclose(header.orientation, first.orientation, atol=ORIENTATION_TOLERANCE):
            fault = "the orientation changes"
        if fault:
            raise SeriesError(
                f"{fault} between {first.path.name} and {header.path.name}",
                where=where,
                how="give one reconstruction alone",
            )


def _directions(header: SliceHeader) -> tuple[np.ndarray, np.ndarray]:
    across, down = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    lengths = np.array([np.linalg.norm(across), np.linalg.norm(down)])
    if np.abs(lengths - 1).max() > ORIENTATION_TOLERANCE or abs(across @ down) > ORIENTATION_TOLERANCE:
        raise GeometryError(
            "ImageOrientationPatient is not two unit vectors at right angles",
            where=header.path,
            how="export the series again",
        )
    across = across / lengths[0]
    down = down - (down @ across) * across
    return across, down / np.linalg.norm(down)


def _slice_spacing(headers: Sequence[SliceHeader], places: np.ndarray, normal: np.ndarray, where: Path) -> float:
    if len(headers) == 1:
        thickness = headers[0].thickness
        if thickness is None:
            raise SeriesError(
                "a single slice without SliceThickness has no volume",
                where=where,
                how="give the whole series, or set SliceThickness",
            )
        return thickness
    heights = places @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    duplicate = int(np.argmin(gaps))
    # Slices of one series overlap at times, but never lie a hundredth of a millimetre apart.
    if gaps[duplicate] < 0.01:
        first, second = headers[duplicate], headers[duplicate + 1]
        if first.instance and (first.instance, first.frame) == (second.instance, second.frame):
            raise SeriesError(
                f"{first.path.name} and {second.path.name} are the same slice twice",
                where=where,
                how="delete the duplicates",
            )
        raise SeriesError(
            f"{first.path.name} and {second.path.name} lie in the same place (duplicates, or two phases)",
            where=where,
            how="keep one slice for each position",
        )
    spacing = float((heights[-1] - heights[0]) / (len(heights) - 1))
    off = heights - (heights[0] + spacing * np.arange(len(heights)))
    # Centring shares the rounding between both ends; a missing slice throws its neighbours off by a good part of the
    # spacing.
    off = off - (off.max() + off.min()) / 2
    if np.abs(off).max() > max(POSITION_TOLERANCE, POSITION_SHARE * usual):
        wide = int(np.argmax(gaps))
        between = f"{headers[wide].path.name} and {headers[wide + 1].path.name}"
        missing = round(float(gaps[wide]) / usual) - 1
        if missing >= 1 and abs(gaps[wide] / usual - missing - 1) < 0.2:
            total = int(np.sum(np.rint(gaps / usual) - 1))
            words = (
                f"{max(missing, total)} slices are missing, the first"
                if max(missing, total) > 1
                else "a slice is missing"
            )
            raise SeriesError(f"{words} between {between}", where=where, how="export the whole series again")
        raise SeriesError(
            f"the distance between slices varies from {gaps.min():.3g} to {gaps.max():.3g} mm (most between {between})",
            where=where,
            how="export the whole series again, or reconstruct it evenly",
        )
    _check_upright(headers, places, normal, where)
    return spacing


def _check_upright(headers: Sequence[SliceHeader], places: np.ndarray, normal: np.ndarray, where: Path) -> None:
    """The stack must go up along the slices' normal, else the gantry was tilted or slices are shifted sideways."""
    moved = places - places[0]
    along = moved @ normal
    aside = moved - np.outer(along, normal)
    if np.linalg.norm(aside, axis=1).max() <= max(POSITION_TOLERANCE, 0.1 * min(headers[0].pixel_spacing)):
        return
    drift = aside[-1] / along[-1]
    if np.linalg.norm(aside - np.outer(along, drift), axis=1).max() <= max(
        POSITION_TOLERANCE, 0.1 * min(headers[0].pixel_spacing)
    ):
        angle = np.degrees(np.arctan(np.linalg.norm(drift)))
        raise GeometryError(
            f"the gantry is tilted by {angle:.1f} degrees against the slices' stack",
            where=where,
            how="resample the series to a right-angled grid (for example dcm2niix, its tilt-corrected output)",
        )
    raise SeriesError(
        "slices are shifted sideways against each other", where=where, how="give one reconstruction alone"
    )
