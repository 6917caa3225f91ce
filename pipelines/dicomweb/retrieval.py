"""A series of a DICOMweb server as files of a private folder (WADO-RS), one instance at a time."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from requests.exceptions import HTTPError

from pipelines.dicomweb.connection import ATTEMPTS, Server, status_of
from pipelines.dicomweb.study import Series, digest
from pipelines.errors import OutputError, SeriesError, ServerError
from pipelines.files import write_file

logger = logging.getLogger(__name__)

_AS_STORED = (("application/dicom", "*"),)
_NAME_DIGITS = 16
_NO_ROOM = "free space, or choose another folder"


def fetch_series(server: Server, series: Series, folder: Path) -> int:
    """Fetch the instances of a series, as they are stored, into a folder, all of them or none.

    What has come lies on disk at once: an instance, not the series, is held in memory. Where the answer breaks off,
    what is missing is asked for again, instance by instance.

    Args:
        series: with its instances (``with_instances``).
        folder: made, for its owner alone (0700); what lies there is replaced. Files are called after digests of their
            UIDs.

    Returns:
        How many there are.

    Raises:
        SeriesError: not all came that the server lists, or others did.
        ServerError: it cannot be asked, or sends what is no DICOM.
        OutputError: they cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        private_folder(partial)
        missing = _fetch(server, series, partial)
        if missing:
            came = len(series.instances) - len(missing)
            raise SeriesError(
                f"{series.told} is incomplete: {came} of {len(series.instances)} instances came",
                where=server.url,
                how="check the study on the server, and ask again",
            )
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError as error:
        raise OutputError(f"the series cannot be kept ({error.strerror})", where=folder, how=_NO_ROOM) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(series.instances)


def private_folder(path: Path) -> None:
    """Make a folder that nobody but its owner can enter; those above it as folders are.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder cannot be made ({error.strerror})", where=path, how=_NO_ROOM) from error


def _fetch(server: Server, series: Series, folder: Path) -> set[str]:
    """Fetch into a folder; what has not come."""
    missing = set(series.instances)
    for attempt in range(ATTEMPTS):
        whole = len(missing) == len(series.instances)
        try:
            with _no_dicom(server, series), server.asked(f"fetching {series.told}"):
                stream = _stream(server, series, () if whole else tuple(sorted(missing)))
                for dataset in stream:
                    missing.discard(_keep(dataset, server, series, folder))
        except ServerError as error:
            if attempt == ATTEMPTS - 1 or missing == set(series.instances):  # the library has asked several times
                raise
            logger.info("%s; %d are asked for again", error, len(missing))
            time.sleep(2**attempt)
        if not missing:
            break
    return missing


def _stream(server: Server, series: Series, only: tuple[str, ...]) -> Iterator[pydicom.Dataset]:
    if not only:
        yield from server.client.iter_series(series.study, series.uid, _AS_STORED)
    for uid in only:
        try:
            yield server.client.retrieve_instance(series.study, series.uid, uid, _AS_STORED)
        except HTTPError as error:
            if status_of(error) != HTTPStatus.NOT_FOUND:
                raise


def _keep(dataset: pydicom.Dataset, server: Server, series: Series, folder: Path) -> str:
    uid = str(dataset.get("SOPInstanceUID", ""))
    at_home = (dataset.get("StudyInstanceUID"), dataset.get("SeriesInstanceUID")) == (series.study, series.uid)
    if not at_home or uid not in series.instances:
        raise SeriesError(
            f"{series.told} changes while it is fetched: an instance came that the server did not list in it",
            where=server.url,
            how="wait until it has arrived, and ask again",
        )
    path = folder / f"{digest(uid, _NAME_DIGITS)}.dcm"
    write_file(path, lambda file: pydicom.dcmwrite(file, dataset), how=_NO_ROOM)
    return uid


@contextlib.contextmanager
def _no_dicom(server: Server, series: Series) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of values that are judged by those who read them
            yield
    except (InvalidDicomError, EOFError, NotImplementedError) as error:
        raise ServerError(
            f"what came of {series.told} is no DICOM ({type(error).__name__})",
            where=server.url,
            how="look into the server's log",
        ) from None
