"""Where the pixels of a chest X-ray come from: a picture file, or one of many arrays; and what a raw folder holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.datasets.raw_case import PATIENTS_UNKNOWN, RawCase, RawFolder
from pipelines.errors import DatalistError, IntensityError, UnreadableFileError
from pipelines.readers import read_picture

XRAY_CLASSES = {0: "normal", 1: "pneumonia"}
SUBTYPES = ("bacteria", "virus")
SMALLEST = 28  # pixels a side, as in PneumoniaMNIST
_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_\d+", re.IGNORECASE)
_NORMAL = re.compile(r"((?:NORMAL\d*-)?IM-\d+)-\d+", re.IGNORECASE)
_SHOWN_NAMES = 5


@dataclass(frozen=True, eq=False)
class XrayPixels:
    """What was read: `plane` uint8 (rows, columns), grey; `digest` SHA-256 of the file or the plane; `copied`: the file
    is an upright 8-bit grey JPEG; `notes` on what was changed."""

    plane: NDArray[np.uint8]
    digest: str
    copied: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RawXrays(RawFolder):
    """Raw chest X-rays; `read` gets the pixels of a case and raises a PipelinesError where they cannot be used."""

    read: Callable[[RawCase], XrayPixels]


@dataclass(frozen=True)
class Named:
    """What the name of a picture of Kermany's says: the patient, and the subtype of a pneumonia; None for nothing."""

    patient: str | None = None
    subtype: str | None = None


def read_name(stem: str) -> Named:
    """``personN_bacteria_M``, ``personN_virus_M``: patient personN and the subtype. ``IM-N-M`` and ``NORMAL2-IM-N-M``:
    patients IM-N and NORMAL2-IM-N. Other names say nothing."""
    if person := _PERSON.match(stem):
        return Named(person[1].lower(), person[2].lower())
    if normal := _NORMAL.match(stem):
        return Named(normal[1].upper())
    return Named()


def named_patient(stem: str, official_test: bool) -> str | None:
    """The patient by the picture's name; None where that does not tell. Kermany's person numbers start anew in the test
    set: person1 there is another child, ``test_person1``."""
    patient = read_name(stem).patient
    return f"test_{patient}" if official_test and patient is not None and patient.startswith("person") else patient


def subtype_of(path: Path, label: int) -> str | None:
    """The subtype by the picture's name.

    Raises:
        DatalistError: the name is that of a pneumonia, and the label is not.
    """
    subtype = read_name(path.stem).subtype
    if subtype is not None and XRAY_CLASSES[label] != "pneumonia":
        raise DatalistError(
            f"its name says {subtype}, and it is said to be {XRAY_CLASSES[label]}",
            where=path,
            how="find out which is right; rename it, or correct its class",
        )
    return subtype


def own_patients(names: Iterable[str], everyone: int) -> list[str]:
    """The note on pictures whose patient nobody knows."""
    names = list(names)
    if len(names) == everyone:
        return [PATIENTS_UNKNOWN]
    more = ", ..." if len(names) > _SHOWN_NAMES else ""
    shown = ", ".join(names[:_SHOWN_NAMES]) + more
    return (
        [f"Pictures whose patient is not known count as their own patients: {len(names)} ({shown})."] if names else []
    )


def read_xray_file(raw: RawCase) -> XrayPixels:
    """Read the picture file of a case.

    Raises:
        UnreadableFileError, UnsupportedImageError, IntensityError: as `read_picture`, for pictures from 28 pixels a
            side on; also values outside 0..255, and equal pixels throughout.
    """
    read = read_picture(raw.image, smallest=SMALLEST)
    values = read.array[:, :, 0].T
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # False for NaN too
        raise IntensityError(
            f"the grey runs from {low:g} to {high:g}, not within 0 to 255", where=raw.image, how="save it with 8 bits"
        )
    plane = np.ascontiguousarray(np.rint(values).astype(np.uint8))
    data = file_bytes(raw.image)
    copied = not read.notes and data.startswith(b"\xff\xd8\xff")
    return XrayPixels(not_constant(plane, raw.image), hashlib.sha256(data).hexdigest(), copied, read.notes)


def file_bytes(path: Path) -> bytes:
    """All of a file that was read before; raises UnreadableFileError where that is no longer possible."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"cannot be read any more ({error.strerror})", where=path) from None


def not_constant(plane: NDArray[np.uint8], where: Path) -> NDArray[np.uint8]:
    """The plane itself; raises IntensityError where all its pixels are equal."""
    if plane.min() == plane.max():
        raise IntensityError(
            f"every pixel has the value {plane.flat[0]}", where=where, how="give a picture that shows something"
        )
    return plane
