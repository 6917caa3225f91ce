"""A folder as ``predict`` leaves it, and a client that has the token."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_page import CHROMIUM, WEBGL_BY_SOFTWARE, Page
from starlette.testclient import TestClient
from written_folders import HOST, TOKEN, refused_case, write_ct_case, write_manifest, write_skin_case

from pipelines.viewer import make_app, read_folder


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """A volume (in a folder below), a picture and a refused case."""
    folder, images = tmp_path / "out", tmp_path / "images"
    entries = [
        write_ct_case(folder, images, "ward/scan"),
        write_skin_case(folder, images, "mole"),
        refused_case(images),
    ]
    write_manifest(folder, entries)
    return folder


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Makes a client of the app over folders; its paths begin behind the token."""
    clients = []

    def make(*folders: Path) -> TestClient:
        cache = tmp_path / f"cache{len(clients)}"
        cache.mkdir()
        app = make_app([read_folder(folder) for folder in folders], TOKEN, [HOST], cache)
        clients.append(TestClient(app, base_url=f"http://{HOST}/{TOKEN}/"))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the test extra)")
    with playwright_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *WEBGL_BY_SOFTWARE])
        yield opened
        opened.close()


@pytest.fixture
def view(browser: Any, project: Path) -> Iterator[Callable[..., Page]]:
    """Opens the page of folders, served by the command; at the end there must not have been any fault."""
    ends: list[Callable[[], None]] = []
    pages: list[Page] = []

    def make(*folders: Path, **options: Any) -> Page:
        command = [sys.executable, "-m", "pipelines", "view", *map(str, folders), "--no-browser"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project)
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}, **options})

        def end() -> None:
            context.close()
            server.terminate()
            assert server.wait(10) == 143

        ends.append(end)
        assert server.stdout is not None
        pages.append(Page(context.new_page(), server.stdout.readline().strip()))
        return pages[-1]

    yield make
    for end in ends:
        end()
    assert [fault for page in pages for fault in page.faults] == []
