"""What `predict` answers on CT pictures in other windows than the lung's.

    python benchmarks/ct_windows.py DATA [--every 3]

DATA holds `covid_ct_seg/` (`slices.csv`, `plain/`, `equalised/`), `lung_ct_lesions/images/` and `ct_dicom/` (real data;
a part that is missing is left out). The limits of `tasks/lung_ct/window.py` were fitted to the patients of the
rows "first"; those of "others" (of `lung_ct_lesions`, whose patients are unknown, every other picture) had been looked
at too, as percentiles of all. What is made here of pictures in lung windows is made from their greys: soft tissue is
taken to be at 40 HU of -1000..400. Phantoms and real DICOM slices are windowed from Hounsfield units.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.exposure import equalize_adapthist, equalize_hist

from pipelines.readers import read_case
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.window import judge_window

LOOKED_AT = {"coronacases_001", "coronacases_004", "coronacases_005", "radiopaedia_10"}
ANSWERS = ("passed", "stretched", "doubtful", "clipped", "equalised", "negative", "other fault")
HU_WINDOWS = {
    "lung": [(-1000, 400), (-1350, 150), (-1250, 250), (-1400, 200), (-1200, 0), (-1024, 600)],
    "wide": [(-1000, 1000), (-1024, 1500), (-1024, 3071)],
    "mediastinal": [(-160, 240), (-125, 225), (-200, 300)],
    "bone": [(-500, 1300)],
    "negative": [(400, -1000), (150, -1350)],
}
MADE: dict[str, Callable[[NDArray], NDArray]] = {  # of greys 0..1
    "as they are": lambda x: x,
    "negative": lambda x: 1 - x,
    "wide window": lambda x: 0.55 * x,
    "mediastinal window": lambda x: (x - 0.6) / 0.2857,
    "bone window": lambda x: (1400 * x - 500) / 1800,
    "CLAHE, clip limit 0.01": lambda x: equalize_adapthist(x, clip_limit=0.01),
    "CLAHE, clip limit 0.03": lambda x: equalize_adapthist(x, clip_limit=0.03),
    "histogram equalised": equalize_hist,
    "gamma 0.5": np.sqrt,
    "gamma 2": np.square,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=3, help="of covid_ct_seg's slices")
    args = parser.parse_args()
    print(f"| pictures | number | {' | '.join(ANSWERS)} |\n|---|---:|{'---:|' * len(ANSWERS)}")
    counts: dict[str, Counter[str]] = {}
    for name, grey in pictures(args.data, args.every):
        counts.setdefault(name, Counter())[answer(grey)] += 1
    for name in sorted(counts):
        number = sum(counts[name].values())
        print(f"| {name} | {number} | {' | '.join(str(counts[name][each]) for each in ANSWERS)} |")


def answer(grey: NDArray) -> str:
    """What becomes of a picture (rows, columns), 0..255."""
    found = judge_window(np.rint(np.clip(grey, 0, 255)).astype(np.float32).T[:, :, None])
    if found.fault:
        words = {"are black": "clipped", "equalised": "equalised", "a negative": "negative"}
        return next((kind for word, kind in words.items() if word in found.fault), "other fault")
    return "doubtful" if found.doubtful else "stretched" if found.wide or found.lung is not None else "passed"


def pictures(data: Path, every: int) -> Iterator[tuple[str, NDArray]]:
    """(row of the table, picture)."""
    folder = data / "covid_ct_seg"
    rows = list(csv.DictReader((folder / "slices.csv").open(newline=""))) if folder.is_dir() else []
    for row in rows[::every]:
        who = "first" if row["patient"] in LOOKED_AT else "others"
        grey = load(folder / row["form"] / "images" / row["image"])
        yield f"covid_ct_seg {row['form']}, {who}", grey
        yield f"covid_ct_seg {row['form']}, as negatives, {who}", 255 - grey
    for k, path in enumerate(sorted((data / "lung_ct_lesions" / "images").glob("*.jpg"))):
        for name, change in MADE.items():
            yield f"lung_ct_lesions {name}, {'others' if k % 2 else 'first'}", 255 * change(load(path) / 255)
    for kind, source in (("phantoms", phantoms()), ("real DICOM slices", dicom_slices(data / "ct_dicom"))):
        for plane in source:
            for name, windows in HU_WINDOWS.items():
                for low, high in windows:
                    yield f"{kind}, {name} windows", 255 * (plane - low) / (high - low)


def phantoms() -> Iterator[NDArray]:
    for seed in range(4):
        for extent in (0.0, 0.1, 0.5):
            scan = make_lung_phantom(seed, extent=extent).array.astype(np.float32)
            yield from (scan[:, :, z].T for z in range(4, 20, 5))


def dicom_slices(folder: Path) -> Iterator[NDArray]:
    """NEMA's CT1, a chest, and the three slices of a chest series."""
    for name in ("CT1_UNC", "series3"):
        if (folder / name).exists():
            scan = read_case(folder / name).array
            yield from (scan[:, :, z].T for z in range(scan.shape[2]))


def load(path: Path) -> NDArray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), dtype=np.float32)


if __name__ == "__main__":
    main()
