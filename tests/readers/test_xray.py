"""Chest X-rays: what is accepted comes out as grey 0..255, upright, air dark; and what they are told apart by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from xray_pictures import chest, clouds

from pipelines.errors import IntensityError, PipelinesError, UnsupportedImageError
from pipelines.readers import LIKE_A_SLICE, NOT_FRONTAL, judge_xray, read_xray
from pipelines.tasks.lung_ct.phantom import make_lung_phantom


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return chest()


def test_columns_come_first_and_nothing_is_noted(tmp_path: Path, plane: np.ndarray) -> None:
    Image.fromarray(plane).save(tmp_path / "a.png")
    read = read_xray(str(tmp_path / "a.png"))
    assert (read.array.shape, read.array.dtype) == ((90, 120), np.float32)
    np.testing.assert_array_equal(read.array.T, plane)
    assert (read.path, read.notes, read.frontal) == (tmp_path / "a.png", (), True)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_stored_rotation_is_undone(tmp_path: Path, plane: np.ndarray, orientation: int) -> None:
    stored = {
        2: plane[:, ::-1],
        3: plane[::-1, ::-1],
        4: plane[::-1],
        5: plane.T,
        6: np.rot90(plane),
        7: plane[::-1, ::-1].T,
        8: np.rot90(plane, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    read = read_xray(tmp_path / "a.png")
    np.testing.assert_array_equal(read.array.T, plane)
    assert read.notes == ("turned upright as its EXIF orientation says",)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_grey_in_other_pixels_is_grey(tmp_path: Path, plane: np.ndarray, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(plane).convert(mode).save(path)
    read = read_xray(path)
    np.testing.assert_array_equal(read.array.T, plane)
    assert read.notes


@pytest.mark.parametrize("top", [1.0, 0.8])
def test_fractions_from_0_to_1_are_scaled(tmp_path: Path, plane: np.ndarray, top: float) -> None:
    Image.fromarray((plane / 255 * top).astype(np.float32)).save(tmp_path / "a.tif")
    read = read_xray(tmp_path / "a.tif")
    np.testing.assert_allclose(read.array.T, plane * top, atol=1e-3)
    assert read.notes == ("values from 0 to 1 were scaled to 0..255",)


@pytest.mark.parametrize(("factor", "note"), [(257, "divided by 257"), (1, "taken as 8-bit")])
def test_16_bits_of_a_known_scale(tmp_path: Path, plane: np.ndarray, factor: int, note: str) -> None:
    Image.fromarray(plane.astype(np.uint16) * factor).save(tmp_path / "a.png")
    read = read_xray(tmp_path / "a.png")
    np.testing.assert_allclose(read.array.T, plane, atol=1e-3)
    assert note in read.notes[0]


def test_a_tiff_that_says_white_is_zero_is_shown_as_it_says(tmp_path: Path, plane: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", 255 - plane, photometric="miniswhite")
    np.testing.assert_array_equal(read_xray(tmp_path / "a.tif").array.T, plane)


@pytest.mark.parametrize("grey", [0, 255])
def test_an_even_border_changes_nothing(plane: np.ndarray, grey: int) -> None:
    for border in ((20, 20), (0, 40), (30, 0)):
        sides = [(border[0], border[0]), (border[1], border[1])]
        assert judge_xray(np.pad(plane, sides, constant_values=grey).T, "a") == ()
        with pytest.raises(IntensityError, match="looks like a negative"):
            judge_xray(np.pad(255 - plane, sides, constant_values=grey).T, "a")


@pytest.mark.parametrize("gamma", [0.4, 2.5])
def test_another_exposure_is_no_negative(plane: np.ndarray, gamma: float) -> None:
    assert judge_xray(255 * (plane.T / 255) ** gamma, "a") == ()
    with pytest.raises(IntensityError, match="looks like a negative"):
        judge_xray(255 - 255 * (plane.T / 255) ** gamma, "a")


@pytest.mark.parametrize("pneumonia", [False, True])
def test_phantoms_of_every_size_are_chests_and_their_negatives_are_refused(pneumonia: bool) -> None:
    for seed, size in enumerate((32, 48, 64, 160, 300)):
        drawn = chest(seed, (size, size), pneumonia)
        assert judge_xray(drawn.T, "a") == ()
        with pytest.raises(IntensityError, match="looks like a negative"):
            judge_xray(255 - drawn.T, "a")


@pytest.mark.parametrize("kind", ["clouds", "on its left", "on its right", "negative on its side"])
def test_what_may_be_no_chest_from_the_front_is_let_through_with_a_doubt(
    tmp_path: Path, plane: np.ndarray, kind: str
) -> None:
    pictures = {
        "clouds": clouds(),
        "on its left": np.rot90(plane),
        "on its right": np.rot90(plane, -1),
        "negative on its side": 255 - np.rot90(plane),
    }
    Image.fromarray(np.ascontiguousarray(pictures[kind])).save(tmp_path / "a.png")
    read = read_xray(tmp_path / "a.png")
    assert (read.frontal, read.doubts) == (False, (NOT_FRONTAL,))
    assert read.notes == ()


def judged(plane: np.ndarray) -> str:
    try:
        return "doubt" if judge_xray(plane, "a") else "chest"
    except PipelinesError as error:
        return "negative" if "negative" in str(error) else str(error)


@pytest.mark.thorough
@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_no_real_picture_is_refused_and_every_negative_is(shared_data: Path, every: int) -> None:
    paths = sorted((shared_data / "chest_xray").rglob("*.jpeg"))[::every]
    assert len(paths) > 5000 / every
    counts: dict[tuple[str, str], int] = {}
    for path in paths:
        read = read_xray(path)
        turned = {"as it is": read.array, "negative": 255 - read.array, "on its side": np.rot90(read.array)}
        turned["upside down"] = np.rot90(read.array, 2)
        for name, plane in turned.items():
            found = judged(plane)
            counts[name, found] = counts.get((name, found), 0) + 1
    assert counts["as it is", "chest"] >= 0.997 * len(paths)
    assert ("as it is", "negative") not in counts
    assert counts["upside down", "doubt"] >= 0.9 * len(paths)
    assert counts["negative", "negative"] == len(paths)
    assert counts["on its side", "doubt"] == len(paths)


@pytest.mark.parametrize("window", [(-1000, 400), (-160, 240), (-500, 1300)])
def test_a_slice_of_a_ct_is_called_one_and_never_passes(window: tuple[int, int]) -> None:
    """It is like the negative of an X-ray, and inverted like an X-ray."""
    low, high = window
    scan = make_lung_phantom(1, size=160, slices=7).array
    shown = np.clip(255.0 * (scan[:, :, 3] - low) / (high - low), 0, 255).astype(np.float32)
    for plane in (shown, 255 - shown):
        for turned in (plane, np.rot90(plane), np.rot90(plane, 2)):
            assert slice_or_not(turned) == "slice"


def test_what_looks_like_a_negative_and_has_the_edges_of_a_slice_is_told_of_both(plane: np.ndarray) -> None:
    edges = 255 - np.where(plane.T > 120, 200.0, 40.0) - np.arange(120) / 12
    with pytest.raises(UnsupportedImageError, match=r"looks like a slice of a CT .* or like a negative; .* invert it"):
        judge_xray(edges, "a")
    assert judge_xray(255 - edges, "a") == (LIKE_A_SLICE,), "inverted it does not pass"


def slice_or_not(plane: np.ndarray) -> str:
    try:
        return "slice" if judge_xray(plane, "a") == (LIKE_A_SLICE,) else "other"
    except UnsupportedImageError:
        return "slice"
    except IntensityError:
        return "other"


@pytest.mark.thorough
@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_real_slices_are_told_from_real_xrays(shared_data: Path, every: int) -> None:
    kinds = {  # the least and the most that look like slices
        "chest_xray/train/*/*.jpeg": (0.0, 0.005),
        "chest_xray_lungs/adults/images/*": (0.0, 0.005),
        "lung_ct_lesions/images/*": (0.9, 1.0),
        "covid_ct_seg/plain/images/*": (0.99, 1.0),
        "covid_ct_seg/equalised/images/*": (0.98, 1.0),
    }
    for kind, (least, most) in kinds.items():
        paths = sorted(shared_data.glob(kind))
        paths = paths[:: every if len(paths) > 100 else 1]
        assert paths, kind
        for negative in (False, True):
            greys = [np.asarray(Image.open(path).convert("L"), dtype=np.float32).T for path in paths]
            found = [slice_or_not(255 - grey if negative else grey) == "slice" for grey in greys]
            assert least <= np.mean(found) <= most, kind


def test_a_picture_upside_down_is_in_doubt(plane: np.ndarray) -> None:
    upright = plane.T.astype(np.float32)
    assert judge_xray(upright, "a.png") == ()
    assert judge_xray(upright[::-1, ::-1], "a.png") == (NOT_FRONTAL,)
    assert judge_xray(upright[::-1], "a.png") == (), "left and right are not told apart"
