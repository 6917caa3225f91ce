"""Opens a study of a DICOMweb server in OHIF, loads its segmentation, and takes a picture of the page.

    npm pack @ohif/app && tar xzf ohif-app-*.tgz
    python benchmarks/ohif_picture.py --ohif package/dist --dicomweb http://127.0.0.1:8042/dicom-web --study UID \\
        --out ohif.png

OHIF's page and the DICOMweb server are served below one address, so that no browser asks for CORS; the server's user is
`--user NAME:PASSWORD`. Chromium draws WebGL by software.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from pathlib import Path

import requests
import uvicorn
from playwright.sync_api import sync_playwright
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

PORT = 8765
FLAGS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader", "--disable-quic"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
CONFIG = """window.config = {
  routerBasename: '/', extensions: [], modes: [], showStudyList: true, maxNumberOfWebWorkers: 2,
  showLoadingIndicator: true, showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  strictZSpacingForVolumeViewport: true, investigationalUseDialog: {option: 'never'},
  defaultDataSourceName: 'pacs',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'pacs',
    configuration: {
      friendlyName: 'PACS', name: 'pacs', wadoUriRoot: '/wado', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
      qidoSupportsIncludeField: true, imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
      supportsFuzzyMatching: false, supportsWildcard: true, omitQuotationForMultipartRequest: true,
      bulkDataURI: {enabled: true},
    },
  }],
};"""


def served(dist: Path, upstream: str, user: tuple[str, str] | None) -> Starlette:
    """OHIF's files, and what lies below ``/dicom-web`` fetched from the server."""
    session = requests.Session()
    session.auth = user

    async def pacs(request: Request) -> Response:
        body, url = await request.body(), f"{upstream}{request.url.path.removeprefix('/dicom-web')}"
        kept = {key: value for key, value in request.headers.items() if key in ("accept", "content-type")}
        answer = await run_in_threadpool(
            session.request, request.method, url, params=request.url.query, data=body, headers=kept
        )
        return Response(answer.content, answer.status_code, {"Content-Type": answer.headers.get("Content-Type", "")})

    def page(request: Request) -> Response:
        name = request.path_params["path"]
        if name == "app-config.js":
            return Response(CONFIG, media_type="text/javascript")
        file = (dist / name).resolve()
        inside = file.is_file() and file.is_relative_to(dist.resolve())
        isolated = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
        return FileResponse(file if inside else dist / "index.html", headers=isolated)

    routes = [Route("/dicom-web/{path:path}", pacs, methods=["GET", "POST"]), Route("/{path:path}", page)]
    return Starlette(routes=routes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ohif", type=Path, required=True)
    parser.add_argument("--dicomweb", required=True)
    parser.add_argument("--study", required=True)
    parser.add_argument("--user")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--scroll", type=int, default=8, help="how many slices further")
    args = parser.parse_args()
    user = tuple(args.user.split(":", 1)) if args.user else None
    app = served(args.ohif, args.dicomweb.rstrip("/"), user)
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", PORT, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 720})
        page.on("console", lambda message: print(message.type, message.text[:300]) if message.type == "error" else None)
        page.on("pageerror", lambda error: print("page error", str(error)[:500]))
        page.goto(f"http://127.0.0.1:{PORT}/viewer?StudyInstanceUIDs={args.study}")
        page.get_by_text("Skip all").click(timeout=args.seconds * 1000)
        page.wait_for_timeout(3000)
        page.get_by_text("segmentation by").first.dblclick()
        page.get_by_text("Yes", exact=True).click(timeout=args.seconds * 1000)
        page.wait_for_timeout(8000)
        page.mouse.move(600, 350)
        page.mouse.click(1184, 100)  # the panel of segmentations
        page.wait_for_timeout(2000)
        page.mouse.move(600, 350)
        for _ in range(args.scroll):
            page.mouse.wheel(0, 100)
            page.wait_for_timeout(300)
        page.wait_for_timeout(3000)
        page.screenshot(path=args.out)
        print(page.inner_text("body")[-600:])
        browser.close()
    server.should_exit = True


if __name__ == "__main__":
    main()
