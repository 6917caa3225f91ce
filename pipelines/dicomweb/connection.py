"""A DICOMweb server: its address, who asks, how long is waited, and what its refusals mean."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dicomweb_client.web import DICOMwebClient
from requests import PreparedRequest, Response, Session
from requests.auth import AuthBase, HTTPBasicAuth
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import HTTPError, RequestException, SSLError, Timeout, TooManyRedirects
from retrying import RetryError

from pipelines.errors import ServerError, UsageError

CONNECT_SECONDS, READ_SECONDS = 10, 120
ATTEMPTS, _FIRST_WAIT_MS = 3, 500  # retrying doubles it before each further attempt
_TRANSIENT = (
    HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT,
)  # fmt: skip
logging.getLogger("retrying").setLevel(logging.ERROR)  # it warns of each attempt, with a stack trace
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST_UID = 64
_WHOLE = 2**31  # bytes that are sent in one piece: what the library sends in chunks it cannot send again


class Server:
    """A DICOMweb server that answers QIDO-RS, WADO-RS and STOW-RS below one address.

    Certificates are verified, no redirect is followed, and http is for this machine alone. A request that fails for a
    passing reason (no connection, 408, 429, 502, 503, 504) is made three times, some seconds apart.

    Args:
        url: such as ``https://pacs.example.org/dicom-web``.
        user, password: for basic authentication.
        token: for a bearer's, in place of these.
        ca_file: certificates (PEM) to trust in the place of the system's.
        plain_http: http to other machines too, where a proxy or tunnel of yours protects what is sent.

    Attributes:
        url: without a slash at its end.
        client: ``dicomweb_client``'s.

    Raises:
        UsageError: an address that is none or holds a password, http to another machine, both kinds of
            authentication, or no such file.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca_file: Path | None = None,
        plain_http: bool = False,
    ) -> None:
        self.url = _checked_address(url, plain_http)
        if token and user:
            raise UsageError("a user and a token are given", where=self.url, how="give one of them")
        if user and not password:
            raise UsageError(f"there is no password for {user}", where=self.url, how="set DICOMWEB_PASSWORD")
        if ca_file is not None and not ca_file.is_file():
            raise UsageError("there is no such file of certificates", where=ca_file, how="give a PEM file")
        session = _StrictSession(ca_file)
        session.trust_env = not is_loopback(self.url)  # no proxy is asked for what is on this machine
        if token:
            session.auth = _Bearer(token)
        else:  # without one, requests would look into ~/.netrc
            session.auth = HTTPBasicAuth(user, password or "") if user else _Nobody()
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        self.client = DICOMwebClient(self.url, session, permissive_uid=True, timeout=timeout)
        self.client.set_http_retry_params(True, ATTEMPTS, _FIRST_WAIT_MS, _TRANSIENT)

    @contextlib.contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """Names what goes wrong while the server is asked.

        Args:
            what: is asked for, as it would follow "while" ("listing the series").

        Raises:
            ServerError: it cannot be reached, refuses, or answers what is no DICOMweb.
        """
        try:
            yield
        except RetryError as error:
            answer = error.last_attempt.value
            raise self.refusal(answer, what) if isinstance(answer, Response) else self._odd(what) from None
        except HTTPError as error:
            answer = error.response
            raise self._odd(what) if answer is None else self.refusal(answer, what) from None
        except RequestException as error:
            raise self._unreachable(error, what) from None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, SyntaxError):  # no JSON, no parts, no XML
            raise self._odd(what) from None

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """What is sent goes in one piece, so that it can be sent again."""
        self.client.set_chunk_size(_WHOLE)
        try:
            yield
        finally:
            self.client.set_chunk_size(10**6)

    def refusal(self, answer: Response, what: str) -> ServerError:
        """An answer with an error's status, in words."""
        status = answer.status_code
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            said = "nobody is let in without authentication" if status == HTTPStatus.UNAUTHORIZED else "it is forbidden"
            how = "give --dicomweb-user with DICOMWEB_PASSWORD, or DICOMWEB_TOKEN, of who may do this"
            return ServerError(f"{said} ({status}, while {what})", where=self.url, how=how)
        if status == HTTPStatus.NOT_FOUND:
            return ServerError(f"there is nothing here (404, while {what})", where=self.url, how=_ADDRESS)
        how = "ask again later" if status in _TRANSIENT else "look into the server's log"
        return ServerError(f"the server answers {status} (while {what})", where=self.url, how=how)

    def _unreachable(self, error: RequestException, what: str) -> ServerError:
        if isinstance(error, SSLError):
            said, how = "its certificate is not trusted", "give --ca-file with the certificate of who signed it"
        elif isinstance(error, Timeout):
            said, how = "it does not answer in time", "ask again later"
        elif isinstance(error, TooManyRedirects):
            said, how = "it sends to another address, which is not followed", "give the address itself"
        elif isinstance(error, NotConnected):
            said, how = "it cannot be reached", "check the address, and that the server runs"
        else:
            said, how = f"the answer broke off ({type(error).__name__})", "ask again later"
        return ServerError(f"{said} (while {what})", where=self.url, how=how)

    def _odd(self, what: str) -> ServerError:
        return ServerError(f"what it answers is no DICOMweb (while {what})", where=self.url, how=_ADDRESS)


_ADDRESS = "give the address that studies lie below, such as https://pacs.example.org/dicom-web"


def status_of(error: HTTPError) -> int:
    """The status of an answer that was an error; 0 without an answer."""
    return 0 if error.response is None else error.response.status_code


def check_uid(uid: str, what: str) -> str:
    """A UID, where it is one: digits and dots, at most 64.

    Raises:
        UsageError: it is none.
    """
    if len(uid) > _LONGEST_UID or not _UID.fullmatch(uid):
        raise UsageError(f"{uid[:80]!r} is no {what}", how="give digits and dots, at most 64")
    return uid


def is_uid(value: object) -> bool:
    """Whether a value from outside is a UID, and so harmless in an address."""
    return isinstance(value, str) and len(value) <= _LONGEST_UID and _UID.fullmatch(value) is not None


def is_loopback(url: str) -> bool:
    """Whether an address is of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_address(url: str, plain_http: bool) -> str:
    how = "give one such as https://pacs.example.org/dicom-web"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or ":" in (parts.hostname or "") or parts.query or parts.fragment:
        raise UsageError("--dicomweb is no address of a DICOMweb server", how=how)
    if parts.username or parts.password:
        raise UsageError(
            "the address holds a user or a password, which other users of this machine could see",
            how="give --dicomweb-user, and the password in the environment's DICOMWEB_PASSWORD",
        )
    if parts.scheme == "http" and not plain_http and not is_loopback(url):
        raise UsageError(
            "http would carry patients' images and the password in the open",
            where=url,
            how="give an https address, or --plain-http where a tunnel of yours protects them",
        )
    return url.rstrip("/")


class _StrictSession(Session):
    """Follows no redirect; certificates are verified against the file that was given, whatever the environment says."""

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__()
        self.max_redirects = 0
        self.ca_file = None if ca_file is None else str(ca_file)

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        settings = super().merge_environment_settings(*args, **kwargs)
        return settings if self.ca_file is None else {**settings, "verify": self.ca_file}


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class _Nobody(AuthBase):
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request
