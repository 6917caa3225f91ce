"""The page in a browser without a window: what is drawn, what the switches do, where a stroke of the brush lands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from browser_page import CHROMIUM, Page
from PIL import Image
from written_folders import SHAPE, ct_volume, refused_case, write_ct_case, write_manifest, write_skin_case

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (the test extra)")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]
BLUE, ORANGE = (86, 180, 233), (230, 159, 0)
YELLOW, VERMILION = (240, 228, 66), (213, 94, 0)


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
    page.page.get_by_label("First mask").select_option(label="corrected")
    page.until("viewer.state.first === '0-corrected' && document.querySelector('#said').textContent === ''")
    shown = page.js("viewer.stage.mask('masks/0-corrected').then((mask) => Array.from(mask))")
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
    assert "predicted from 0.900" in page.page.locator("#panel").inner_text()
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


def test_zoom_by_key_and_button_leaves_the_volume_where_it_is(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder)
    page.open("scan")
    for name in ("a", "m"):
        page.press(name)
        page.press("+")
        page.page.get_by_role("button", name="+", exact=True).click()
        assert page.js("viewer.stage.panes[0].place.pan[3]") == pytest.approx(1.69)
        assert page.like(BLUE).sum() > 200
        page.press("-")
        page.page.get_by_role("button", name="−", exact=True).click()
        assert page.js("viewer.stage.panes[0].place.pan") == pytest.approx([0, 0, 0, 1], abs=1e-4)
        page.stroke((0.5, 0.5))
        assert "NaN" not in page.page.locator("#place").inner_text()


def test_keys_of_other_keyboards_and_the_focus(folder: Path, view: Callable[..., Page]) -> None:
    page = view(folder)
    page.open("scan")

    def typed(key: str, code: str, **more: bool) -> None:
        event = json.dumps({"key": key, "code": code, "bubbles": True, "cancelable": True, **more})
        page.js(f"void document.body.dispatchEvent(new KeyboardEvent('keydown', {event}))")

    typed("2", "Digit2", shiftKey=True)  # French
    page.until('viewer.state.windowName === "mediastinum"')
    typed("C", "KeyC")  # Caps Lock
    assert page.js("viewer.state.view") == "coronal"
    typed("!", "Digit1", shiftKey=True)  # American, German
    assert page.js("viewer.state.style.values.get(1).shown") is False
    typed("!", "Digit1", shiftKey=True)
    page.press("e")
    page.until("viewer.state.brush")
    typed("]", "Digit9", ctrlKey=True, altKey=True, modifierAltGraph=True)  # German
    assert page.js("viewer.state.brush.size") == 7
    page.press("e")
    typed("/", "Digit7", shiftKey=True)  # German
    assert page.js("document.activeElement.id") == "search"

    page.page.keyboard.type("sc")
    page.stroke((0.5, 0.5))
    page.press("s")
    assert page.js("viewer.state.view") == "sagittal"
    assert page.page.locator("#search").input_value() == "sc"
    page.page.get_by_role("button", name="Ruler").focus()
    page.press("Enter")
    assert page.js("viewer.state.tool") == "ruler"
    assert page.js("document.activeElement.textContent") == "Ruler"
    page.page.locator("input[data-value='2']").focus()
    page.press("Space")
    assert page.js("viewer.state.style.values.get(2).shown") is False
    assert page.js("document.activeElement.dataset.value") == "2"
