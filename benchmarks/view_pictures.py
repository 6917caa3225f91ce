"""Draws the three pictures of the page that `pipelines view` serves: phantoms, predicted by the shipped weights.

    python benchmarks/view_pictures.py

writes ``docs/images/view_*.png``. It needs Debian's ``chromium`` and Playwright (the extra ``test``).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines.__main__ import main

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SOFTWARE = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def run(*words: object) -> None:
    code = main([str(word) for word in words])
    assert code in (0, 3), words


def predict(work: Path) -> None:
    run("data", "phantom", "covid_ct", "--cases", 4, "--slices", 40, "--size", 256, "--raw", "--out", work / "ct")
    run("data", "phantom", "isic2016", "--cases", 5, "--size", 512, "--raw", "--out", work / "skin")
    (work / "ct" / "ct_scans" / "cut_off.nii.gz").write_bytes(b"\x1f\x8b\x08")
    for network in ("basic_unet", "tiny_unet"):
        words = ["predict", "covid_ct_lesion_segmentation", work / "ct" / "ct_scans", "--fast", "--network", network]
        run(*words, "--out", work / network)
    pictures = work / "skin" / "ISBI2016_ISIC_Part1_Training_Data"
    run("predict", "skin_lesion_segmentation", pictures, "--fast", "--out", work / "lesions")


@contextmanager
def page_of(browser: Browser, *folders: Path, scheme: str = "light") -> Iterator[Page]:
    command = [sys.executable, "-m", "pipelines", "view", *map(str, folders), "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    page = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(server.stdout.readline().strip())
    settle(page)
    yield page
    page.close()
    server.terminate()
    server.wait()


def settle(page: Page) -> None:
    ready = "viewer.stage.panes.length > 0 && viewer.state.style && document.querySelector('#said').textContent === ''"
    end = time.monotonic() + 60
    while not page.evaluate(ready) and time.monotonic() < end:
        page.wait_for_timeout(100)
    page.wait_for_timeout(1000)


def shoot(page: Page, name: str) -> None:
    path = IMAGES / f"view_{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as taken:
        taken.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
    print(path, path.stat().st_size)


def draw(work: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=SOFTWARE)
        with page_of(browser, work / "basic_unet") as page:
            shoot(page, "volume")
        with page_of(browser, work / "basic_unet", work / "tiny_unet", scheme="dark") as page:
            page.keyboard.press("d")
            settle(page)
            shoot(page, "compare")
        with page_of(browser, work / "lesions") as page:
            page.keyboard.press("e")
            page.wait_for_timeout(500)
            box = page.locator("#panes").bounding_box()
            assert box is not None
            page.evaluate("viewer.state.brush.size = 40")
            page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.3)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] * 0.66, box["y"] + box["height"] * 0.38, steps=8)
            page.mouse.up()
            shoot(page, "correct")
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        predict(Path(folder))
        draw(Path(folder))
