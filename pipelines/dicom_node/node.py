"""The node as a whole: reception, prediction and sending over one folder, from start to end."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID
from pynetdicom import _config

from pipelines.dicom_node.arrivals import Arrivals
from pipelines.dicom_node.callers import Address, Caller
from pipelines.dicom_node.predictor import Predictor
from pipelines.dicom_node.queue import SeriesQueue
from pipelines.dicom_node.sender import Sender
from pipelines.dicom_node.storage_scp import INCOMING, RECEIVED, StorageScp, drop_folder
from pipelines.dicom_node.tls import client_context, server_context
from pipelines.dicom_node.worker import RESULTS, Worker
from pipelines.errors import OutputError
from pipelines.files import FolderLock

logger = logging.getLogger(__name__)

_LOCK = ".listen.lock"
_LOOK = 0.1  # seconds between looks at which associations have ended
_CLEAN = 60.0


@dataclass(frozen=True)
class NodeSettings:
    """How a node listens.

    Attributes:
        title: AE title, of the calls it takes and of those it makes.
        host, port: where it listens; port 0 is any free one.
        sop_classes: what it takes.
        callers: who may call; empty for anyone.
        destination: where results are sent; None: they stay.
        settle: seconds after the release of its association until a series counts as complete.
        most_associations, most_pdu: at a time; bytes.
        least_free: bytes on the disk below which nothing is taken.
        keep: seconds after which what was received of a done or failed series, and what was sent, is deleted; None:
            never.
        certificate, key, ca: TLS of the calls it takes; `ca` signs the certificates of callers.
        destination_ca: signs the destination's certificate; None: no TLS.
    """

    title: str
    host: str
    port: int
    sop_classes: Sequence[UID]
    callers: Sequence[Caller] = ()
    destination: Address | None = None
    settle: float = 10.0
    most_associations: int = 10
    most_pdu: int = 65536
    least_free: int = 0
    keep: float | None = None
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    destination_ca: Path | None = None


class Node:
    """A node that works in a folder. Use it as a context: entered it takes calls, left it has stopped.

    Args:
        folder: made if missing; one process at a time.
        predictor: what is found in a series.
        settings: how it listens.
        retry_failed: series that failed wait again.

    Attributes:
        port: where it listens.

    Raises:
        OutputError: the folder cannot be used, or another process works in it.
        UsageError: certificates or the address cannot be used.
    """

    def __init__(
        self, folder: Path, predictor: Predictor, settings: NodeSettings, *, retry_failed: bool = False
    ) -> None:
        self.folder, self.settings, self.port = folder.absolute(), settings, settings.port
        self._predictor, self._retry = predictor, retry_failed
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Node:
        settings = self.settings
        incoming = None if settings.certificate is None else server_context(
            settings.certificate, settings.key, settings.ca
        )  # fmt: skip
        outgoing = None if settings.destination_ca is None else client_context(
            settings.destination_ca, settings.certificate, settings.key
        )  # fmt: skip
        self._private = private_process(self.folder)
        self._private.__enter__()
        try:
            self._lock = FolderLock(self.folder, _LOCK)
        except BaseException:
            self._private.__exit__(None, None, None)
            raise
        try:
            self._start(incoming, outgoing)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, incoming: object, outgoing: object) -> None:
        settings = self.settings
        self.queue = SeriesQueue(self.folder)
        self.arrivals = Arrivals(settings.settle)
        if self._retry and (count := self.queue.retry_failed()):
            logger.info("%d failed series are tried again", count)
        waiting, lost = self.queue.recover()
        for series, cut in waiting.items():
            self.arrivals.expect(series, cut=cut)
        for series in lost:
            logger.error("series %s: failed: the node ended too often while it predicted it", series)
        self._remove_strays()
        if (unsent := len(self.queue.unsent())) or waiting:
            logger.info("goes on: %d series to predict, %d objects to send", len(waiting), unsent)
        self.scp = StorageScp(
            self.queue,
            self.arrivals,
            settings.title,
            settings.sop_classes,
            callers=settings.callers,
            most_associations=settings.most_associations,
            most_pdu=settings.most_pdu,
            least_free=settings.least_free,
        )
        self.scp.clean(all_of_it=True)
        self.port = self.scp.start(settings.host, settings.port, incoming)  # type: ignore[arg-type]
        sender = None
        if settings.destination is not None:
            sender = Sender(self.queue, settings.title, settings.destination, stop=self._stop, tls=outgoing)  # type: ignore[arg-type]
            self._threads.append(sender)
        tell = (lambda: None) if sender is None else sender.wake
        send = sender is not None
        self._threads += [
            Worker(self.queue, self.arrivals, self._predictor, send=send, stop=self._stop, answered=tell),
            threading.Thread(target=self._watch, name="watching calls", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until a thread of it has ended, which none should.

        Raises:
            RuntimeError: one has.
        """
        while all(thread.is_alive() for thread in self._threads):
            time.sleep(0.2)
        raise RuntimeError("a thread of the node has ended")

    def close(self) -> None:
        """Take no calls any more, leave what is not done for the next start, and free the folder."""
        if self._threads:
            logger.info("takes no calls any more, and stops")
        if hasattr(self, "scp"):
            self.scp.close()
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        if hasattr(self, "queue"):
            self.queue.released(self.arrivals.sweep() if hasattr(self, "arrivals") else [])
            self.queue.close()
        self._lock.close()
        self._private.__exit__(None, None, None)

    def _watch(self) -> None:
        cleaned = time.monotonic()
        while not self._stop.wait(_LOOK):
            try:
                self.queue.released(self.arrivals.sweep())
                if time.monotonic() - cleaned > _CLEAN:
                    cleaned = time.monotonic()
                    self.scp.clean()
                    self._drop_old()
            except Exception as error:  # a full disk, say
                logger.error("the queue cannot be kept up to date: %s", type(error).__name__)
                logger.debug("", exc_info=True)

    def _drop_old(self) -> None:
        if self.settings.keep is None:
            return
        for series in self.queue.finished_before(time.time() - self.settings.keep):
            with self.scp.changing:  # else the same object, sent again now, would be put in place and deleted
                received, sent = self.queue.drop_received(series)
                for path in received:
                    path.unlink(missing_ok=True)
                drop_folder(self.folder / RECEIVED / series)
                if sent:
                    shutil.rmtree(self.folder / RESULTS / series, ignore_errors=True)
            logger.info("series %s: deleted what was received and sent", series)

    def _remove_strays(self) -> None:
        """Files that were put in place and not noted before a kill: their sender was not told that they are stored."""
        known = self.queue.files()
        for folder in (self.folder / RECEIVED).iterdir():
            for path in folder.iterdir():
                if path not in known:
                    path.unlink(missing_ok=True)
            drop_folder(folder)


@contextmanager
def private_process(folder: Path) -> Iterator[None]:
    """What this process writes is its user's alone, objects arrive in files below a folder and not in memory, and
    pynetdicom keeps no log: it would name patients.

    Raises:
        OutputError: the folder cannot be made.
    """
    mask = os.umask(0o077)
    before = tempfile.tempdir, _config.STORE_RECV_CHUNKED_DATASET, _config.LOG_HANDLER_LEVEL
    loud = logging.getLogger("pynetdicom")
    level = loud.level
    try:
        try:
            for name in (INCOMING, RECEIVED, RESULTS):  # the folder itself may be somebody's with other things in it
                (folder / name).mkdir(parents=True, exist_ok=True)
                (folder / name).chmod(0o700)
        except OSError as error:
            what = f"the folder cannot be used ({error.strerror})"
            raise OutputError(what, where=folder, how="choose another --out") from error
        tempfile.tempdir = str(folder / INCOMING)
        _config.STORE_RECV_CHUNKED_DATASET, _config.LOG_HANDLER_LEVEL = True, "none"
        loud.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        os.umask(mask)
        tempfile.tempdir, _config.STORE_RECV_CHUNKED_DATASET, _config.LOG_HANDLER_LEVEL = before
        loud.setLevel(level)
