"""What a layout finds in a raw folder, before a voxel is read: cases with their image and mask files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import PipelinesError

PATIENTS_UNKNOWN = (
    "Patients are not known: each picture counts as its own patient, so that splits may share patients unseen."
)


@dataclass(frozen=True)
class RawCase:
    """One image with its masks.

    Attributes:
        case: safe name (letters, digits, dot, dash, underscore), unique in the set.
        patient: whose it is; the case's own name where that is unknown.
        image: a file, or the folder of a DICOM series.
        masks: kind of mask (as the layout names them) to file.
        official_test: it belongs to the test set that the dataset came with.
        diagnosis: in lower case, as the dataset words it; None where it is not known.
        official_validation: it belongs to the validation set that the dataset came with, and that is to stay.
        label: the class of the whole image, in datasets of classes.
        subtype: of the class, in lower case; None where it is not known.
        source: the dataset that it is of; None for the layout's name.
        form: in which form of it the images lie, where there are several; None elsewhere.
    """

    case: str
    patient: str
    image: Path
    masks: Mapping[str, Path] = field(default_factory=dict)
    official_test: bool = False
    diagnosis: str | None = None
    official_validation: bool = False
    label: int | None = None
    subtype: str | None = None
    source: str | None = None
    form: str | None = None


@dataclass(frozen=True)
class RawFolder:
    """A raw folder as one layout reads it: its cases, what is wrong with it as a whole, and notes for the report."""

    layout: str
    cases: list[RawCase]
    patients_known: bool
    faults: list[PipelinesError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def hidden_patient(identifier: str) -> str:
    """A patient's identifier as a hash: it tells patients apart, and does not say who they are."""
    return f"patient-{hashlib.sha256(identifier.encode(errors='replace')).hexdigest()[:12]}"


def stem(path: Path) -> str:
    """The file name without .nii.gz, .nii or another suffix."""
    for suffix in (".nii.gz", ".nii"):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def visible_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder with one of the suffixes (lower case), sorted; hidden ones (also macOS's ``._name``)
    left out."""
    found = (p for p in folder.iterdir() if p.name.lower().endswith(suffixes) and not p.name.startswith("."))
    return sorted((p for p in found if p.is_file()), key=lambda p: p.name.encode(errors="surrogateescape"))
