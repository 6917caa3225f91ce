"""DICOM series with masks as a raw folder that tells nobody's name: de-identified series, cases by number."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from pipelines.errors import UsageError
from pipelines.preparation.deidentified import Pseudonyms, deidentify_series
from pipelines.preparation.joined_faults import joined
from pipelines.preparation.phantom_mark import PHANTOM_MARK
from pipelines.readers.dicom_objects import list_series_files
from pipelines.tasks.lung_ct.dicom_layout import find_dicom


def deidentified_raw(raw: Path, out: Path) -> Path:
    """Write the series and masks of a raw folder (`find_dicom`) anew: series de-identified (`deidentify_series`), cases
    called case_001 ... in a drawn order, patients by pseudonyms of which nobody keeps the key.

    Raises:
        UsageError: the folder holds no DICOM series with masks.
        PipelinesError: of the first fault's kind: a mask without series, a damaged file, burned-in text.
    """
    found = find_dicom(raw, "lung-lesion") if raw.is_dir() else None  # what masks mean is asked when they are prepared
    if found is None:
        raise UsageError(
            "--deidentify is for DICOM series with NIfTI masks only", where=raw, how="leave it out: no headers are here"
        )
    if found.faults:
        raise joined(found.faults, len(found.cases), raw)
    cases = list(found.cases)
    secrets.SystemRandom().shuffle(cases)
    pseudonyms = Pseudonyms()
    (out / "masks").mkdir(parents=True)
    for number, case in enumerate(cases, 1):
        name = f"case_{number:03d}"
        deidentify_series(list_series_files(case.image).files, out / "series" / name, pseudonyms)
        mask = case.masks["mask"]
        ending = ".nii.gz" if mask.name.lower().endswith(".gz") else ".nii"
        shutil.copyfile(mask, out / "masks" / f"{name}{ending}")
    if (raw / PHANTOM_MARK).is_file():
        shutil.copyfile(raw / PHANTOM_MARK, out / PHANTOM_MARK)
    return out
