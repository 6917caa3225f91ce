"""Raw folders of dermoscopic pictures with lesion masks: ISIC 2016 and PH2 as released, plain images/ and masks/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError
from pipelines.files import safe_name
from pipelines.preparation.picture_pairs import PICTURES, pair_pictures
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, RawCase, RawFolder, visible_files
from pipelines.tasks.dermoscopy.diagnosis_tables import (
    Known,
    picture_key,
    read_diagnoses,
    read_isic_truth,
    read_ph2_table,
)

LESION = "lesion"  # the kind of mask
DIAGNOSES = "diagnosis.csv"
_ISIC = "ISBI2016_ISIC_Part1_{}"
_ISIC_TABLE = "ISBI2016_ISIC_Part3_{}_GroundTruth.csv"
_PH2_IMAGES, _PH2_TABLE = "PH2 Dataset images", "PH2_dataset.txt"
_PLAIN_ENDINGS = ("_lesion", "_segmentation", "_mask")
_SHOWN_NAMES = 5


def find_isic2016(raw: Path) -> RawFolder | None:
    """ISIC 2016 part 1: ``ISBI2016_ISIC_Part1_Training_Data/`` with ``..._Training_GroundTruth/`` and, if it is there,
    the same with Test, which stays the test set. Diagnoses are those of part 3, where its tables lie beside them, or
    of a ``diagnosis.csv`` in their place.

    Returns:
        None where there is no such folder of training pictures.

    Raises:
        UnreadableFileError, DatalistError: a table that cannot be read (`read_isic_truth`, `read_diagnoses`).
    """
    if not (raw / _ISIC.format("Training_Data")).is_dir():
        return None
    own = _table(raw / DIAGNOSES, read_diagnoses)
    faults: list[PipelinesError] = []
    notes = [PATIENTS_UNKNOWN]
    cases: list[RawCase] = []
    for part in ("Training", "Test"):
        images, masks = (raw / _ISIC.format(f"{part}_{kind}") for kind in ("Data", "GroundTruth"))
        if not images.is_dir():
            continue
        pairs = pair_pictures(images, masks, faults, endings=("_segmentation",), any_case=True)
        name = _ISIC_TABLE.format(part)
        table = _table(raw / name, read_isic_truth)
        if table is None and own is not None:
            table, name = own, DIAGNOSES
        pictured = {picture_key(path.name) for path in visible_files(images, PICTURES)}
        notes += _differences(table, pictured, name, unknown=table is not own)
        cases += [_case(image, mask, table, part == "Test", source="ISIC 2016") for image, mask in pairs]
    return RawFolder("ISIC 2016", cases, False, faults, notes)


def find_ph2(raw: Path) -> RawFolder | None:
    """PH2 as released: ``PH2 Dataset images/NAME/NAME_Dermoscopic_Image/`` and ``NAME_lesion/`` with a picture each,
    also inside ``PH2Dataset/``. Diagnoses are the clinical ones of ``PH2_dataset.txt``, where that is there.

    Returns:
        None where there is no such folder.

    Raises:
        UnreadableFileError, DatalistError: a table that cannot be read (`read_ph2_table`).
    """
    root = next((root for root in (raw, raw / "PH2Dataset") if (root / _PH2_IMAGES).is_dir()), None)
    if root is None:
        return None
    faults: list[PipelinesError] = []
    table = _table(root / _PH2_TABLE, read_ph2_table)
    homes = sorted(d for d in (root / _PH2_IMAGES).iterdir() if d.is_dir() and not d.name.startswith("."))
    cases = []
    for home in homes:
        try:
            image, mask = (_only(home / f"{home.name}_{kind}") for kind in ("Dermoscopic_Image", "lesion"))
        except UnreadableFileError as fault:
            faults.append(fault)
            continue
        cases.append(_case(image, mask, table, False, home.name, source="PH2"))
    notes = [PATIENTS_UNKNOWN, *_differences(table, {picture_key(home.name) for home in homes}, _PH2_TABLE)]
    return RawFolder("PH2", cases, False, faults, notes)


def find_plain(raw: Path) -> RawFolder | None:
    """``images/`` with ``masks/``: a mask has its picture's name, or that with _lesion, _segmentation or _mask behind
    it, in upper or lower case. ``diagnosis.csv`` (``image,diagnosis`` and perhaps ``patient``) may lie beside them.

    Returns:
        None where there are no such folders.

    Raises:
        UnreadableFileError, DatalistError: a table that cannot be read (`read_diagnoses`).
    """
    images, masks = raw / "images", raw / "masks"
    if not (images.is_dir() and masks.is_dir()):
        return None
    faults: list[PipelinesError] = []
    pairs = pair_pictures(images, masks, faults, endings=_PLAIN_ENDINGS, any_case=True)
    path = raw / DIAGNOSES
    table = _table(path, read_diagnoses)
    pictured = {picture_key(image.name) for image in visible_files(images, PICTURES)}
    unknown = sorted(set(table or ()) - pictured)
    if unknown:
        faults.append(DatalistError(f"no picture for {_named(unknown, 'name')}", where=path, how="correct the table"))
    cases = [_case(image, mask, table, False, source=raw.name) for image, mask in pairs]
    own = sum(_known(table, image.name).patient is None for image, _ in pairs)
    notes = _differences(table, pictured, DIAGNOSES, unknown=False)
    if own == len(pairs):
        notes.insert(0, PATIENTS_UNKNOWN)
    elif own:
        notes.insert(0, f"Pictures without a patient in {DIAGNOSES} count as their own patients: {own}.")
    return RawFolder("images/ and masks/", cases, own == 0, faults, notes)


def _table(path: Path, read: Callable[[Path], dict[str, Known]]) -> dict[str, Known] | None:
    return read(path) if path.is_file() else None


def _known(table: Mapping[str, Known] | None, name: str) -> Known:
    return (table or {}).get(picture_key(name), Known())


def _case(
    image: Path,
    mask: Path,
    table: Mapping[str, Known] | None,
    official_test: bool,
    name: str | None = None,
    *,
    source: str,
) -> RawCase:
    known = _known(table, name or image.name)
    case = safe_name(name or image.stem)
    return RawCase(case, known.patient or case, image, {LESION: mask}, official_test, known.diagnosis, source=source)


def _only(folder: Path) -> Path:
    """The picture that a folder holds; raises UnreadableFileError where there is none, or more than one."""
    found = visible_files(folder, PICTURES) if folder.is_dir() else []
    if len(found) != 1:
        what = f"{len(found)} pictures are here, and one is due" if found else "the picture is missing"
        raise UnreadableFileError(what, where=folder, how="complete the dataset, or leave the case out")
    return found[0]


def _differences(table: Mapping[str, Known] | None, pictured: set[str], name: str, unknown: bool = True) -> list[str]:
    """Notes on pictures without a diagnosis and, with `unknown`, on lines without a picture (of a part of a
    dataset)."""
    if table is None:
        return [f"Diagnoses are not known: there is no {name}."]
    notes = []
    missing = sorted(key for key in pictured if table.get(key, Known()).diagnosis is None)
    if missing:
        notes.append(f"No diagnosis in {name} for {_named(missing, 'picture')}.")
    left = sorted(set(table) - pictured)
    if left and unknown:
        notes.append(f"No picture for {_named(left, 'name')} of {name}.")
    return notes


def _named(names: Iterable[str], word: str) -> str:
    names = list(names)
    more = ", ..." if len(names) > _SHOWN_NAMES else ""
    return f"{len(names)} {word}{'s' * (len(names) > 1)} ({', '.join(names[:_SHOWN_NAMES])}{more})"
