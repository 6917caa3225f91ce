"""A study of a DICOMweb server to results, and the results back to it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.dicomweb.connection import Server, check_uid
from pipelines.dicomweb.retrieval import fetch_series, private_folder
from pipelines.dicomweb.storage import store_file
from pipelines.dicomweb.study import Series, modalities_of, series_of, sort_out
from pipelines.errors import OutputError, PipelinesError, SeriesError, ServerError, UnsupportedImageError
from pipelines.files import held
from pipelines.prediction import Outcome, predict

FETCHED = ".fetched"  # in the folder of results, while it is needed
KINDS = ("seg", "sr", "preview")  # of the manifest's files, that are stored


@dataclass(frozen=True)
class Answered:
    """What came of it.

    Attributes:
        outcomes: (outcome, exit code) of each case.
        stored: how many files were stored.
        faults: of studies and series that could not be fetched, and of results that were not stored.
    """

    outcomes: list[tuple[Outcome, int]]
    stored: int = 0
    faults: list[PipelinesError] = field(default_factory=list)


def predict_studies(
    server: Server,
    bundle: str | Path,
    studies: Sequence[str],
    out: str | Path,
    *,
    series: str | None = None,
    store: bool = False,
    keep: str | Path | None = None,
    tell: Callable[[str], object] = lambda line: None,
    fault: Callable[[PipelinesError], object] = lambda error: None,
    overlays: Sequence[str] = (),
    **options: Any,
) -> Answered:
    """Fetches the series of studies that a bundle takes, predicts each, and stores the results where that is asked.

    Results are written as ``predict`` writes them, DICOM objects included; a case is called after the number of its
    series and digests of its UIDs. What was fetched is removed at the end.

    Args:
        server: where the studies are.
        bundle: its folder.
        studies: StudyInstanceUIDs.
        out: where results go.
        series: only the series with this SeriesInstanceUID or SeriesNumber, whatever it looks like.
        store: put SEG, structured report and preview of each case into its study.
        keep: a folder in which the fetched series stay.
        tell: is told, in a line, what is fetched, passed over and stored.
        fault: is told what goes wrong with one series or result, while the others go on.
        overlays, options: of ``predict``; with ``resume``, results that are there already are not made anew, and those
            are stored, under the same UIDs.

    Raises:
        UsageError: a UID that is none; and what ``predict`` raises.
        UnreadableFileError: there is no such study.
        SeriesError: the bundle takes none of its series, or the only one is incomplete.
        ServerError: the server cannot be asked.
        OutputError: ``out`` or ``keep`` cannot be written.
    """
    bundle, out = Path(bundle), Path(out)
    due = list(dict.fromkeys(check_uid(each, "StudyInstanceUID") for each in studies))
    faults: list[PipelinesError] = []

    def note(error: PipelinesError) -> None:
        faults.append(error)
        fault(error)

    chosen: list[Series] = []
    for study in due:
        try:
            chosen += _chosen(server, study, bundle, series, tell)
        except PipelinesError as error:
            if len(due) == 1:
                raise
            note(error)
    with _place(out, None if keep is None else Path(keep)) as root:
        folders: dict[Path, Series] = {}
        for each in chosen:
            tell(f"fetching {each.told}: {len(each.instances)} instances to {each.name}")
            try:
                fetch_series(server, each, root / each.name)
                folders[root / each.name] = each
            except (SeriesError, ServerError) as error:
                note(error)
        if not folders:
            raise faults[0]
        asked = [*overlays, *(["dicom"] if "dicom" not in overlays else [])]
        outcomes = predict(bundle, list(folders), out, base=root, overlays=asked, **options)
        stored = 0
        for outcome, _ in outcomes if store else ():
            home = next((each for folder, each in folders.items() if _lies_in(outcome.input, folder)), None)
            if outcome.status == "done" and home is not None:
                stored += _stored(server, outcome, home, tell, note)
    return Answered(outcomes, stored, faults)


def _chosen(
    server: Server, study: str, bundle: Path, series: str | None, tell: Callable[[str], object]
) -> list[Series]:
    taken, passed = sort_out(server, series_of(server, study), modalities_of(bundle), series)
    for each, reason in passed:
        tell(f"passed over: {each.told}: {reason}")
    return taken


def _stored(
    server: Server,
    outcome: Outcome,
    home: Series,
    tell: Callable[[str], object],
    note: Callable[[PipelinesError], None],
) -> int:
    """Store the DICOM files of a case; how many the server took."""
    stored = 0
    if not any(kind in outcome.files for kind in KINDS):
        what = f"no DICOM was made of {outcome.case}, so that nothing can be stored"
        note(UnsupportedImageError(what, how="its report's notes say why"))
    for kind in KINDS:
        if (path := outcome.files.get(kind)) is not None:
            try:
                uid = store_file(server, Path(path), home.study)
            except PipelinesError as error:
                note(error)
                continue
            stored += 1
            tell(f"stored: {kind} of {outcome.case}, {uid}")
    return stored


@contextlib.contextmanager
def _place(out: Path, keep: Path | None) -> Iterator[Path]:
    """The folder to fetch into, for this call alone; it is removed, where it is not to be kept."""
    root = (out / FETCHED if keep is None else keep).absolute()
    if root == out.absolute():
        raise OutputError("results would lie among what is fetched", where=out, how="choose another --keep")
    private_folder(root)
    with held(root, ".fetching.lock", option="--out" if keep is None else "--keep"):
        try:
            yield root
        finally:
            if keep is None:
                shutil.rmtree(root, ignore_errors=True)


def _lies_in(path: str, folder: Path) -> bool:
    return Path(path.partition("::")[0]).absolute().is_relative_to(folder)
