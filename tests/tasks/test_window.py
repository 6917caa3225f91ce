"""In what window a picture was made: wide ones are stretched, unplaceable ones refused, lung windows left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.data import MetaTensor
from PIL import Image
from skimage.exposure import equalize_adapthist

from pipelines.errors import IntensityError
from pipelines.readers import read_case
from pipelines.tasks.lung_ct.intensity import anchor_soft_tissue
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.transforms import ScaleCTd
from pipelines.tasks.lung_ct.window import judge_window

LUNG_WINDOWS = [(-1000, 400), (-1250, 250), (-950, 450), (-1200, 0), (-1024, 600)]
LIGHT_WINDOWS = [(-1400, 200), (-1500, 100)]  # lung windows that begin far below air
WIDE_WINDOWS = [(-1000, 1000), (-1024, 1500), (-1024, 3071)]
CLIPPED_WINDOWS = [(-160, 240), (-200, 300), (-500, 1300)]  # mediastinal, soft tissue, bone
EQUALISED = "contrast was equalised"
CLIPPED = "lungs are black.*mediastinal"
NEGATIVE = "a negative, with lungs light"


@pytest.fixture(scope="module")
def scan() -> np.ndarray:
    """Four slices of a phantom with lesions, in Hounsfield units."""
    return make_lung_phantom(3, extent=0.15).array[:, :, 8:16:2].astype(np.float32)


def windowed(scan: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    low, high = window
    return np.rint(np.clip((scan - low) / (high - low), 0, 1) * 255).astype(np.float32)


def scaled(grey: np.ndarray, **options: float) -> np.ndarray:
    image = MetaTensor(grey[None], meta={"intensity": "display", "filename_or_obj": "slice.png"})
    return np.asarray(ScaleCTd("image", **options)({"image": image})["image"])[0]


@pytest.mark.parametrize("window", LUNG_WINDOWS, ids=str)
def test_lung_windows_pass(scan: np.ndarray, window: tuple[float, float]) -> None:
    for z in range(scan.shape[2]):
        found = judge_window(windowed(scan[:, :, z : z + 1], window))
        assert (found.fault, found.note, found.wide) == (None, None, False)
    assert judge_window(windowed(scan, window)).fault is None


@pytest.mark.parametrize("window", LIGHT_WINDOWS, ids=str)
def test_a_lung_window_with_light_lungs_is_stretched_to_where_lungs_are_dark(
    scan: np.ndarray, window: tuple[float, float]
) -> None:
    grey = windowed(scan, window)
    found = judge_window(grey)
    assert (found.fault, found.doubtful, found.wide) == (None, False, False)
    assert "until lungs are dark" in str(found.note)
    placed, expected = scaled(grey), scaled(windowed(scan, (-1000, 400)))
    inside = (scan > -950) & (scan < 100)
    assert np.median(np.abs(placed - expected)[inside]) < 0.04
    lung = (scan > -900) & (scan < -800)
    assert np.median(np.abs(placed - expected)[lung]) < 0.05
    assert np.median(np.abs(anchor_soft_tissue(grey / 255) - expected)[lung]) > 0.15, "as it was before"


@pytest.mark.parametrize("window", WIDE_WINDOWS, ids=str)
def test_a_wide_window_is_stretched_to_where_a_lung_window_puts_its_greys(
    scan: np.ndarray, window: tuple[float, float]
) -> None:
    grey = windowed(scan, window)
    found = judge_window(grey)
    assert found.wide
    assert not found.doubtful
    assert "wide window" in str(found.note)
    placed, expected = scaled(grey), scaled(windowed(scan, (-1000, 400)))
    assert np.median(np.abs(placed - expected)) < 0.03
    lung = expected < 0.3
    assert abs(float(placed[lung].mean() - expected[lung].mean())) < 0.05


def test_a_wide_window_was_taken_for_lesion_before(scan: np.ndarray) -> None:
    """Soft tissue in the grey of ground glass is what made heart and chest wall lesion."""
    tissue = np.abs(scan - 40) < 60
    assert float(np.median(scaled(windowed(scan, (-1000, 1500)))[tissue])) == pytest.approx(0.74, abs=0.03)


@pytest.mark.parametrize("window", CLIPPED_WINDOWS, ids=str)
def test_windows_that_show_no_lung_are_refused(scan: np.ndarray, window: tuple[float, float]) -> None:
    with pytest.raises(IntensityError, match=f"slice.png: .*{CLIPPED}.*export the slice in a lung window") as caught:
        scaled(windowed(scan, window))
    assert caught.value.exit_code == 14


def test_any_window_takes_them_for_a_network_trained_on_such(scan: np.ndarray) -> None:
    assert scaled(windowed(scan, (-160, 240)), any_window=True).shape == scan.shape


def test_a_slice_cut_to_the_lungs_is_refused_too(scan: np.ndarray) -> None:
    columns, rows = (np.flatnonzero((scan[:, :, 0] > -500).any(axis=axis)) for axis in (1, 0))
    cut = windowed(scan, (-160, 240))[
        columns[len(columns) // 5] : columns[-len(columns) // 5], rows[len(rows) // 5] : rows[-len(rows) // 5]
    ]
    assert "lungs are black" in str(judge_window(cut[:, :, :1]).fault)


def test_what_cannot_be_judged_passes() -> None:
    assert judge_window(np.full((40, 40, 1), 25.0, np.float32)).tissue is None
    speck = np.zeros((100, 100, 3), np.float32)
    speck[:5, :5] = 200
    assert judge_window(speck) == judge_window(np.zeros((9, 9, 1)))


def test_a_wide_window_without_lungs_is_doubtful() -> None:
    """An abdomen in a wide window and in a soft-tissue window look alike."""
    x, y = np.mgrid[-60:60, -60:60]
    body = (x / 50) ** 2 + (y / 40) ** 2 < 1
    grey = np.where(body, 120 + np.random.default_rng(0).normal(0, 4, body.shape), 0).astype(np.float32)
    found = judge_window(grey[:, :, None])
    assert found.doubtful
    assert "no lung is in view" in str(found.note)


def test_too_few_greys_between_lung_and_tissue(scan: np.ndarray) -> None:
    assert "too wide" in str(judge_window(windowed(scan, (-2000, 8000))).fault)


@pytest.fixture(scope="module")
def chosen(shared_data: Path) -> dict[str, list[np.ndarray]]:
    """A few real pictures of each kind, (X, Y, 1)."""
    plain = ("001_10", "004_50", "006_10", "009_60")
    equalised = (
        "coronacases_002_0191",
        "coronacases_007_0783",
        "radiopaedia_10_85902_1_1251",
        "radiopaedia_36_86526_0_1502",
    )
    paths = {
        "lung": [shared_data / "lung_ct_lesions" / "images" / f"{name}.jpg" for name in (11, 3, 51, 23, 30, 67)],
        "plain": [shared_data / "covid_ct_seg/plain/images" / f"Data-1_coronacases_org_{name}.jpg" for name in plain],
        "equalised": [shared_data / "covid_ct_seg/equalised/images" / f"{name}.jpg" for name in equalised],
    }
    return {
        kind: [np.asarray(Image.open(p).convert("L")).T[:, :, None] for p in those] for kind, those in paths.items()
    }


def test_real_pictures_in_lung_windows_pass_as_they_are(chosen: dict[str, list[np.ndarray]]) -> None:
    for grey in chosen["lung"]:
        found = judge_window(grey)
        assert (found.fault, found.note, found.wide) == (None, None, False)


def test_real_pictures_in_lung_windows_are_seldom_taken_for_wider_ones(shared_data: Path) -> None:
    paths = sorted((shared_data / "lung_ct_lesions" / "images").glob("*.jpg"))
    greys = [np.asarray(Image.open(path).convert("L"), dtype=np.float32).T[:, :, None] for path in paths]
    assert sum(judge_window(grey).lung is not None for grey in greys) <= 1
    wider = [np.rint((grey / 255 * 1400 + 400) / 1600 * 255) for grey in greys]  # -1000..400 becomes -1400..200
    assert np.mean([judge_window(grey).lung is not None for grey in wider]) >= 0.9


def test_real_pictures_in_a_wide_window_are_stretched_and_said(chosen: dict[str, list[np.ndarray]]) -> None:
    for grey in chosen["plain"]:
        assert judge_window(grey).wide


def test_real_pictures_of_equalised_contrast_are_refused(chosen: dict[str, list[np.ndarray]]) -> None:
    for grey in chosen["equalised"]:
        assert EQUALISED in str(judge_window(grey).fault)
    again = equalize_adapthist(chosen["lung"][5][:, :, 0] / 255, clip_limit=0.03)
    assert EQUALISED in str(judge_window(255 * again[:, :, None]).fault)


def test_equalised_pictures_are_taken_as_they_are_where_a_network_knows_them(
    chosen: dict[str, list[np.ndarray]],
) -> None:
    for grey in chosen["equalised"]:
        found = judge_window(grey)
        assert found.equalised
        assert "taken as it is" in str(found.note)
        assert np.array_equal(scaled(grey.astype(np.float32), equalised=True), grey.astype(np.float32) / 255)
        with pytest.raises(IntensityError, match=EQUALISED):
            scaled(grey.astype(np.float32))
        with pytest.raises(IntensityError, match=NEGATIVE):
            scaled(255 - grey.astype(np.float32), equalised=True)


def test_the_soft_tissue_of_a_wide_window_goes_where_it_is_told(scan: np.ndarray) -> None:
    tissue = np.abs(scan - 40) < 60
    grey = windowed(scan, (-1000, 1500))
    assert float(np.median(scaled(grey, wide_tissue=0.5)[tissue])) == pytest.approx(0.5, abs=0.03)
    lung = windowed(scan, (-1000, 400))
    assert np.array_equal(scaled(lung, wide_tissue=0.5), scaled(lung))


def test_real_negatives_are_refused(chosen: dict[str, list[np.ndarray]]) -> None:
    for grey in chosen["plain"] + chosen["equalised"]:
        assert NEGATIVE in str(judge_window(255 - grey).fault)


@pytest.mark.parametrize(
    ("window", "fault"), [((-160, 240), CLIPPED), ((-1000, 400), None), ((-1350, 150), None)], ids=str
)
def test_a_real_scan_in_windows(shared_data: Path, window: tuple[float, float], fault: str | None) -> None:
    grey = windowed(read_case(shared_data / "ct_dicom" / "CT1_UNC").array, window)
    found = judge_window(grey)
    assert (found.fault is None) == (fault is None)
    assert NEGATIVE in str(judge_window(255 - grey).fault) or fault
