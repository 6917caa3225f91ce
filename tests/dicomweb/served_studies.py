"""A small DICOMweb server on loopback, with faults on demand."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

BOUNDARY = "part"
SEARCHED = (
    "Manufacturer",
    "SeriesDescription",
    "ImageType",
    "NumberOfFrames",
    "SOPClassUID",
    "SeriesNumber",
    "Modality",
)


@dataclass
class Served:
    """What the server has, how it misbehaves, and what it was asked.

    Attributes:
        files: encoded instances by SOPInstanceUID, in order.
        status: to be answered in the place of the next so many requests: [(status, times)].
        lost: SOPInstanceUIDs that are listed and never sent.
        garbled: those of which something else is sent.
        uncounted: NumberOfSeriesRelatedInstances is so many more than there are.
        cut: the first answer with a series breaks off behind so many instances.
        paged: it knows limit and offset.
        entries: further ones, put into the list of series.
        store: STOW answers (status, body); None: it stores.
        asked: (method, path, headers) of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    user: str | None = None
    status: list[tuple[int, int]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    garbled: set[str] = field(default_factory=set)
    uncounted: int = 0
    cut: int | None = None
    paged: bool = True
    entries: list[Any] = field(default_factory=list)
    store: tuple[int, Any] | None = None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def add(self, *paths: Path) -> str:
        """Take files; the study of the last."""
        for path in paths:
            dataset = pydicom.dcmread(path)
            self.files[dataset.SOPInstanceUID] = path.read_bytes()
        return str(dataset.StudyInstanceUID)

    @property
    def datasets(self) -> list[pydicom.Dataset]:
        return [pydicom.dcmread(io.BytesIO(each)) for each in self.files.values()]

    def of_study(self, study: str) -> list[pydicom.Dataset]:
        return [each for each in self.datasets if each.StudyInstanceUID == study]

    def posts(self) -> list[str]:
        return [path for method, path, _ in self.asked if method == "POST"]

    def app(self) -> Starlette:
        below = "/dicom-web/studies/{study}"
        one = f"{below}/series/{{series}}/instances/{{instance}}"
        return Starlette(
            routes=[
                Route(f"{below}/series", self.series),
                Route(f"{below}/series/{{series}}/instances", self.instances),
                Route(f"{below}/series/{{series}}", self.send),
                Route(one, self.send),
                Route(below, self.stow, methods=["POST"]),
            ]
        )

    def _begin(self, request: Request) -> Response | None:
        self.asked.append((request.method, request.url.path, dict(request.headers)))
        if self.status:
            status, times = self.status[0]
            self.status[0] = (status, times - 1)
            if times == 1:
                self.status.pop(0)
            return RedirectResponse("/elsewhere", status) if status == 302 else PlainTextResponse("no", status)
        if self.user is not None and request.headers.get("authorization") != self.user:
            return PlainTextResponse("who are you", 401)
        return None

    def _page(self, request: Request, entries: list[Any]) -> Response:
        if self.paged:
            start, limit = (int(request.query_params.get(key, other)) for key, other in (("offset", 0), ("limit", 99)))
            entries = entries[start : start + min(limit, 2)]  # pages of two
        return JSONResponse(entries, media_type="application/dicom+json")

    async def series(self, request: Request) -> Response:
        if (refused := self._begin(request)) is not None:
            return refused
        found: dict[str, list[pydicom.Dataset]] = {}
        for each in self.of_study(request.path_params["study"]):
            found.setdefault(each.SeriesInstanceUID, []).append(each)
        entries = []
        for members in found.values():
            entry = _entry(members[0], "StudyInstanceUID", "SeriesInstanceUID")
            entries.append(entry | {"00201209": {"vr": "IS", "Value": [len(members) + self.uncounted]}})
        return self._page(request, [*self.entries, *entries])

    async def instances(self, request: Request) -> Response:
        if (refused := self._begin(request)) is not None:
            return refused
        only = request.query_params.get("SOPInstanceUID") or request.query_params.get("00080018")
        found = [each for each in self.datasets if each.SeriesInstanceUID == request.path_params["series"]]
        found = [each for each in found if only in (None, each.SOPInstanceUID)]
        return self._page(request, [_entry(each, "SOPInstanceUID") for each in found])

    async def send(self, request: Request) -> Response:
        if (refused := self._begin(request)) is not None:
            return refused
        series, only = request.path_params["series"], request.path_params.get("instance")
        parts = [
            b"no image at all" if uid in self.garbled else content
            for uid, content in self.files.items()
            if uid not in self.lost
            and pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).SeriesInstanceUID == series
            and only in (None, uid)
        ]
        if not parts:
            return PlainTextResponse("nothing", 404)
        cut, self.cut = self.cut, None

        def stream() -> Iterator[bytes]:
            for number, part in enumerate(parts):
                if cut == number:
                    raise ConnectionAbortedError
                yield f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + part
            yield f"\r\n--{BOUNDARY}--".encode()

        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        return StreamingResponse(stream(), headers={"Content-Type": kind})

    async def stow(self, request: Request) -> Response:
        body = await request.body()
        if (refused := self._begin(request)) is not None:
            return refused
        if self.store is not None:
            status, answer = self.store
            return Response(json.dumps(answer) if answer else b"", status, media_type="application/dicom+json")
        content = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        dataset = pydicom.dcmread(io.BytesIO(content))
        assert dataset.StudyInstanceUID == request.path_params["study"]
        self.files[dataset.SOPInstanceUID] = content
        stored = {"00081155": {"vr": "UI", "Value": [dataset.SOPInstanceUID]}}
        answer = {"00081199": {"vr": "SQ", "Value": [stored]}}
        return JSONResponse(answer, media_type="application/dicom+json")


def _entry(dataset: pydicom.Dataset, *keywords: str) -> dict[str, Any]:
    part = pydicom.Dataset()
    for keyword in (*keywords, *SEARCHED):
        if keyword in dataset:
            part.add(dataset[keyword])
    return json.loads(part.to_json())


class Running:
    """A served app: within ``with``, at ``url``."""

    def __init__(self, served: Served, **options: Any) -> None:
        self.served = served
        self.server = uvicorn.Server(uvicorn.Config(served.app(), "127.0.0.1", 0, log_level="critical", **options))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.scheme = "https" if options else "http"

    def __enter__(self) -> Served:
        self.thread.start()
        until = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.served.url = f"{self.scheme}://127.0.0.1:{port}/dicom-web"
        return self.served

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)
