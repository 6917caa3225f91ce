"""Pictures that ``predict`` looked at, with masks that somebody corrected."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.preparation.corrected import LAYOUT, corrected_case, notes_of, predicted_cases, with_image
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, RawFolder
from pipelines.readers.picture_file import SUFFIXES


def find_corrected_pictures(raw: Path) -> RawFolder | None:
    """Pictures with corrected masks of 0 and 1; None where the folder is none that predict wrote, or has no
    ``corrected/``.

    Raises:
        UnreadableFileError: the manifest cannot be read.
    """
    found = predicted_cases(raw)
    if found is None:
        return None
    faults: list[PipelinesError] = []
    cases = []
    for each in with_image(found, faults):
        if each.input.is_file() and each.input.name.lower().endswith(SUFFIXES):
            cases.append(corrected_case(each, None, "lesion"))
        else:
            how = "give the folder of pictures to predict, and correct them again"
            faults.append(UnreadableFileError("is no picture file", where=each.input, how=how))
    return RawFolder(LAYOUT, cases, False, faults, [PATIENTS_UNKNOWN, *notes_of(found)])
