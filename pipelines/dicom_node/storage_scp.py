"""Receives: who may call, what is taken, and each object on the disk before it is said to be stored."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import ssl
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pipelines.dicom_node.arrivals import Arrivals
from pipelines.dicom_node.association_server import BoundedServer
from pipelines.dicom_node.callers import Caller
from pipelines.dicom_node.queue import SeriesQueue
from pipelines.dicom_node.sop_classes import transfer_syntaxes
from pipelines.errors import PipelinesError, UsageError
from pipelines.readers.dicom_file import open_dataset
from pipelines.readers.identifiers import digest

logger = logging.getLogger(__name__)

SUCCESS, NO_ROOM, NOT_OF_ITS_CLASS, NOT_UNDERSTOOD, FAILURE = 0x0000, 0xA700, 0xA900, 0xC000, 0x0110
INCOMING, RECEIVED = "incoming", "received"
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_LONGEST_UID = 64
_LEFT_OVER = 600.0  # seconds after which a file in INCOMING that nobody writes to is of a call that was cut off
_IDLE, _NEGOTIATION = 60.0, 30.0  # seconds
_GRACE = 5.0  # seconds that calls have to end when the node ends


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class StorageScp:
    """Storage and verification as a service class provider.

    An object is written to ``incoming/`` as it arrives, and not decoded. When it is whole it is waited for until it is
    on the disk, put below ``received/`` in one step, and noted in the queue; only then is it said to be stored.

    Args:
        queue, arrivals: where objects go.
        title: AE title, the only one that is answered to.
        sop_classes: what is taken.
        callers: who may call; empty for anyone.
        most_associations, most_pdu: at a time; bytes.
        least_free: bytes on the disk below which nothing is taken.

    Attributes:
        changing: held while a file is put in place and noted; to be held by who deletes received files.
    """

    def __init__(
        self,
        queue: SeriesQueue,
        arrivals: Arrivals,
        title: str,
        sop_classes: Sequence[UID],
        *,
        callers: Sequence[Caller] = (),
        most_associations: int = 10,
        most_pdu: int = 65536,
        least_free: int = 0,
    ) -> None:
        self.queue, self.arrivals, self.callers, self.least_free = queue, arrivals, callers, least_free
        self.changing = threading.Lock()
        self.ae = AE(title)
        self.ae.require_called_aet = True
        self.ae.maximum_associations, self.ae.maximum_pdu_size = most_associations, most_pdu
        self.ae.network_timeout, self.ae.acse_timeout, self.ae.dimse_timeout = _IDLE, _NEGOTIATION, _IDLE
        syntaxes = transfer_syntaxes()
        self.ae.add_supported_context(Verification)
        for sop_class in sop_classes:
            self.ae.add_supported_context(sop_class, syntaxes)
        self._server: BoundedServer | None = None

    def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Take calls; the port, which is a free one where 0 was given.

        Raises:
            UsageError: the address cannot be used.
        """
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._requested), (evt.EVT_REJECTED, self._rejected), (evt.EVT_C_STORE, self._stored)
        ]  # fmt: skip
        try:
            self._server = BoundedServer(
                self.ae, (host, port), self.ae.ae_title, self.ae.supported_contexts, tls, evt_handlers=handlers
            )
        except (OSError, OverflowError, ValueError) as error:
            what = f"port {port} of {host} cannot be used ({error})"
            raise UsageError(what, how="choose another --port or --host") from error
        self.ae._servers.append(self._server)
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="taking calls", daemon=True).start()
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Take no calls any more; those that are there have some seconds to end."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        until = time.monotonic() + _GRACE
        while server.active_associations and time.monotonic() < until:
            time.sleep(0.05)
        for association in server.active_associations:
            association.abort()

    def clean(self, *, all_of_it: bool = False) -> None:
        """Remove what calls that were cut off have left in ``incoming/``."""
        for path in (self.queue.folder / INCOMING).iterdir():
            try:
                if all_of_it or time.time() - path.stat().st_mtime > _LEFT_OVER:
                    path.unlink()
            except OSError:
                continue

    # --- handlers, called in the thread of an association

    def _requested(self, event: evt.Event) -> None:
        association = event.assoc
        title = str(association.requestor.primitive.calling_ae_title)  # type: ignore[union-attr]
        address = str(association.requestor.address)
        if self.callers and not any(caller.is_meant(title, address) for caller in self.callers):
            logger.warning("a call of %r from %s is refused: it is not on the list", title, address)
            association.acse.send_reject(0x01, 0x01, 0x03)
            association.kill()

    @staticmethod
    def _rejected(event: evt.Event) -> None:
        requestor = event.assoc.requestor
        called = str(requestor.primitive.called_ae_title)  # type: ignore[union-attr]
        logger.warning("a call of %r from %s to %r is refused", str(requestor.ae_title), requestor.address, called)

    def _stored(self, event: evt.Event) -> int:
        try:
            self._store(event)
        except _Refused as refused:
            logger.warning("an object is refused with status 0x%04X: %s", refused.status, refused.why)
            return refused.status
        except (OSError, sqlite3.Error) as error:
            logger.error("an object cannot be stored: %s", getattr(error, "strerror", None) or type(error).__name__)
            return NO_ROOM
        except Exception as error:
            logger.error("an object cannot be stored: %s", type(error).__name__)
            logger.debug("", exc_info=True)
            return FAILURE
        return SUCCESS

    def _store(self, event: evt.Event) -> None:
        if getattr(event.request, "_dataset_path", None) is None:
            raise _Refused(NOT_UNDERSTOOD, "it has no data set")
        if shutil.disk_usage(self.queue.folder).free < self.least_free:
            raise _Refused(NO_ROOM, "the disk is full, or nearly so")
        path = Path(event.dataset_path)
        study, series, instance = _uids(path, event)
        key, name, content = digest(study, series), digest(study, series, instance), _content(path)
        self.arrivals.stored(event.assoc, key)
        folder = self.queue.folder / RECEIVED / key
        target = folder / f"{name}-{content}.dcm"
        if self.queue.content_of(key, name) == content and target.is_file():
            return  # sent again
        with path.open("rb") as file:
            os.fsync(file.fileno())
        with self.changing:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                _sync_folder(folder.parent)
            path.replace(target)
            _sync_folder(folder)
            earlier = self.queue.store(key, name, content, target)
            if earlier is not None:
                earlier.unlink(missing_ok=True)


def _uids(path: Path, event: Any) -> tuple[str, str, str]:
    """Of study, series and instance, which must be those that the message says."""
    try:
        dataset = open_dataset(path, _UIDS)
        found = [str(dataset.get(keyword) or "").strip() for keyword in _UIDS]
    except PipelinesError as error:
        raise _Refused(NOT_UNDERSTOOD, error.what) from error
    except Exception as error:  # pydicom raises nearly anything on a value that is none
        raise _Refused(NOT_UNDERSTOOD, f"its header is damaged ({type(error).__name__})") from error
    for keyword, uid in zip(_UIDS, found, strict=True):
        if not 0 < len(uid) <= _LONGEST_UID:
            raise _Refused(NOT_OF_ITS_CLASS, f"it has no {keyword}" if not uid else f"its {keyword} is too long")
    if {found[0], str(event.request.AffectedSOPClassUID)} != {str(event.context.abstract_syntax)}:
        raise _Refused(NOT_OF_ITS_CLASS, "its SOP class is not the one that was agreed")
    if found[1] != str(event.request.AffectedSOPInstanceUID):
        raise _Refused(NOT_OF_ITS_CLASS, "its SOP instance is not the one that was announced")
    return found[2], found[3], found[1]


def drop_folder(folder: Path) -> None:
    """Remove a folder if nothing is in it."""
    try:
        folder.rmdir()
    except OSError:
        return


def _content(path: Path) -> str:
    """A digest of the data set and its encoding, as it was sent: the meta header is ours."""
    with path.open("rb") as file:
        file.seek(132)
        meta = file.read(12)
        length = struct.unpack("<I", meta[8:])[0]
        syntax = file.read(length)
        found = hashlib.sha256(_syntax_in(syntax))
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()[:16]


def _syntax_in(meta: bytes) -> bytes:
    """The value of TransferSyntaxUID in an encoded meta header."""
    start = meta.find(b"\x02\x00\x10\x00UI") + 8
    return meta[start : start + struct.unpack("<H", meta[start - 2 : start])[0]]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        return  # some file systems cannot do it with folders
    finally:
        os.close(descriptor)
