"""The page in a browser without a window: what is drawn, what the switches do, where a stroke of the brush lands."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from written_folders import SHAPE, ct_volume, refused_case, write_ct_case, write_manifest, write_skin_case

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the test extra)")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]
WEBGL_BY_SOFTWARE = [
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
BLUE, ORANGE = (86, 180, 233), (230, 159, 0)
YELLOW, VERMILION = (240, 228, 66), (213, 94, 0)


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
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(address)
        self.until("document.querySelectorAll('.case').length > 0")

    def js(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def until(self, expression: str, seconds: float = 30) -> None:
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

    def corner(self) -> tuple[float, float]:
        box = self.page.locator("#panes").bounding_box()
        return box["x"], box["y"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
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
        context = browser.new_context(viewport={"width": 1280, "height": 720}, **options)

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


def write_xray_case(folder: Path, images: Path, name: str) -> dict:
    """A grey picture with what a classifier said of it, and its overlay: beside it the same with a red patch."""
    images.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    grey = np.tile(np.linspace(20, 220, 80).astype(np.uint8), (64, 1))
    Image.fromarray(grey).save(images / f"{name}.png")
    overlay = np.repeat(np.concatenate([grey, grey], axis=1)[:, :, None], 3, axis=2)
    overlay[20:40, 100:130] = 255, 0, 0
    Image.fromarray(overlay).save(folder / f"{name}_overlay.png")
    report = {
        "kind": "picture",
        "size_px": {"width": 80, "height": 64},
        "class": "normal",
        "probabilities": {"normal": 0.2, "pneumonia": 0.8},
        "operating_point": {"positive": "pneumonia", "threshold": 0.9},
    }
    (folder / f"{name}_report.json").write_text(json.dumps(report))
    paths = {"input": str(images / f"{name}.png"), "report": str(folder / f"{name}_report.json")}
    return {**paths, "status": "done"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A volume with its axes turned, a skin picture, an X-ray and a refused case."""
    out, images = tmp_path / "out", tmp_path / "images"
    entries = [
        write_ct_case(out, images, "scan", "AIL"),
        write_skin_case(out, images, "mole"),
        write_xray_case(out, images, "chest"),
        refused_case(images),
    ]
    write_manifest(out, entries)
    return out


def test_a_volume_its_labels_and_its_curve(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder)
    page.open("scan")
    assert page.js("viewer.stage.panes[0].voxel[2]") == 9, "the slice with the most lesion"
    assert page.page.get_by_role("img", name="volume scan").count() == 1
    assert page.like(BLUE).sum() > 200
    assert page.like(ORANGE).sum() > 50
    page.page.locator("input[data-value='2']").uncheck()
    assert page.like(ORANGE).sum() == 0
    assert page.like(BLUE).sum() > 200
    page.page.locator("input[data-value='2']").check()
    assert page.like(ORANGE).sum() > 50
    page.press("h")
    assert page.like(BLUE).sum() == page.like(ORANGE).sum() == 0
    page.press("h")

    box = page.page.locator("#curve svg").bounding_box()
    page.page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    z = page.js("viewer.stage.panes[0].voxel[2]")
    assert z == int((0.9 * 1000 - 46) / (1000 - 46) * SHAPE[2])
    assert f"slice {z + 1} of 16 (file's index {SHAPE[2] - 1 - z})" in page.page.locator("#place").inner_text()
    assert page.like(ORANGE).sum() == 0
    page.press("Home")
    assert page.like(ORANGE).sum() > 50

    page.press("r")
    left, top = page.corner()
    page.page.mouse.move(left + 330, top + 200)
    page.page.mouse.down()
    page.page.mouse.move(left + 430, top + 200, steps=3)
    page.page.mouse.up()
    first, last = page.js("[330, 430].map((x) => viewer.stage.panes[0].at(x, 200).mm[0])")
    assert page.js("viewer.stage.surfaces[0].length") == f"{first - last:.1f} mm"
    page.press("r")

    page.press("o")  # filled: the middle of what is orange is lesion in the file too, so that nothing is mirrored
    ys, xs = np.nonzero(page.like(ORANGE, 90) & ~page.like(BLUE, 40))
    x, y, z = page.js(f"viewer.stage.panes[0].at({xs.mean()}, {ys.mean()}).voxel")
    assert ct_volume()[1][x, y, z] == 2
    assert xs.mean() < page.pixels().shape[1] / 2, "the patient's right is at the left"
    dark = page.pixels().mean()
    page.press("2")
    assert page.pixels().mean() != dark, "another window"
    for key, view_name in (("c", "coronal"), ("s", "sagittal"), ("m", "planes"), ("v", "solid"), ("a", "axial")):
        page.press(key)
        assert page.js("viewer.stage.panes[0].viewName") == view_name
        assert page.pixels().std() > 5


def test_a_stroke_is_saved_where_it_was_painted(folder: Path, view: Callable[..., Page]) -> None:
    before = (folder / "scan_mask.nii.gz").read_bytes()
    page = view(folder)
    page.open("scan")
    page.press("e")
    page.until("viewer.state.brush")
    page.js("viewer.state.brush.size = 1")
    left, top = page.corner()
    box = page.page.locator("#panes").bounding_box()
    start = (box["width"] * 0.45, box["height"] * 0.4)
    first = page.js(f"viewer.stage.panes[0].at({start[0]}, {start[1]}).voxel")
    last = page.js(f"viewer.stage.panes[0].at({start[0] + 60}, {start[1]}).voxel")
    page.page.mouse.move(left + start[0], top + start[1])
    page.page.mouse.down()
    page.page.mouse.move(left + start[0] + 60, top + start[1], steps=6)
    page.page.mouse.up()
    due = ct_volume()[1]
    due[last[0] : first[0] + 1, first[1], first[2]] = 2
    assert last[0] < first[0], "from the patient's right to the left"
    page.press("w")
    page.press("w")
    page.page.mouse.click(left + start[0], top + start[1])  # the eraser takes one away again
    page.press("Control+z")  # and the way back gives it
    page.press("Control+s")
    page.until("document.querySelector('#said').textContent.startsWith('saved')")
    saved, predicted = nib.load(folder / "corrected" / "scan_mask.nii.gz"), nib.load(folder / "scan_mask.nii.gz")
    assert np.array_equal(saved.affine, predicted.affine)
    assert np.array_equal(np.asarray(nib.as_closest_canonical(saved).dataobj), due)
    assert (folder / "scan_mask.nii.gz").read_bytes() == before
    page.press("Escape")
    page.page.reload()
    page.until("window.viewer?.state.compared")
    assert "corrected" in page.page.locator(".case[data-number='0']").inner_text()
    page.page.get_by_label("First mask").select_option("corrected")
    page.until("viewer.state.first === 'corrected' && document.querySelector('#said').textContent === ''")
    shown = page.js("viewer.stage.mask('masks/corrected').then((mask) => Array.from(mask))")
    assert np.array_equal(np.array(shown, np.uint8).reshape(SHAPE, order="F"), due)


def test_pictures_and_a_refusal(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder, color_scheme="dark", has_touch=True)
    page.open("mole")
    assert page.like(BLUE).sum() > 100
    page.page.locator("input[data-value='1']").uncheck()
    assert page.like(BLUE).sum() == 0
    page.page.locator("input[data-value='1']").check()
    page.press("e")
    page.until("viewer.state.brush")
    page.js("viewer.state.brush.size = 1")
    left, top = page.corner()
    place = page.js(
        "[0.31, 0.8].map((part, axis) => part * viewer.stage.panes[0].canvas[axis ? 'clientHeight' : 'clientWidth'])"
    )
    column, row, _ = page.js(f"viewer.stage.panes[0].at({place[0]}, {place[1]}).voxel")
    page.page.touchscreen.tap(left + place[0], top + place[1])
    page.press("Control+s")
    page.until("document.querySelector('#said').textContent.startsWith('saved')")
    with Image.open(folder / "corrected" / "mole_mask.png") as saved, Image.open(folder / "mole_mask.png") as predicted:
        assert np.argwhere(np.asarray(saved) != np.asarray(predicted)).tolist() == [[row, column]]
    page.press("Escape")

    page.open("chest")
    assert "said from 0.900" in page.page.locator("#panel").inner_text()
    assert page.page.locator(".limit").count() == 1
    assert page.like((255, 0, 0)).sum() == 0
    page.page.locator("#overlay").click()
    page.until("viewer.stage.panes[0].instead")
    assert page.like((255, 0, 0)).sum() > 100
    page.page.locator("#overlay").click()
    assert page.like((255, 0, 0)).sum() == 0

    page.page.locator(".case[data-status='refused']").click()
    page.until("document.querySelector('.nothing')")
    assert "copy it again" in page.page.locator(".nothing").inner_text()

    page.press("?")
    assert page.page.locator("#help").is_visible()
    page.press("Escape")
    page.page.locator("#search").fill("mole")
    assert page.page.locator(".case").count() == 1


def test_two_folders_side_by_side(folder: Path, tmp_path: Path, view: Callable[..., Page]) -> None:
    other = tmp_path / "other"
    write_manifest(other, [write_ct_case(other, tmp_path / "images", "scan", "AIL")])
    stored = nib.load(other / "scan_mask.nii.gz")
    label = np.asarray(stored.dataobj).copy()
    _, due = ct_volume()
    turned = nib.as_closest_canonical(stored)
    half = np.asarray(turned.dataobj).copy()
    half[15:17][half[15:17] == 2] = 1
    assert (half == 2).sum() == 24
    back = nib.orientations.ornt_transform(nib.io_orientation(turned.affine), nib.io_orientation(stored.affine))
    nib.save(
        nib.Nifti1Image(nib.apply_orientation(half, back).astype(np.uint8), stored.affine), other / "scan_mask.nii.gz"
    )
    assert label.shape == stored.shape
    assert (due == 2).sum() == 48

    page = view(folder, other)
    page.open("scan")
    assert page.js("viewer.stage.panes.length") == 2
    rows = page.page.locator("#agreement tbody tr")
    assert rows.nth(1).inner_text().split("\t")[:2] == ["lesion", f"{2 * 24 / 72:.3f}"]
    page.press("d")
    page.until("viewer.state.difference && document.querySelector('#said').textContent === ''")
    assert page.like(YELLOW, 110).sum() > 50
    assert page.like(VERMILION, 90).sum() > 50
    left, top = page.corner()
    width = page.page.locator("#panes").bounding_box()["width"]
    page.page.mouse.move(left + width * 0.75, top + 200)
    page.page.mouse.wheel(0, -100)
    page.until("viewer.stage.panes.every((pane) => pane.voxel[2] === 10)")
    page.page.keyboard.down("Control")
    page.page.mouse.wheel(0, -100)
    page.page.keyboard.up("Control")
    page.page.wait_for_timeout(100)
    zooms = page.js("viewer.stage.panes.map((pane) => pane.place.pan[3])")
    assert zooms == [pytest.approx(1.15)] * 2


def test_a_second_mask_of_another_grid_leaves_the_first(
    folder: Path, tmp_path: Path, view: Callable[..., Page]
) -> None:
    other = tmp_path / "other"
    write_manifest(other, [write_ct_case(other, tmp_path / "images2", "scan")])
    stored = nib.load(other / "scan_mask.nii.gz")
    nib.save(stored.slicer[:, :, 1:], other / "scan_mask.nii.gz")
    page = view(folder, other)
    page.until("document.querySelector('#said').textContent.includes('resample the label')")
    page.faults.clear()  # the answer was no success, and the browser tells that too
    assert page.js("viewer.stage.panes.length") == 1
    assert page.like(ORANGE).sum() > 50


def test_a_large_volume_is_seen_slice_by_slice(tmp_path: Path, view: Callable[..., Page]) -> None:
    """One whose textures would take minutes by software is drawn from its voxels, at the same place and way round."""
    out, images = tmp_path / "out", tmp_path / "images"
    write_manifest(out, [write_ct_case(out, images, "scan", "LPS")])
    for path in (images / "scan.nii.gz", out / "scan_mask.nii.gz"):
        small = nib.load(path)
        large = np.asarray(small.dataobj).repeat(10, 0).repeat(10, 1).repeat(11, 2)
        affine = small.affine @ np.diag([1 / 10, 1 / 10, 1 / 11, 1])
        nib.save(nib.Nifti1Image(large, affine), path)
    page = view(out)
    page.open("scan")
    assert page.js("viewer.stage.panes[0].constructor.name") == "Slices"
    assert page.like(BLUE).sum() > 200
    page.press("o")
    ys, xs = np.nonzero(page.like(ORANGE, 90) & ~page.like(BLUE, 40))
    x, y, z = page.js(f"viewer.stage.panes[0].at({xs.mean()}, {ys.mean()}).voxel")
    assert ct_volume()[1][x // 10, y // 10, z // 11] == 2
    assert xs.mean() < page.pixels().shape[1] / 2, "the patient's right is at the left"
    page.js(f"viewer.stage.goTo([{x}, {y}, {z}])")
    for key in ("c", "s", "a"):
        page.press(key)
        ys, xs = np.nonzero(page.like(ORANGE, 90) & ~page.like(BLUE, 40))
        x, y, z = page.js(f"viewer.stage.panes[0].at({xs.mean()}, {ys.mean()}).voxel")
        assert ct_volume()[1][x // 10, y // 10, z // 11] == 2, key


def test_another_case_may_be_opened_before_the_first_is_there(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder)
    for _ in range(4):
        for name in ("scan", "mole", "chest"):
            page.page.locator(".case", has=page.page.get_by_text(name, exact=True)).click()
    page.open("scan")
    for _ in range(6):
        page.page.keyboard.press("v")
        page.page.keyboard.press("a")
    assert page.like(ORANGE).sum() > 50
