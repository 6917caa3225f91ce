"""What ``data prepare chest_xray`` does with pictures that are no X-ray as it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipelines.__main__ import main
from pipelines.errors import IntensityError, PipelinesError, UnsupportedImageError
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.tasks.chest_xray.prepare import prepare_chest_xray
from pipelines.tasks.chest_xray.source import XRAY_CLASSES

PLANE = make_chest_xray_phantom(7, 64, pneumonia=False).picture
CASE = "IM-0002-0001"


def save(plane: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(np.ascontiguousarray(plane)).save(path)


def put(xrays: Path, write: Callable[[Path], None], suffix: str = ".png") -> Path:
    """Puts another picture in the place of a normal one."""
    old = xrays / f"train/NORMAL/{CASE}.jpeg"
    old.unlink()
    write(old.with_suffix(suffix))
    return old.with_suffix(suffix)


def stored(out: Path) -> dict[str, Path]:
    content = load_datalist(out, verify=True, classes=XRAY_CLASSES)
    return {item["case"]: Path(item["image"]) for section in SECTIONS for item in content[section]}


@pytest.mark.parametrize(
    ("plane", "suffix", "kind", "words"),
    [
        (255 - PLANE, ".png", IntensityError, "looks like a negative"),
        (255 - PLANE, ".jpeg", IntensityError, "looks like a negative"),
        ((PLANE > 128).astype(np.uint8), ".png", IntensityError, "0 or 1 and nothing else"),
        ((PLANE > 128).astype(np.uint8) * 255, ".png", IntensityError, "has 2 grey levels"),
        (PLANE // 20, ".png", IntensityError, "grey levels"),
        ((PLANE / 127.5 - 1).astype(np.float32), ".tif", IntensityError, "not within 0 to 255"),
        (PLANE.astype(np.uint16) * 16, ".png", IntensityError, "16-bit"),
        (np.tile(PLANE[:30], (1, 4)), ".png", UnsupportedImageError, "is a strip"),
        (np.dstack([PLANE, PLANE, PLANE, PLANE]), ".png", UnsupportedImageError, "transparent"),
        (np.dstack([PLANE, PLANE // 2, PLANE // 3]), ".png", UnsupportedImageError, "in colour"),
        (PLANE[:10, :10], ".png", UnsupportedImageError, "too small"),
    ],
)
def test_a_fault_names_its_picture_and_one_that_is_skipped_is_reported(
    xrays: Path, tmp_path: Path, plane: np.ndarray, suffix: str, kind: type[PipelinesError], words: str
) -> None:
    path = put(xrays, save(plane), suffix)
    with pytest.raises(kind, match=words) as caught:
        prepare_chest_xray(xrays, tmp_path / "out")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()
    prepared = prepare_chest_xray(xrays, tmp_path / "out", skip_bad=True)
    assert len(prepared.left_out) == 1
    assert CASE not in stored(tmp_path / "out")
    assert words in (tmp_path / "out" / "report.md").read_text()


def test_the_command_says_so_in_one_line(xrays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(xrays, save(255 - PLANE))
    words = ["data", "prepare", "chest_xray", "--raw", str(xrays), "--out", str(tmp_path / "out")]
    assert main(words) == IntensityError.exit_code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert f"{CASE}.png: the picture looks like a negative" in message


@pytest.mark.parametrize("kind", ["P", "CMYK", "RGBA", "fractions", "white is zero"])
def test_odd_but_clear_pictures_are_stored_as_what_they_show(xrays: Path, tmp_path: Path, kind: str) -> None:
    picture = Image.fromarray((PLANE / 255).astype(np.float32)) if kind == "fractions" else Image.fromarray(PLANE)
    if kind == "white is zero":
        put(xrays, lambda path: tifffile.imwrite(path, 255 - PLANE, photometric="miniswhite"), ".tif")
    else:
        picture = picture if kind == "fractions" else picture.convert(kind)
        put(xrays, picture.save, ".png" if kind == "P" else ".tif")
    prepare_chest_xray(xrays, tmp_path / "out")
    opened = Image.open(stored(tmp_path / "out")[CASE])
    assert opened.mode == "L"
    np.testing.assert_array_equal(np.asarray(opened), PLANE)


def test_a_chest_on_its_side_is_kept_and_the_report_says_look_at_it(xrays: Path, tmp_path: Path) -> None:
    path = put(xrays, lambda path: Image.fromarray(np.ascontiguousarray(np.rot90(PLANE))).save(path), ".jpeg")
    data = path.read_bytes()
    prepare_chest_xray(xrays, tmp_path / "out")
    assert stored(tmp_path / "out")[CASE].read_bytes() == data
    report = (tmp_path / "out" / "report.md").read_text()
    assert "does not look like an upright frontal chest X-ray; look at it" in report


def test_a_negative_among_arrays_is_refused(tmp_path: Path) -> None:
    planes = np.stack([make_chest_xray_phantom(seed, 32, seed % 2 == 1).picture for seed in range(12)])
    planes[5] = 255 - planes[5]
    labels = np.arange(12, dtype=np.uint8)[:, None] % 2
    np.savez(tmp_path / "a.npz", train_images=planes, train_labels=labels)
    with pytest.raises(IntensityError, match=r"train_images\[5\].*looks like a negative"):
        prepare_chest_xray(tmp_path / "a.npz", tmp_path / "out")
