"""CT that ``predict`` looked at, with masks that somebody corrected."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import PipelinesError
from pipelines.preparation.corrected import LAYOUT, corrected_case, notes_of, predicted_cases, with_image
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, RawCase
from pipelines.readers import CaseImage
from pipelines.tasks.lung_ct.dicom_layout import series_patient
from pipelines.tasks.lung_ct.masks import read_mask, with_reference_lung
from pipelines.tasks.lung_ct.raw_set import BuiltLabel, RawSet

MASK = "labels"  # the kind of mask: lungs and lesions in one file


def find_corrected_ct(raw: Path) -> RawSet | None:
    """CT with corrected masks of 0 background, 1 lung, 2 lesion; None where the folder is none that predict wrote, or
    has no ``corrected/``. A DICOM series' patient is its PatientID, as a hash; any other image is its own patient.

    Raises:
        UnreadableFileError: the manifest cannot be read.
    """
    found = predicted_cases(raw)
    if found is None:
        return None
    faults: list[PipelinesError] = []
    cases = []
    known = True
    one_spelling = Spellings()
    for each in with_image(found, faults):
        patient = series_patient(each.input, one_spelling) if each.input.is_dir() else None
        known = known and patient is not None
        cases.append(corrected_case(each, patient, MASK))
    notes = [*([] if known else [PATIENTS_UNKNOWN]), *notes_of(found)]
    return RawSet(LAYOUT, cases, known, faults, notes, build=_build)


def _build(case: RawCase, image: CaseImage) -> BuiltLabel:
    mask = read_mask(case.masks[MASK], image, (0, 1, 2))
    return with_reference_lung(mask == 2, mask > 0, image, case.masks[MASK])
