"""The server behind the page: what it asks for, by the number of a case and never by a path."""

from __future__ import annotations

import io
import math
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pipelines.errors import OutputError, PipelinesError, UnreadableFileError
from pipelines.viewer import listing
from pipelines.viewer.cases import Folder
from pipelines.viewer.corrections import Changed
from pipelines.viewer.desk import Desk
from pipelines.viewer.guard import Guard
from pipelines.viewer.images import as_bytes, from_bytes

STATIC = Path(__file__).parent / "static"
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST = 50
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _Number(IntegerConvertor):
    regex = "[0-9]{1,9}"  # more digits are no number of a case; int() refuses 5,000


register_url_convertor("number", _Number())


class _SafeJson(JSONResponse):
    """JSON of whatever reports and names of files hold."""

    def render(self, content: Any) -> bytes:
        return super().render(sendable(content))


class _LargeFile(FileResponse):
    chunk_size = 4 * 2**20  # a scan of 300 MB in chunks of 64 kB would take seconds


def make_app(
    folders: Sequence[Folder], token: str, hosts: Sequence[str], cache: Path, *, read_ahead: bool = False
) -> ASGIApp:
    """The application over one folder or two.

    Args:
        folders: as ``read_folder`` gives them.
        token: the first part of each path.
        hosts: what Host may be.
        cache: an empty folder, which somebody else removes.
        read_ahead: begin at once to read the case that the page begins with.
    """
    desk = Desk(folders, cache)
    if read_ahead:
        threading.Thread(target=desk.read_ahead, daemon=True).start()
    files = {
        path.relative_to(STATIC).as_posix(): path
        for path in STATIC.rglob("*")
        if path.suffix in _TYPES and path.is_file()
    }

    def page(request: Request) -> Response:
        return static_file("index.html")

    def static(request: Request) -> Response:
        return static_file(request.path_params["name"])

    def static_file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return FileResponse(files[name], media_type=_TYPES[files[name].suffix])

    def cases(request: Request) -> Response:
        desk.read_again()
        return _SafeJson(listing.everything(desk.folders, desk.entries))

    def case(request: Request) -> Response:
        return _SafeJson(listing.details(desk.entry(request), desk.number(request)))

    def image_facts(request: Request) -> Response:
        return _SafeJson(listing.image_facts(desk.image(desk.entry(request))))

    def image(request: Request) -> Response:
        shown = desk.image(desk.entry(request))
        media = "image/png" if shown.kind == "picture" else "application/octet-stream"
        return _LargeFile(shown.file, media_type=media)

    def mask(request: Request) -> Response:
        return _octets(as_bytes(desk.mask(desk.entry(request), request.path_params["layer"])))

    def measures(request: Request) -> Response:
        return _SafeJson(desk.measures(desk.entry(request), request.path_params["layer"]))

    def comparison(request: Request) -> Response:
        first, second = request.path_params["first"], request.path_params["second"]
        return _SafeJson(desk.comparison(desk.entry(request), first, second))

    def difference(request: Request) -> Response:
        params = request.path_params
        found = desk.difference(desk.entry(request), params["first"], params["second"], params["value"])
        return _octets(as_bytes(found))

    def overlay(request: Request) -> Response:
        return _png(desk.overlay(desk.entry(request), int(request.path_params["side"])))

    def thumbnail(request: Request) -> Response:
        return _png(desk.thumbnail(desk.number(request)))

    async def save(request: Request) -> Response:
        entry = desk.entry(request)
        side = desk.corrected_side(entry, request.path_params["layer"])
        shown = await run_in_threadpool(desk.image, entry)
        due = shown.shape[0] * shown.shape[1] * shown.shape[2]
        if request.headers.get("content-type") != "application/octet-stream":
            raise HTTPException(415, "voxels are due, one byte each")
        if request.headers.get("content-length") != str(due):
            raise HTTPException(413, f"{due} bytes are due, one for each voxel")
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > due:
                raise HTTPException(413, f"{due} bytes are due, one for each voxel")
        if len(data) != due:
            raise HTTPException(400, "the mask did not come whole")
        given = from_bytes(bytes(data), shown)
        number = desk.number(request)
        saved = await run_in_threadpool(desk.save, entry, number, side, given, request.headers.get("x-base"))
        return _SafeJson(saved)

    routes = [
        Route("/", page),
        Route("/static/{name:path}", static),
        Route("/cases", cases),
        Route("/cases/{number:number}", case),
        Route("/cases/{number:number}/image.json", image_facts),
        Route("/cases/{number:number}/image", image),
        Route("/cases/{number:number}/masks/{layer}", mask),
        Route("/cases/{number:number}/masks/{layer}/measures", measures),
        Route("/cases/{number:number}/comparison/{first}/{second}", comparison),
        Route("/cases/{number:number}/comparison/{first}/{second}/{value:number}", difference),
        Route("/cases/{number:number}/overlay/{side:number}", overlay),
        Route("/cases/{number:number}/thumbnail", thumbnail),
        Route("/cases/{number:number}/masks/{layer}", save, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={PipelinesError: _told, HTTPException: _refused})
    return Guard(app, token, hosts)


def sendable(content: Any, depth: int = 0) -> Any:
    """Plain data as JSON can hold it: numbers that are not finite become None, bytes of a file's name that are no UTF-8
    become ``\\xe9``, and what is nested deeper than any report of ours becomes None."""
    if depth > _DEEPEST:
        return None
    if isinstance(content, dict):
        return {sendable(str(key)): sendable(each, depth + 1) for key, each in content.items()}
    if isinstance(content, (list, tuple)):
        return [sendable(each, depth + 1) for each in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, str):
        return _SURROGATE.sub(_written, content)
    return content


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _told(request: Request, error: Exception) -> Response:
    """A fault in what the user gave, as a sentence that the page shows."""
    assert isinstance(error, PipelinesError)
    status = 409 if isinstance(error, Changed) else 507 if isinstance(error, OutputError) else 422
    if isinstance(error, UnreadableFileError):
        status = 404
    return _SafeJson({"error": str(error)}, status)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, error.status_code)


def _octets(data: bytes) -> Response:
    return Response(data, media_type="application/octet-stream")


def _png(picture: Image.Image | None) -> Response:
    if picture is None:
        return Response(status_code=204)  # nothing to show is no fault
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return Response(file.getvalue(), media_type="image/png")
