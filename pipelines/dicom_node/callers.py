"""Who may call, and where answers go: AE titles with addresses, as they are written on the command line."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from pipelines.errors import UsageError

ANYONE = "*"
_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")  # PS3.5, table 6.2-1: AE


@dataclass(frozen=True)
class Caller:
    """Who may call.

    Attributes:
        title: AE title; "*" for any.
        addresses: IP addresses that it may call from; empty for any.
    """

    title: str
    addresses: frozenset[str] = frozenset()

    def is_meant(self, title: str, address: str) -> bool:
        """Whether a call by this title from this address is allowed."""
        return self.title in (ANYONE, title.strip()) and (not self.addresses or _plain(address) in self.addresses)


@dataclass(frozen=True)
class Address:
    """A DICOM node elsewhere: its AE title, host and port."""

    title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"


def ae_title(text: str) -> str:
    """An AE title, without spaces around it.

    Raises:
        UsageError: it is none.
    """
    title = text.strip()
    if not _TITLE.fullmatch(title) or "@" in title:
        how = "give 1 to 16 letters, digits or signs without backslash and @"
        raise UsageError(f"{text!r} cannot be an AE title here", how=how)
    return title


def parse_caller(text: str) -> Caller:
    """``AET``, ``AET@ADDRESS`` (a name is looked up, once), ``*`` or ``*@ADDRESS``.

    Raises:
        UsageError: the AE title is none, or the name is not known.
    """
    title, at, host = text.partition("@")
    title = title.strip() if title.strip() == ANYONE else ae_title(title)
    if not at:
        return Caller(title)
    try:
        found = {_plain(str(info[4][0])) for info in socket.getaddrinfo(host.strip("[]"), None)} if host else set()
    except (OSError, UnicodeError):
        found = set()
    if not found:
        raise UsageError(f"the address of {text!r} is not known", how="give AET@ADDRESS, an IP address or a known name")
    return Caller(title, frozenset(found))


def parse_address(text: str) -> Address:
    """``AET@HOST:PORT``.

    Raises:
        UsageError: it is not of this form.
    """
    title, _, place = text.partition("@")
    host, _, port = place.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} names no DICOM node", how="give AET@HOST:PORT, such as ORTHANC@127.0.0.1:4242")
    return Address(ae_title(title), host.strip("[]"), int(port))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _plain(address: str) -> str:
    """An IP address in its usual spelling; IPv4 within IPv6 as IPv4."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    inner = getattr(parsed, "ipv4_mapped", None)
    return str(inner or parsed)
