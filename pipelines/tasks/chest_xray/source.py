"""Where the pixels of a chest X-ray come from: a picture file, or one of many arrays; and what a raw folder holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DatalistError, UnreadableFileError
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, RawCase, RawFolder
from pipelines.readers import judge_xray, read_xray

XRAY_CLASSES = {0: "normal", 1: "pneumonia"}
SUBTYPES = ("bacteria", "virus")
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
        PipelinesError: as `read_xray`.
    """
    read = read_xray(raw.image)
    plane = np.ascontiguousarray(np.rint(read.array.T).astype(np.uint8))
    data = file_bytes(raw.image)
    copied = not read.notes and data.startswith(b"\xff\xd8\xff")
    return XrayPixels(plane, hashlib.sha256(data).hexdigest(), copied, (*read.notes, *_noted(read.doubts)))


def read_xray_plane(plane: NDArray[np.uint8], where: Path) -> XrayPixels:
    """Judge a plane (rows, columns) that comes from no file of its own.

    Raises:
        PipelinesError: as `judge_xray`.
    """
    doubts = _noted(judge_xray(plane.T, where))
    return XrayPixels(plane, hashlib.sha256(plane.tobytes()).hexdigest(), False, doubts)


def _noted(doubts: tuple[str, ...]) -> tuple[str, ...]:
    """The notes on a picture that may be none of a chest from the front."""
    return tuple(f"{doubt}; look at it" for doubt in doubts)


def file_bytes(path: Path) -> bytes:
    """All of a file that was read before; raises UnreadableFileError where that is no longer possible."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"cannot be read any more ({error.strerror})", where=path) from None
