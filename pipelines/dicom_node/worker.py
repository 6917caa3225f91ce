"""The thread that predicts: complete series, one at a time, each written as a whole before it counts as answered."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pydicom

from pipelines.dicom_node.arrivals import Arrivals
from pipelines.dicom_node.predictor import Answer, Interrupted, NoRoom, Predictor
from pipelines.dicom_node.queue import Job, ResultObject, SeriesQueue
from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.readers.identifiers import without_identifiers

logger = logging.getLogger(__name__)

RESULTS, WORK = "results", "work"
_PAUSE = 0.1  # seconds between looks at the queue
_NO_ROOM_PAUSE = 60.0


class Worker(threading.Thread):
    """Takes complete series from the queue until `stop` is set.

    Args:
        queue, arrivals: of the node.
        predictor: called with one series at a time.
        send: whether results go to a destination.
        stop: ends the thread, within a series too.
        answered: called when there are new results.
    """

    def __init__(
        self,
        queue: SeriesQueue,
        arrivals: Arrivals,
        predictor: Predictor,
        *,
        send: bool,
        stop: threading.Event,
        answered: Callable[[], object],
    ) -> None:
        super().__init__(name="predicting", daemon=True)
        self.queue, self.arrivals, self.predictor = queue, arrivals, predictor
        self.send, self.stop, self.tell = send, stop, answered
        self._work, self._results = queue.folder / WORK, queue.folder / RESULTS

    def run(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)  # of a process that was killed
        while not self.stop.is_set():
            try:
                begun = self._next()
            except (OSError, sqlite3.Error):  # a full disk, say: it may have room again
                logger.exception("the queue cannot be written; it is tried again")
                self.stop.wait(5.0)
                continue
            if not begun:
                self.stop.wait(_PAUSE)

    def _next(self) -> bool:
        series = next((key for key in self.queue.waiting() if self.arrivals.take(key)), None)
        job = None if series is None else self.queue.begin(series)
        if job is None:
            return False
        logger.info("series %s: complete with %d instances, is predicted", job.key, len(job.files))
        try:
            self._predict(job)
        except Interrupted:
            self._put_back(job)
            logger.info("series %s: left for the next start", job.key)
        except (NoRoom, OSError, sqlite3.Error) as error:
            logger.error("series %s: results cannot be written (%s); tried again", job.key, _short(error))
            self.stop.wait(_NO_ROOM_PAUSE)
            self._put_back(job)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)
        return True

    def _put_back(self, job: Job) -> None:
        self.arrivals.expect(job.key, cut=False)
        while True:
            try:
                self.queue.put_back(job)
                return
            except sqlite3.Error:  # after the next start it waits again in any case
                if self.stop.wait(_PAUSE * 50):
                    return

    def _predict(self, job: Job) -> None:
        begun = time.monotonic()
        folder = self._results / job.key / str(job.generation)
        answer = Answer(1)
        if not folder.is_dir():  # else it was written before a kill, as a whole
            try:
                answer = self._written(job, folder)
            except PipelinesError as fault:
                self._failed(job, self._private(str(fault), job))
                return
            except (Interrupted, NoRoom, OSError, sqlite3.Error):
                raise
            except Exception as error:  # a fault here, which must not stop the node
                logger.debug("series %s", job.key, exc_info=True)
                self._failed(job, f"{type(error).__name__} (--verbose shows more)")
                return
        results = [_result(path) for path in sorted(folder.rglob("*.dcm"))]
        if not self.queue.answered(job, results, send=self.send):
            logger.info("series %s: more of it has arrived; it is predicted again", job.key)
            shutil.rmtree(folder, ignore_errors=True)
            return
        took = time.monotonic() - begun
        logger.info("series %s: done in %.1f s, %d DICOM objects", job.key, took, len(results))
        for each in answer.faults:
            logger.warning("series %s: part of it is refused: %s", job.key, self._private(each, job))
        self.tell()

    def _written(self, job: Job, folder: Path) -> Answer:
        """Predict into a folder aside, then put it in place: all on the disk, or nothing."""
        shutil.rmtree(self._work, ignore_errors=True)
        series, aside = self._work / job.key, self._work / "results"
        series.mkdir(parents=True)
        aside.mkdir()
        for file in job.files:
            _link(file, series / f"{file.name.split('-')[0]}.dcm")
        answer = self.predictor(series, aside, self.stop.is_set)
        for path in [*aside.rglob("*"), aside]:
            _sync(path)
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(folder)
        for path in (folder.parent, self._results):
            _sync(path)
        return answer

    def _failed(self, job: Job, fault: str) -> None:
        if self.queue.failed(job, fault):
            logger.error("series %s: failed: %s", job.key, fault)

    def _private(self, fault: str, job: Job) -> str:
        """Without the folder, which is gone when somebody reads it, and without what points to a patient."""
        return without_identifiers(fault.replace(f"{self._work}{os.sep}", ""), job.files)


def _link(file: Path, target: Path) -> None:
    """The file under another name: it stays as it is even where a newer one takes its place."""
    if not file.is_file():
        raise UnreadableFileError("a received file is gone", where=file, how="send the series again")
    try:
        os.link(file, target)
    except OSError:  # a file system without links
        shutil.copyfile(file, target)


def _short(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot do it with folders
            raise
    finally:
        os.close(descriptor)


def _result(path: Path) -> ResultObject:
    dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "SOPClassUID"])
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    return ResultObject(str(dataset.SOPInstanceUID), str(dataset.SOPClassUID), syntax, path)
