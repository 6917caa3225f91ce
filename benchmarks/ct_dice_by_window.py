"""Dice against window: what the lesion bundle finds in one and the same slice, shown in a grid of windows.

    python benchmarks/ct_dice_by_window.py --out docs/images/ct_dice_by_window.png [--dicom FOLDER]

Slices of phantoms, whose lesions are known, are windowed from Hounsfield units, given to the bundle as 8-bit pictures,
and the masks held against the truth. Of real DICOM slices (--dicom: a chest series, or several) no truth is known: the
lungs found are held against those found from Hounsfield units. A picture that is refused counts as no mask, and is
counted. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from pipelines import load_bundle
from pipelines.errors import IntensityError
from pipelines.readers import read_case
from pipelines.tasks.lung_ct.phantom import make_lung_phantom

mpl.use("Agg")
BUNDLE = "covid_ct_lesion_segmentation"
LOWS = (-1000, -1200, -1400)  # HU that are black
WIDTHS = (1000, 1400, 1800, 2400, 3200, 4095)
NETWORKS = ("encoder_unet", "basic_unet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="a PNG of the curves")
    parser.add_argument("--dicom", type=Path, nargs="*", default=[], help="folders of chest series")
    parser.add_argument("--phantoms", type=int, default=3)
    args = parser.parse_args()
    slices = phantom_slices(args.phantoms)
    real = [plane for folder in args.dicom for plane in dicom_slices(folder)]
    curves: dict[tuple[str, int], list[float]] = {}
    print("| network | black at, HU | width, HU | lesion Dice | lung Dice | real lungs, Dice | refused |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for network in NETWORKS:
        model = load_bundle(BUNDLE, network, fast=True)
        expected = [model(windowed(plane, -1000, 1400)).mask > 0 for plane in real]
        for low in LOWS:
            for width in WIDTHS:
                answers = [answer(model, windowed(plane, low, width)) for plane, _ in slices]
                lungs = [answer(model, windowed(plane, low, width)) for plane in real]
                lesion = mean_dice([(mask == 2, label == 2) for mask, (_, label) in zip(answers, slices, strict=True)])
                lung = mean_dice([(mask > 0, label > 0) for mask, (_, label) in zip(answers, slices, strict=True)])
                seen = mean_dice([(mask > 0, due) for mask, due in zip(lungs, expected, strict=True)])
                refused = sum(not (mask > 0).any() for mask in answers + lungs)
                cells = f"{lesion:.2f} | {lung:.2f} | {seen:.2f} | {refused} of {len(answers + lungs)}"
                print(f"| {network} | {low} | {width} | {cells} |", flush=True)
                curves.setdefault((network, low), []).append(lesion)
    if args.out:
        draw(curves, args.out)


def phantom_slices(number: int) -> list[tuple[NDArray, NDArray]]:
    """(Hounsfield units, label), rows x columns, of the slice with most lesion of each phantom."""
    found = []
    for seed in range(number):
        phantom = make_lung_phantom(900 + seed, size=256, slices=12, extent=0.08 + 0.06 * seed)
        z = int((phantom.label == 2).sum(axis=(0, 1)).argmax())
        found.append((phantom.array[:, :, z].T.astype(np.float32), phantom.label[:, :, z].T))
    return found


def dicom_slices(folder: Path) -> list[NDArray]:
    scan = read_case(folder)
    volume = scan.axial(scan.array)
    return [volume[:, :, z].T.astype(np.float32) for z in range(volume.shape[2])]


def windowed(plane: NDArray, low: float, width: float) -> NDArray[np.uint8]:
    return np.rint(np.clip((plane - low) / width, 0, 1) * 255).astype(np.uint8)


def answer(model, picture: NDArray[np.uint8]) -> NDArray:
    try:
        return np.asarray(model(picture).mask)
    except IntensityError:
        return np.zeros(picture.shape, np.uint8)


def mean_dice(pairs: Sequence[tuple[NDArray, NDArray]]) -> float:
    if not pairs:
        return float("nan")
    return float(np.mean([2 * (a & b).sum() / max(1, a.sum() + b.sum()) for a, b in pairs]))


def draw(curves: dict[tuple[str, int], list[float]], out: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(NETWORKS), figsize=(9, 3.4), sharey=True, layout="constrained")
    for ax, network in zip(axes, NETWORKS, strict=True):
        for low in LOWS:
            ax.plot(WIDTHS, curves[network, low], marker="o", label=f"black at {low} HU")
        ax.set(title=network, xlabel="width of the window, HU", ylim=(0, 1))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("lesion Dice, phantoms")
    axes[0].legend()
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
