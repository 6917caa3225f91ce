"""pynetdicom's server with bounds: no PDU that fills the memory, no caller whose silence stops the others."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

logger = logging.getLogger(__name__)

_LONGEST_REQUEST = 2**20  # bytes of a PDU of any kind; a request with all contexts and encodings has half of it


class _Handler(RequestHandler):
    """Its association reads no PDU that is longer than what was agreed."""

    def _create_association(self) -> Any:
        association: Any = super()._create_association()
        reader = association.dul.socket
        read, most = reader.recv, max(_LONGEST_REQUEST, self.ae.maximum_pdu_size)

        def bounded(length: int) -> bytearray:
            if length > most:
                raise OSError(f"a PDU of {length} bytes")  # the connection is closed, as if it had broken
            return read(length)

        reader.recv = bounded
        return association


class BoundedServer(ThreadedAssociationServer):
    """Takes calls in threads, the TLS handshake included, which else would be waited for before the next call."""

    daemon_threads = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "request_handler": _Handler})

    def get_request(self) -> tuple[socket.socket, Any]:
        assert self.socket is not None
        client, address = self.socket.accept()
        client.settimeout(self.ae.network_timeout)  # a caller who stops in the middle of a PDU is left
        if self.ssl_context:
            client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            try:
                request.settimeout(self.ae.acse_timeout)
                request.do_handshake()
                request.settimeout(self.ae.network_timeout)
            except OSError as error:
                logger.warning("a call from %s is refused: no TLS (%s)", client_address[0], type(error).__name__)
                self.shutdown_request(request)
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a call from %s failed", client_address[0], exc_info=True)
