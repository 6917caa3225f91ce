"""The thread that sends results to a configured node, each until it is taken, and longer apart while nobody answers."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Sequence

import pydicom
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context

from pipelines.dicom_node.callers import Address
from pipelines.dicom_node.queue import ResultObject, SeriesQueue

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0  # seconds between tries: each twice the one before
MOST_REFUSALS = 5  # of a series' object, by a destination that answers; then the series has failed
_PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_WARNINGS = (0x0001, 0x0107, 0x0116)  # besides 0xBxxx: stored, with something to say
_AT_ONCE = 50  # objects an association
_NAP = 1.0
_CONNECT = 15.0


class _Away(Exception):
    """The destination does not answer, or has no room."""


class Sender(threading.Thread):
    """Sends what is due in the queue until `stop` is set.

    An object goes out as its file has it, under a UID that was fixed when it was written: sent twice, because the
    node was killed between sending and noting, it is the same object. A destination that cannot be reached, or is out
    of resources, is tried again for ever; one that refuses an object `MOST_REFUSALS` times makes its series fail.

    Args:
        queue: of the node.
        title: AE title of the node.
        destination: where results go.
        stop: ends the thread.
        tls: for a destination with TLS.
    """

    def __init__(
        self,
        queue: SeriesQueue,
        title: str,
        destination: Address,
        *,
        stop: threading.Event,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(name="sending", daemon=True)
        self.queue, self.destination, self.stop, self.tls = queue, destination, stop, tls
        self.ae = AE(title)
        self.ae.connection_timeout = self.ae.acse_timeout = _CONNECT
        self.ae.dimse_timeout = self.ae.network_timeout = 120.0
        self._news = threading.Event()
        self._failures = 0
        self._refusals: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    def wake(self) -> None:
        """There is something to send."""
        self._news.set()

    def run(self) -> None:
        while not self.stop.is_set():
            self._news.clear()
            try:
                due = self._due()
                if due:
                    self._send(due)
                    if self._failures:
                        logger.info("%s answers again", self.destination)
                    self._failures = 0
            except _Away as away:
                wait = min(FIRST_WAIT * 2**self._failures, LONGEST_WAIT)
                self._failures = min(self._failures + 1, 30)
                logger.warning("%s: %s; tried again in %.0f s", self.destination, away, wait)
                self.stop.wait(wait)
            except Exception as error:  # a fault here, which must not end the sending
                logger.error("sending failed: %s", type(error).__name__)
                logger.debug("", exc_info=True)
                self.stop.wait(LONGEST_WAIT / 10)
            else:
                if not due:
                    self._rest()

    def _rest(self) -> None:
        until = time.monotonic() + _NAP
        while not self.stop.is_set() and not self._news.is_set() and time.monotonic() < until:
            self._news.wait(0.1)

    def _due(self) -> list[ResultObject]:
        now = time.monotonic()
        return [each for each in self.queue.unsent() if self._not_before.get(each.series, 0.0) <= now][:_AT_ONCE]

    def _send(self, due: Sequence[ResultObject]) -> None:
        wanted = {(each.sop_class, each.syntax) for each in due}
        contexts = [build_context(sop_class, _offered(syntax)) for sop_class, syntax in sorted(wanted)]
        association = self.ae.associate(
            self.destination.host,
            self.destination.port,
            contexts,
            self.destination.title,
            tls_args=None if self.tls is None else (self.tls, self.destination.host),
        )
        if association.is_rejected:
            raise _Away("it refuses to talk to this AE title")
        if not association.is_established:
            if not association.rejected_contexts:
                raise _Away("it does not answer")
            for each in {each.series: each for each in due}.values():
                self._refused(each, _not_taken(each))
            return
        try:
            for each in due:
                if self.stop.is_set():
                    return
                self._send_one(association, each)
        finally:
            if association.is_established:
                association.release()

    def _send_one(self, association: object, result: ResultObject) -> None:
        try:
            dataset = pydicom.dcmread(result.file)
        except OSError as error:
            self.queue.refused(result.series, f"a result cannot be read ({error.strerror})")
            return
        try:
            status = association.send_c_store(dataset)  # type: ignore[attr-defined]
        except ValueError:  # no context of its kind was accepted
            self._refused(result, _not_taken(result))
            return
        except RuntimeError as error:
            raise _Away("the connection broke off") from error
        if "Status" not in status:
            raise _Away("the connection broke off")
        code = int(status.Status)
        if code == 0 or 0xB000 <= code < 0xC000 or code in _WARNINGS:
            self._refusals.pop(result.series, None)
            if self.queue.sent(result):
                logger.info("series %s: sent to %s", result.series, self.destination)
        elif 0xA700 <= code < 0xA800:
            raise _Away(f"it is out of resources (0x{code:04X})")
        else:
            self._refused(result, f"the destination refuses a result with status 0x{code:04X}")

    def _refused(self, result: ResultObject, fault: str) -> None:
        count = self._refusals[result.series] = self._refusals.get(result.series, 0) + 1
        self._not_before[result.series] = time.monotonic() + min(FIRST_WAIT * 2**count, LONGEST_WAIT)
        if count < MOST_REFUSALS:
            logger.warning("series %s: %s; tried again", result.series, fault)
            return
        self._refusals.pop(result.series, None)
        logger.error("series %s: failed: %s", result.series, fault)
        self.queue.refused(result.series, fault)


def _not_taken(result: ResultObject) -> str:
    return f"the destination does not take {UID(result.sop_class).name}"


def _offered(syntax: str) -> list[str]:
    """How an object may be sent: as its file has it, or in the other plain encoding."""
    return [str(each) for each in _PLAIN] if syntax in _PLAIN else [syntax]
