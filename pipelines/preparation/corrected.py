"""What ``predict`` wrote, with masks that somebody corrected (``python -m pipelines view``): only those are taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.files import safe_name
from pipelines.predicted import CORRECTED, MANIFEST, PredictedCase, read_manifest
from pipelines.preparation.raw_case import RawCase
from pipelines.readers.finder import SEPARATOR

LAYOUT = "corrected predictions"
KNOWN = "manifest.jsonl with corrected/ (what predict wrote, corrected in `pipelines view`)"


def predicted_cases(raw: Path) -> list[PredictedCase] | None:
    """The cases of a folder that ``predict`` wrote and somebody corrected; None for any other folder.

    Raises:
        UnreadableFileError: the manifest cannot be read.
    """
    if not ((raw / MANIFEST).is_file() and (raw / CORRECTED).is_dir()):
        return None
    return read_manifest(raw)


def with_image(found: list[PredictedCase], faults: list[PipelinesError]) -> Iterator[PredictedCase]:
    """Cases with a corrected mask whose image is still there; what is not is added to the faults."""
    for each in found:
        if each.corrected is None:
            continue
        container = str(each.input).partition(SEPARATOR)[0]
        if each.input.exists() or Path(container).exists():
            yield each
        else:
            how = "put it back where it was, or beside the folder, or predict it again"
            faults.append(UnreadableFileError("the image of a corrected mask is gone", where=each.input, how=how))


def corrected_case(found: PredictedCase, patient: str | None, kind: str) -> RawCase:
    """A case with its corrected mask as that of a kind; without a patient it is its own."""
    assert found.corrected is not None
    name = safe_name(found.name)
    return RawCase(name, patient or name, found.input, {kind: found.corrected})


def notes_of(found: list[PredictedCase]) -> list[str]:
    """How many cases were left out for want of a corrected mask."""
    left = sum(each.corrected is None for each in found)
    return [f"Cases without a corrected mask were left out: {left}."] if left else []
