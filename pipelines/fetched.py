"""Weights from an address, by their hash: ``https://HOST/FILE.safetensors#sha256=HEX``, kept in a cache under it."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urljoin, urlsplit

from pipelines.errors import OutputError, UnreadableFileError, WeightsError
from pipelines.files import file_digest, make_folder, safe_name, write_file

if TYPE_CHECKING:
    from requests import Response

logger = logging.getLogger(__name__)

MAX_BYTES = 4 * 2**30
CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS = 10.0, 60.0, 3600.0
_MOST_REDIRECTS = 5
_ENDINGS = (".safetensors", ".pt", ".pth")
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_FORM = "https://HOST/FILE.safetensors#sha256=HEX"
_HASHES = ("sha256", "calibration")


class Address(NamedTuple):
    """Where weights are, and the SHA-256 (hexadecimal) of them and of the calibration beside them ("" without).

    ``shown`` is for messages: without the query, which may hold a key.
    """

    url: str
    shown: str
    name: str
    sha256: str
    calibration: str


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether weights are given by an address and not as a file."""
    return re.match(r"[a-z][a-z0-9+.-]*://", os.fspath(path), re.I) is not None


def local(path: str | os.PathLike[str]) -> Path:
    """The file of weights: itself, or what is fetched from an address.

    An address ends in the hash of what lies there; a calibration (``FILE.calibration.json`` beside it) comes along
    where its hash is given too: ``#sha256=HEX&calibration=HEX``. What was fetched before is taken from the cache, its
    hash looked at again, and nobody is asked.

    Raises:
        WeightsError: an address without a hash, of another kind than https (http is for this machine alone), or with a
            password; something else lies there than its hash says.
        UnreadableFileError: it cannot be fetched, or is above 4 GiB.
        OutputError: the cache cannot be written.
    """
    return Path(_fetched(os.fspath(path), _cache())) if is_address(path) else Path(path)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imaging-bundles" / "weights"


@lru_cache(maxsize=32)  # one use of weights asks for them many times
def _fetched(given: str, cache: Path) -> str:
    address = read_address(given)
    folder = cache / "-".join(filter(None, (address.sha256, address.calibration)))
    make_folder(folder)
    target = folder / address.name
    _fetch(address.url, address.shown, target, address.sha256)
    if address.calibration:
        parts = urlsplit(address.url)
        beside = str(Path(parts.path).with_suffix(".calibration.json"))
        url = parts._replace(path=beside).geturl()
        shown = parts._replace(path=beside, query="").geturl()
        _fetch(url, shown, target.with_suffix(".calibration.json"), address.calibration)
    return str(target)


def read_address(given: str) -> Address:
    """The parts of an address.

    Raises:
        WeightsError: see ``local``.
    """
    given = re.sub(rf"::(?=({'|'.join(_HASHES)})=)", "#", given, count=1)  # MONAI writes each # of a config's value so
    try:
        parts = urlsplit(given)
        fragment = parse_qsl(parts.fragment, strict_parsing=bool(parts.fragment), keep_blank_values=True)
        loopback = _is_loopback(parts.hostname)
    except ValueError as error:
        raise WeightsError(f"the address of the weights is none ({error})", how=f"give {_FORM}") from None
    shown = parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()
    hashes = dict(fragment)
    fault, how = "", f"give {_FORM}"
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and loopback)):
        fault = "weights are fetched by https alone, so that nobody on the way can change them"
    elif parts.username is not None or parts.password is not None:
        fault, how = "an address may not hold a name or password", "leave them out; ~/.netrc may hold them"
    elif "sha256" not in hashes:
        fault = "weights are fetched by their hash alone, and the address has none"
        how = f"ask their author for their SHA-256, and {how}"
    elif set(hashes) - set(_HASHES) or len(hashes) != len(fragment):
        fault = f"behind the # of the address there is more than {' and '.join(_HASHES)}"
    elif bad := next((name for name, value in hashes.items() if not _HEX.fullmatch(value)), ""):
        fault = f"{bad} is no SHA-256 (64 digits, hexadecimal)"
    elif not parts.path.lower().endswith(_ENDINGS):
        fault, how = f"the address is not of a file that ends in {' or '.join(_ENDINGS)}", "give the file's own address"
    if fault:
        raise WeightsError(fault, where=shown, how=how)
    name = safe_name(parts.path.rsplit("/", 1)[1])
    url = parts._replace(fragment="").geturl()
    return Address(url, shown, name, hashes["sha256"].lower(), hashes.get("calibration", "").lower())


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _fetch(url: str, shown: str, target: Path, sha256: str) -> None:
    """Fill ``target`` with what lies at an address, unless it is there; nothing is left of what has another hash."""
    if target.is_file():
        try:
            if file_digest(target) == sha256:
                return
        except OSError as error:
            raise OutputError(f"the cache cannot be read ({error.strerror})", where=target) from error
        logger.warning("%s is damaged, and is fetched again", target)
    logger.info("fetching %s", shown)
    write_file(
        target, lambda file: _copy(url, shown, sha256, file), durable=True, how="make room, or set XDG_CACHE_HOME"
    )


def _copy(url: str, shown: str, sha256: str, file: IO[bytes]) -> None:
    digest, size, end = hashlib.sha256(), 0, time.monotonic() + WHOLE_SECONDS
    with _answer(url, shown) as answer:
        for data in _parts(answer, shown):
            size += len(data)
            if size > MAX_BYTES or time.monotonic() > end:
                what = f"is larger than {MAX_BYTES} bytes" if size > MAX_BYTES else "takes more than an hour to fetch"
                raise UnreadableFileError(what, where=shown, how="fetch it by hand, and give the file")
            digest.update(data)
            file.write(data)
    if digest.hexdigest() != sha256:
        raise WeightsError(
            f"what lies there ({size} bytes) has the SHA-256 {digest.hexdigest()}, not {sha256}",
            where=shown,
            how="do not use it; ask its author for the right address and hash",
        )


@contextmanager
def _answer(url: str, shown: str) -> Iterator[Response]:
    """The server's answer; redirects lead to https alone, or stay on this machine."""
    import requests

    for _ in range(_MOST_REDIRECTS + 1):
        try:
            answer = requests.get(
                url,
                stream=True,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                headers={"Accept-Encoding": "identity"},
            )
        except (requests.RequestException, ValueError) as error:
            raise _not_fetched(type(error).__name__, shown) from None
        with answer:
            if answer.is_redirect:
                further = urlsplit(urljoin(url, answer.headers["location"]))
                stays = _is_loopback(urlsplit(url).hostname) and _is_loopback(further.hostname)
                if further.scheme != "https" and not (further.scheme == "http" and stays):
                    raise WeightsError(
                        "the server leads on to an address that is not https", where=shown, how="give another address"
                    )
                url = further.geturl()
                continue
            if not answer.ok:
                raise _not_fetched(f"{answer.status_code} {answer.reason}", shown)
            stated = answer.headers.get("Content-Length", "")
            if stated.isdecimal() and int(stated) > MAX_BYTES:
                raise UnreadableFileError(
                    f"is larger than {MAX_BYTES} bytes", where=shown, how="fetch it by hand, and give the file"
                )
            yield answer
            return
    raise _not_fetched("it leads on and on", shown)


def _parts(answer: Response, shown: str) -> Iterator[bytes]:
    import requests

    try:
        yield from answer.iter_content(2**20)
    except requests.RequestException as error:  # an OSError too, and no fault of the disk
        raise _not_fetched(type(error).__name__, shown) from None


def _not_fetched(reason: str, shown: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"the weights could not be fetched ({reason})",
        where=shown,
        how="check the address and the network, or fetch the file by hand and give it",
    )
