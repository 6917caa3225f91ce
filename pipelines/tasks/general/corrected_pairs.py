"""What ``predict`` wrote of any organ, with masks that somebody corrected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pipelines.errors import PipelinesError, UnsupportedImageError
from pipelines.predicted import PredictedCase
from pipelines.preparation.corrected import LAYOUT, corrected_case, notes_of, predicted_cases, with_image
from pipelines.preparation.raw_case import PATIENTS_UNKNOWN, RawCase
from pipelines.readers import kinds
from pipelines.tasks.general.image_files import PICTURE, VOLUME

_KINDS = {kinds.PICTURE: PICTURE, kinds.NIFTI: VOLUME, kinds.ITK: VOLUME}


def find_corrected(
    raw: Path, mask: str
) -> tuple[str, list[RawCase], set[str], dict[int, str] | None, list[PipelinesError], list[str]] | None:
    """The layout, cases with `mask` as the kind of their masks, the kinds of images (picture, volume), the names of the
    labels as the first report has them, faults and notes; None where `predict` did not write the folder, or it has no
    ``corrected/``.

    Raises:
        UnreadableFileError: the manifest cannot be read.
    """
    found = predicted_cases(raw)
    if found is None:
        return None
    faults: list[PipelinesError] = []
    cases: list[RawCase] = []
    seen: set[str] = set()
    corrected = list(with_image(found, faults))
    for each in corrected:
        kind = _KINDS.get(kinds.kind_of(each.input) or "") if each.input.is_file() else None
        if kind is None:
            how = "predict a folder of pictures or NIfTI volumes, and correct them again"
            faults.append(
                UnsupportedImageError("is neither a picture nor a volume in a file", where=each.input, how=how)
            )
            continue
        case = corrected_case(each, None)
        assert each.corrected is not None, "with_image gives no other"
        cases.append(replace(case, masks={mask: each.corrected}))
        seen.add(kind)
    notes = [PATIENTS_UNKNOWN, *notes_of(found)]
    return LAYOUT, cases, seen, next(filter(None, map(_names, corrected)), None), faults, notes


def _names(case: PredictedCase) -> dict[int, str] | None:
    """What a case's report calls the labels."""
    try:
        labels = json.loads(case.files["report"].read_text(encoding="utf-8"))["labels"]
        return {int(value): str(name) for value, name in labels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
