"""What ``predict`` wrote, with masks that somebody corrected (``python -m pipelines view``): only those are taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.datasets.dicom_layout import series_patient
from pipelines.datasets.masks import read_mask, with_reference_lung
from pipelines.datasets.patient_names import Spellings
from pipelines.datasets.raw_case import PATIENTS_UNKNOWN, BuiltLabel, RawCase, RawFolder, RawSet, safe_name
from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.predicted import CORRECTED, MANIFEST, PredictedCase, read_manifest
from pipelines.readers import CaseImage
from pipelines.readers.finder import SEPARATOR
from pipelines.readers.picture_file import SUFFIXES

LAYOUT = "corrected predictions"
KNOWN = "manifest.jsonl with corrected/ (what predict wrote, corrected in `pipelines view`)"
_MASK = "lesion"  # the kind of mask, as pictures have it


def find_corrected_ct(raw: Path) -> RawSet | None:
    """CT with corrected masks of 0 background, 1 lung, 2 lesion; None where the folder is none that predict wrote, or
    has no ``corrected/``. A DICOM series' patient is its PatientID, as a hash; any other image is its own patient.

    Raises:
        UnreadableFileError: the manifest cannot be read.
    """
    found = _corrected(raw)
    if found is None:
        return None
    faults: list[PipelinesError] = []
    cases = []
    known = True
    one_spelling = Spellings()
    for each in _with_image(found, faults):
        patient = series_patient(each.input, one_spelling) if each.input.is_dir() else None
        known = known and patient is not None
        cases.append(_case(each, patient))
    notes = [*([] if known else [PATIENTS_UNKNOWN]), *_left(found)]
    return RawSet(LAYOUT, cases, known, faults, notes, build=_build)


def find_corrected_pictures(raw: Path) -> RawFolder | None:
    """Pictures with corrected masks of 0 and 1; None, and raises, as ``find_corrected_ct``."""
    found = _corrected(raw)
    if found is None:
        return None
    faults: list[PipelinesError] = []
    cases = []
    for each in _with_image(found, faults):
        if each.input.is_file() and each.input.name.lower().endswith(SUFFIXES):
            cases.append(_case(each, None))
        else:
            how = "give the folder of pictures to predict, and correct them again"
            faults.append(UnreadableFileError("is no picture file", where=each.input, how=how))
    return RawFolder(LAYOUT, cases, False, faults, [PATIENTS_UNKNOWN, *_left(found)])


def _corrected(raw: Path) -> list[PredictedCase] | None:
    if not ((raw / MANIFEST).is_file() and (raw / CORRECTED).is_dir()):
        return None
    return read_manifest(raw)


def _with_image(found: list[PredictedCase], faults: list[PipelinesError]) -> Iterator[PredictedCase]:
    """Cases with a corrected mask whose image is still there."""
    for each in found:
        if each.corrected is None:
            continue
        container = str(each.input).partition(SEPARATOR)[0]
        if each.input.exists() or Path(container).exists():
            yield each
        else:
            how = "put it back where it was, or beside the folder, or predict it again"
            faults.append(UnreadableFileError("the image of a corrected mask is gone", where=each.input, how=how))


def _case(found: PredictedCase, patient: str | None) -> RawCase:
    assert found.corrected is not None
    name = safe_name(found.name)
    return RawCase(name, patient or name, found.input, {_MASK: found.corrected})


def _left(found: list[PredictedCase]) -> list[str]:
    left = sum(each.corrected is None for each in found)
    return [f"Cases without a corrected mask were left out: {left}."] if left else []


def _build(case: RawCase, image: CaseImage) -> BuiltLabel:
    mask = read_mask(case.masks[_MASK], image, (0, 1, 2))
    return with_reference_lung(mask == 2, mask > 0, image, case.masks[_MASK])
