"""Results stored in the study that they are of (STOW-RS)."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pydicom
from requests import Response
from requests.exceptions import HTTPError

from pipelines.dicomweb.connection import Server, status_of
from pipelines.errors import ServerError, UnreadableFileError

# PS3.18, table I.2-2, and PS3.4, B.2.3
_REASONS = {
    0x0110: "it cannot be processed", 0x0117: "its UID is invalid", 0x0122: "its SOP class is not supported",
    0x0124: "it is not authorized", 0x0131: "its UIDs are of another patient or study", 0xA700: "there is no room",
    0xA900: "it does not match its SOP class", 0xC000: "it is not understood", 0xC122: "its transfer syntax is refused",
}  # fmt: skip


def store_file(server: Server, path: Path, study: str) -> str:
    """Store a DICOM file in a study. What is there already, by its SOPInstanceUID, is there once.

    Returns:
        Its SOPInstanceUID.

    Raises:
        ServerError: the server cannot be asked, does not take it, or does not have it afterwards.
        UnreadableFileError: the file is of another study, or no DICOM.
    """
    try:
        dataset = pydicom.dcmread(path)
    except (OSError, pydicom.errors.InvalidDicomError) as error:
        raise UnreadableFileError(f"the result cannot be read ({error})", where=path, how="predict again") from None
    uid, name = str(dataset.SOPInstanceUID), path.name
    if dataset.StudyInstanceUID != study:
        raise UnreadableFileError("the result is of another study", where=path, how="predict into a folder of its own")
    with server.sending(), server.asked(f"storing {name}"):
        try:
            answer = server.client.store_instances([dataset], study)
        except HTTPError as error:
            if error.response is None or status_of(error) != HTTPStatus.CONFLICT:
                raise
            answer = _said_in(error.response)  # why nothing was stored
            if not _failures(answer, uid):
                raise
    for failed in _failures(answer, uid):
        code = failed.get("FailureReason")
        reason = _REASONS.get(code, "it does not say why") if isinstance(code, int) else "it does not say why"
        shown = f", {code:04X}H" if isinstance(code, int) else ""
        raise ServerError(f"{name} was not stored: {reason}{shown}", where=server.url, how="look into the server's log")
    stored = [str(each.get("ReferencedSOPInstanceUID")) for each in answer.get("ReferencedSOPSequence") or ()]
    if uid not in stored and not _has(server, dataset, study):
        raise ServerError(
            f"{name} was sent, and the server does not have it", where=server.url, how="look into the server's log"
        )
    return uid


def _has(server: Server, dataset: pydicom.Dataset, study: str) -> bool:
    with server.asked("looking whether the result is there"):
        found = server.client.search_for_instances(
            study, str(dataset.SeriesInstanceUID), search_filters={"SOPInstanceUID": str(dataset.SOPInstanceUID)}
        )
    return any(each.get("00080018", {}).get("Value") == [str(dataset.SOPInstanceUID)] for each in found)


def _failures(answer: pydicom.Dataset, uid: str) -> list[pydicom.Dataset]:
    every = [*(answer.get("FailedSOPSequence") or ()), *(answer.get("OtherFailuresSequence") or ())]
    return [each for each in every if each.get("ReferencedSOPInstanceUID", uid) == uid]


def _said_in(response: Response) -> pydicom.Dataset:
    """An answer in JSON as a data set; an empty one where it is none."""
    try:
        body = response.json()
        return pydicom.Dataset.from_json(body[0] if isinstance(body, list) else body)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        return pydicom.Dataset()
