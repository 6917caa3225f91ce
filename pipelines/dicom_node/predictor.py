"""A received series to files: the bundle's inference with what it writes as DICOM, loaded once."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.errors import OutputError, PipelinesError, SeriesError, UnreadableFileError
from pipelines.handlers.case_writer import publish
from pipelines.prediction import Model
from pipelines.preparation.cases import look_for_cases

logger = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Interrupted(BaseException):
    """The node ends; the series is predicted after the next start."""


class NoRoom(Exception):
    """Results cannot be written, by no fault of the series."""


@dataclass(frozen=True)
class Answer:
    """What came of a series: how many cases are done, and what was wrong with others in it."""

    done: int
    faults: tuple[str, ...] = ()


class Predictor(Protocol):
    """Predicts what lies in a folder of one series.

    Args:
        series: the folder.
        out: where the files go; its objects of DICOM (``*.dcm``) are what is sent.
        stopped: asked now and then.

    Raises:
        PipelinesError: there is nothing that can be predicted.
        Interrupted: `stopped` said so.
        NoRoom: the disk is full.
    """

    def __call__(self, series: Path, out: Path, stopped: Callable[[], bool]) -> Answer: ...


class BundlePredictor:
    """A bundle as a `Predictor`; arguments and what they raise as of ``pipelines.prediction.Model``. The bundle's
    overlay ``dicom`` is laid over the others."""

    def __init__(
        self, bundle: Path, network: str | None = None, overlays: Sequence[str] = (), **overrides: Any
    ) -> None:
        self._model = Model(bundle, network, [*overlays, "dicom"], **overrides)
        self._model.cases = sys.maxsize  # a node goes on: the fastest runtime pays

    def __call__(self, series: Path, out: Path, stopped: Callable[[], bool]) -> Answer:
        def progress(done: int, of: int) -> None:
            if stopped():
                raise Interrupted

        items, passed = look_for_cases(series)
        faults: list[PipelinesError] = [each.fault for each in passed if each.fault is not None]
        done = 0
        for item in items:
            progress(0, 1)
            try:
                finding = self._model.find(item, progress)
                if not any(ending.endswith(".dcm") for ending, _ in finding.files.values()):
                    notes = "; ".join(str(note) for note in finding.report.get("notes", [])[-1:])
                    raise SeriesError(notes or "no DICOM was written of it", where=series)
                publish(out, finding.write)
            except OutputError as error:
                if getattr(error.__cause__, "errno", None) in _NO_ROOM:
                    raise NoRoom(str(error)) from error
                raise
            except PipelinesError as fault:
                logger.debug("a case is refused", exc_info=True)
                faults.append(fault)
            else:
                done += 1
        if not done:
            raise faults[0] if faults else UnreadableFileError("there is no case in the series", where=series)
        return Answer(done, tuple(map(str, faults)))
