"""TLS of the node: as a server, with certificates of the callers where asked, and towards the destination."""

from __future__ import annotations

import ssl
from pathlib import Path

from pipelines.errors import UsageError


def server_context(certificate: Path, key: Path | None, ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later; with `ca`, only callers with a certificate that it has signed.

    Raises:
        UsageError: a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _own(context, certificate, key)
    if ca is not None:
        _trust(context, ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """For a destination whose certificate `ca` has signed, of the name or address that it is called by.

    Raises:
        UsageError: a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _trust(context, ca)
    if certificate is not None:
        _own(context, certificate, key)
    return context


def _own(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        how = "give a PEM file with --tls-certificate, and its key, without a password, with --tls-key"
        raise UsageError(f"the certificate and key cannot be used ({error})", where=certificate, how=how) from error


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except (OSError, ValueError) as error:
        raise UsageError(f"the certificates cannot be used ({error})", where=ca, how="give a PEM file") from error


def _no_password() -> str:
    raise ValueError("the key has a password")
