"""The page of `pipelines view` in a browser without a window, for the tests of this folder."""

from __future__ import annotations

import io
import json
import shutil
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WEBGL_BY_SOFTWARE = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


class Page:
    """A page of `pipelines view` over folders, and what went wrong in it."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.faults: list[str] = []
        home = urlsplit(address).netloc

        def asked(request: Any) -> None:
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob") and parts.netloc != home:
                self.faults.append(f"asked {request.url}")

        def said(message: Any) -> None:
            if message.type in ("error", "warning") and "GPU stall" not in message.text:
                self.faults.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", asked)
        self.answer = "accept"  # of the page's questions, or "dismiss"
        page.on("dialog", lambda dialog: getattr(dialog, self.answer)())
        page.goto(address)
        self.until("document.querySelectorAll('.case').length > 0")

    def js(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def until(self, expression: str, seconds: float = 90) -> None:
        end = time.monotonic() + seconds  # Playwright's own waiting needs eval, which the page's policy forbids
        while not self.js(f"Boolean({expression})"):
            assert time.monotonic() < end, (
                expression,
                self.faults,
                self.js("document.querySelector('#said').textContent"),
            )
            self.page.wait_for_timeout(50)

    def open(self, name: str) -> None:
        self.page.locator(".case", has=self.page.get_by_text(name, exact=True)).click()
        self.until(
            f"viewer.state.details?.name.endsWith('{name}') && document.querySelector('#said').textContent === ''"
        )
        self.page.wait_for_timeout(150)

    def pixels(self) -> np.ndarray:
        """What the panes show, uint8 (H, W, 3)."""
        self.page.wait_for_timeout(150)
        with Image.open(io.BytesIO(self.page.locator("#panes").screenshot())) as shot:
            return np.asarray(shot.convert("RGB")).copy()

    def like(self, colour: tuple[int, int, int], tolerance: int = 40) -> np.ndarray:
        """Where the panes show about a colour: bool (H, W)."""
        return (np.abs(self.pixels().astype(int) - colour) <= tolerance).all(axis=2)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.page.wait_for_timeout(100)

    def stroke(self, *places: tuple[float, float]) -> None:
        """Paint, or drag, from place to place; each is a share of the width and of the height of the panes."""
        box = self.page.locator("#panes").bounding_box()
        for i, (x, y) in enumerate(places):
            self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4 if i else 1)
            if i == 0:
                self.page.mouse.down()
        self.page.mouse.up()

    def said(self, text: str) -> None:
        """Wait until the page says something that begins so."""
        self.until(f"document.querySelector('#said').textContent.startsWith({json.dumps(text)})")

    def corner(self) -> tuple[float, float]:
        box = self.page.locator("#panes").bounding_box()
        return box["x"], box["y"]
