"""``app``: MONAI Label's server, whose answers to a user's fault are that fault, and which no other page may call."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from pipelines.browser import HOST
from pipelines.errors import PipelinesError
from pipelines.labelling.serving.monailabel_import import MONAILabelException  # before MONAI Label's own app

# isort: split
from monailabel.app import app

logger = logging.getLogger(__name__)
_OWN = (HOST, "localhost")


@app.exception_handler(PipelinesError)
async def refuse(_: Request, error: PipelinesError) -> JSONResponse:
    """A fault in an image, a label or a request: what is wrong, where, and how to mend it."""
    logger.warning("%s", error)
    return JSONResponse({"detail": str(error), "error": type(error).__name__}, status_code=422)


@app.exception_handler(MONAILabelException)
async def not_there(_: Request, error: MONAILabelException) -> JSONResponse:
    """MONAI Label's own: an image, a label or a model that is not there."""
    logger.warning("%s", error.msg)
    return JSONResponse({"detail": str(error.msg), "error": type(error).__name__}, status_code=404)


@app.middleware("http")
async def own_pages_only(request: Request, call_next):
    """Refuse what a page of somewhere else asks for: MONAI Label allows every origin, and the images are patients'."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).hostname not in _OWN:
        return JSONResponse({"detail": f"pages of {origin} may not call this server"}, status_code=403)
    return await call_next(request)


app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(_OWN))  # against DNS rebinding
