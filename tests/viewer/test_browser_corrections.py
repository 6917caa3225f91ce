"""Correcting in a browser: what is begun, painted, undone and saved, and what may not get lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_page import CHROMIUM, Page
from PIL import Image
from written_folders import refused_case, write_ct_case, write_manifest, write_skin_case

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the test extra)")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]
CLEAN = "viewer.state.brush && !viewer.state.brush.dirty"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A skin picture, its lesion in the upper right part."""
    out = tmp_path / "out"
    write_manifest(out, [write_skin_case(out, tmp_path / "images", "mole"), refused_case(tmp_path / "images")])
    return out


def saved(folder: Path) -> np.ndarray:
    with Image.open(folder / "corrected" / "mole_mask.png") as mask:
        return np.asarray(mask).copy()


def predicted(folder: Path) -> np.ndarray:
    with Image.open(folder / "mole_mask.png") as mask:
        return np.asarray(mask).copy()


def begin(page: Page, size: int = 3) -> None:
    page.press("e")
    page.until("viewer.state.brush")
    page.js(f"void (viewer.state.brush.size = {size})")


def painted(page: Page) -> np.ndarray:
    """The brush's mask as it is on the page, bool (40, 60)."""
    return np.array(page.js("Array.from(viewer.state.brush.mask)")).reshape(40, 60) == 1


def test_a_second_session_goes_on_from_the_first(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder)
    page.open("mole")
    before = predicted(folder)
    begin(page)
    page.stroke((0.4, 0.7), (0.45, 0.7))
    page.press("Control+s")
    page.said("saved: out/corrected/mole_mask.png")
    first = saved(folder)
    assert (first != before).sum() > 5
    page.press("Escape")
    page.until("!viewer.state.brush && viewer.state.first === '0-corrected'")

    begin(page)
    page.stroke((0.4, 0.85), (0.45, 0.85))
    page.press("Control+s")
    page.said("saved")
    second = saved(folder)
    assert (second[first == 1] == 1).all()
    assert (second != first).sum() > 5
    page.page.reload()
    page.until("window.viewer?.state.compared")

    event = "new KeyboardEvent('keydown', { key: 'e', code: 'KeyE', bubbles: true })"
    page.js(
        f"void [{event}, {event}].forEach((each) => document.body.dispatchEvent(each))"
    )  # twice at once: it begins once
    page.until("viewer.state.brush")
    page.page.wait_for_timeout(300)
    assert page.js("viewer.state.tool") == "paint"
    assert (painted(page) == (second == 1)).all()

    # Somebody else saves meanwhile: nothing is overwritten, and the next session begins with what is there.
    other = second.copy()
    other[38, 2] = 1
    Image.fromarray(other).save(folder / "corrected" / "mole_mask.png")
    page.stroke((0.55, 0.85), (0.6, 0.85))
    page.press("Control+s")
    page.said(str(folder))
    assert "saved elsewhere" in page.page.locator("#said").inner_text()
    page.faults.clear()  # the browser tells of a 409 too
    assert page.js("viewer.state.brush.dirty")
    page.press("Escape")
    page.until("!viewer.state.brush")
    begin(page)
    page.stroke((0.55, 0.85), (0.6, 0.85))
    page.press("Control+s")
    page.said("saved")
    assert saved(folder)[38, 2] == 1
    assert (saved(folder) != other).sum() > 5


def test_strokes_that_are_made_while_a_mask_is_saved(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder)
    page.open("mole")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route) if route.request.method == "POST" else route.continue_()

    def release() -> None:
        page.until("document.querySelector('#said').textContent === 'saving…'")
        page.page.wait_for_timeout(100)
        held.pop().continue_()

    page.page.route("**/masks/0-corrected", hold)
    begin(page)
    page.stroke((0.4, 0.7), (0.45, 0.7))
    page.press("Control+s")
    sent = painted(page)
    page.stroke((0.4, 0.85), (0.45, 0.85))
    release()
    page.said("saved")
    assert page.js("viewer.state.brush.dirty"), "the second stroke is not saved yet"
    assert page.page.locator("#save").is_enabled()
    assert ((saved(folder) == 1) == sent).all()
    assert painted(page).sum() > sent.sum()

    page.press("Control+s")
    page.stroke((0.6, 0.85), (0.65, 0.85))
    page.press("Control+s")  # goes after the one that is on its way
    release()
    for _ in range(100):
        if held:
            break
        page.page.wait_for_timeout(50)
    held.pop().continue_()
    page.until(CLEAN)
    page.said("saved")
    assert ((saved(folder) == 1) == painted(page)).all()


def test_the_brush(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder)
    page.open("mole")
    start = predicted(folder) == 1
    for size in (3, 6):
        begin(page, size)
        page.stroke((0.4, 0.7))
        changed = np.argwhere(painted(page) & ~start)
        assert (np.ptp(changed, axis=0) + 1).tolist() == [size, size]
        assert page.page.locator("#save").is_enabled()
        page.press("Control+z")
        assert page.js(CLEAN), "nothing is left that is not saved"
        assert page.page.locator("#save").is_disabled()
        page.press("e")
        page.until("!viewer.state.brush")

    begin(page, 1)
    left, right = page.js("[-30, 30].map((x) => x * viewer.stage.panes[0].scale)")
    box = page.page.locator("#panes").bounding_box()
    x0, x1 = ((box["width"] / 2 + side) / box["width"] for side in (left, right))
    within, without = (x0 + 0.02, x1 - 0.02), (x0 - 0.05, x1 + 0.05)
    outside = [(without[0], 0.7), (without[0], 0.95), (without[1], 0.95), (without[1], 0.8)]
    page.stroke((within[0], 0.7), *outside, (within[1], 0.8))
    drawn = painted(page) & ~start
    assert drawn[:, :10].any()
    assert drawn[:, -10:].any()
    assert not drawn[:, 10:-10].any(), "no line from where the stroke left to where it came back"


def test_what_is_painted_is_what_is_seen(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder)
    page.open("mole")
    begin(page)
    page.press("r")
    assert page.js("viewer.state.tool") == "ruler"
    page.press("r")
    assert page.js("viewer.state.tool") == "paint"
    page.press("r")
    page.press("Escape")
    assert page.js("viewer.state.tool") == "paint"
    before = painted(page).sum()
    page.press("h")
    assert page.js("viewer.state.style.values.get(1).shown") is False
    page.stroke((0.4, 0.7), (0.45, 0.7))
    assert page.js("viewer.state.style.values.get(1).shown") is True
    assert painted(page).sum() > before
    page.press("Control+s")
    page.said("saved")
    page.until("viewer.state.layers.length === 2")  # with the corrected one
    for label in ("First mask", "Second mask"):
        assert page.page.get_by_label(label).is_disabled()
    page.press("b")
    page.press("d")
    page.page.wait_for_timeout(200)
    assert page.js("viewer.stage.panes[0].mask === viewer.state.brush.mask && !viewer.state.difference")

    page.stroke((0.4, 0.85), (0.45, 0.85))
    page.answer = "dismiss"
    page.press("Escape")
    assert page.js("viewer.state.brush.dirty")
    page.press("n")
    assert page.js("viewer.state.number") == 0


def test_a_view_that_would_end_the_brush_asks_first(tmp_path: Path, view: Callable[..., Page]) -> None:
    out = tmp_path / "out"
    write_manifest(out, [write_ct_case(out, tmp_path / "images", "scan")])
    page = view(out)
    page.open("scan")
    begin(page)
    page.stroke((0.45, 0.4), (0.5, 0.4))
    page.js("void (viewer.stage.shows = (name) => name !== 'planes')")  # as of a large volume
    page.answer = "dismiss"
    page.press("m")
    assert page.js("[viewer.state.view, viewer.stage.panes[0].viewName]") == ["axial", "axial"]
    assert page.js("viewer.state.brush.dirty")


def test_where_a_mask_cannot_be_corrected_the_reason_is_said(tmp_path: Path, view: Callable[..., Page]) -> None:
    data = tmp_path / "data"
    write_skin_case(data, data / "images", "mole")
    item = {"case": "mole", "image": "images/mole.png", "label": "mole_mask.png"}
    (data / "datalist.json").write_text(json.dumps({"labels": {"1": "lesion"}, "training": [item]}))
    page = view(data)
    page.open("mole")
    reason = page.js("viewer.state.details.layers[0].reason")
    assert "predict" in reason
    assert page.page.locator("#correct").is_disabled()
    assert page.page.locator("#correct").get_attribute("title") == reason
    assert page.page.locator("#refusal").inner_text() == reason
    page.press("e")
    page.said(reason)
    assert not page.js("viewer.state.brush")


def test_of_two_folders_it_says_which_is_written(folder: Path, tmp_path: Path, view: Callable[..., Page]) -> None:
    other = tmp_path / "other"
    write_manifest(other, [write_skin_case(other, tmp_path / "images", "mole")])
    Image.fromarray(np.roll(predicted(other), 10, axis=0)).save(other / "mole_mask.png")
    page = view(folder, other)
    page.open("mole")
    page.press("b")
    page.press("b")
    page.until("viewer.state.split === 'second' && viewer.stage.panes.length === 1")
    begin(page)
    assert "other/corrected/" in page.page.locator("#saved-in").inner_text()
    page.said("correcting other: prediction; saved in other/corrected")
    assert (painted(page) == (predicted(other) == 1)).all()
    page.stroke((0.4, 0.85), (0.45, 0.85))
    due = painted(page)
    page.press("Control+s")
    page.said("saved: other/corrected/mole_mask.png")
    assert ((saved(other) == 1) == due).all()
    assert not (folder / "corrected").exists()
    page.press("Escape")
    page.until("viewer.state.first === '1-corrected' && !viewer.state.brush")

    page.page.reload()
    page.until("document.querySelector('[aria-label=\"First mask\"]')")
    titles = page.page.get_by_label("First mask").locator("option").all_inner_texts()
    assert titles == ["out: prediction", "other: prediction", "other: corrected"]
    page.page.get_by_label("Second mask").select_option("1-corrected")
    page.until("viewer.state.second === '1-corrected'")
    begin(page)
    page.said("correcting out: prediction; saved in out/corrected")


def test_a_small_window_reaches_everything(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder, viewport={"width": 768, "height": 1024})

    def hit(selector: str) -> bool:
        each = f"document.querySelector({json.dumps(selector)})"
        box = page.js(f"{each}.getBoundingClientRect()")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return page.js(f"{each}.contains(document.elementFromPoint({x}, {y}))")

    for size in ((768, 1024), (800, 600)):
        page.page.set_viewport_size({"width": size[0], "height": size[1]})
        page.until("document.querySelector('#correct')")
        assert hit("#correct")
        page.page.locator("#correct").click()
        page.until("viewer.state.brush")
        page.stroke((0.4, 0.7), (0.45, 0.7))
        for selector in ("#save", "#undo", "[data-brush='0']", "#correct", "#panes", "#show-list"):
            assert hit(selector), (size, selector)
        assert page.page.locator("#panes").bounding_box()["height"] > 200
        page.press("Control+z")
        for number in (1, 0):
            page.page.locator("#show-list").click()
            assert hit(f".case[data-number='{number}']")
            assert hit("#search")
            assert page.page.locator("#list").bounding_box()["height"] > 200
            page.page.locator(f".case[data-number='{number}']").click()
            page.until(
                f"viewer.state.details?.number === {number} && document.querySelector('#said').textContent === ''"
            )
            assert not page.page.locator("#cases").is_visible(), "the list gives way to the case"
