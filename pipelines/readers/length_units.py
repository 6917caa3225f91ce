"""Units of length that image headers state, in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import GeometryError

_UNITS = {
    1e-6: ("nm", "nanometer", "nanometre"),
    1e-3: ("um", "µm", "\u03bcm", "micrometer", "micrometre", "micron"),  # U+00B5, U+03BC
    1.0: ("mm", "millimeter", "millimetre"),
    10.0: ("cm", "centimeter", "centimetre"),
    100.0: ("dm", "decimeter", "decimetre"),
    1000.0: ("m", "meter", "metre"),
}
_MILLIMETRES = {name: length for length, names in _UNITS.items() for name in names}
_UNSTATED = ("", "?", "???", "unknown")


def millimetres(units: Sequence[str], path: Path) -> tuple[NDArray[np.float64], str]:
    """Millimetres of one unit along each axis, and a note where one is another than the millimetre.

    Units that are not stated along any axis are millimetres, as programs take them.

    Raises:
        GeometryError: a unit that is not known, or not stated along some axes while others are not in millimetres.
    """
    names = [unit.strip().lower() for unit in units]
    lengths = []
    for unit, name in zip(units, names, strict=True):
        length = 1.0 if name in _UNSTATED else _MILLIMETRES.get(name) or _MILLIMETRES.get(name.removesuffix("s"))
        if length is None:
            raise GeometryError(
                f"its distances are in {unit.strip()[:40]!r}, which is no unit of length known here",
                where=path,
                how="save the volume in millimetres",
            )
        lengths.append(length)
    if all(length == 1 for length in lengths):
        return np.ones(len(lengths)), ""
    if any(name in _UNSTATED for name in names):
        raise GeometryError(
            f"its distances are in {', '.join(repr(unit) for unit in units)}: not every axis states its unit",
            where=path,
            how="save the volume in millimetres",
        )
    stated = ", ".join(dict.fromkeys(unit.strip() for unit in units))
    return np.array(lengths), f"distances stated in {stated} were turned into millimetres"
