"""What contrast, exposure, blur and noise do to the shipped chest X-ray classifier, and what of it is referred.

    python -m pipelines data prepare chest_xray --raw RAW --out data/chest_xray
    python benchmarks/chest_robustness.py data/chest_xray --plot docs/images/chest_robustness.png

Pictures are of validation patients, whom the weights have not seen (`chest_default.py`), one a patient, as many normal
as with pneumonia. Each is changed by steps in 8 bits at its own size, read as `predict` reads it, and classified at the
stored temperature and operating point. First comes the range of the pictures that the weights were trained on: the
percentiles from which `pipelines/tasks/chest_xray/quality.py` has its limits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipelines.errors import PipelinesError
from pipelines.prediction import open_inference
from pipelines.readers import judge_xray, read_xray
from pipelines.tasks.chest_xray.quality import XrayQuality, measure_xray, xray_doubts
from pipelines.tasks.chest_xray.writer import XrayClassWriter

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "chest_xray_pneumonia_classification"
PERCENTILES = (0.05, 0.5, 50, 99.5, 99.95)
Change = Callable[[NDArray, float], NDArray]


def to_contrast(grey: NDArray, levels: float) -> NDArray:
    """From the 2nd to the 98th percentile so many levels, around the middle, as in the generator of issue 12."""
    dark, light = np.percentile(grey, [2, 98])
    return np.clip((grey - dark) / (light - dark), -0.1, 1.1) * levels + 128 - levels / 2


def noisy(grey: NDArray, levels: float) -> NDArray:
    return grey + np.random.default_rng(0).normal(0, levels, grey.shape)


CHANGES: dict[str, tuple[Change, str, tuple[float, ...]]] = {
    "contrast": (to_contrast, "levels, 2nd to 98th percentile", (200, 150, 110, 90, 77, 60, 45, 30, 20)),
    "brightness": (lambda grey, by: grey + by, "grey levels added", (-100, -80, -60, -40, -20, 20, 40, 60, 80, 100)),
    "gamma": (lambda grey, power: 255 * (grey / 255) ** power, "", (0.3, 0.4, 0.5, 0.67, 0.8, 1.25, 1.5, 2, 2.5, 3)),
    "blur": (ndimage.gaussian_filter, "sigma in pixels at 224 x 224", (0.5, 0.75, 1, 1.5, 2, 3, 4)),
    "noise": (noisy, "standard deviation in grey levels", (2, 4, 6, 8, 12, 16, 24, 32)),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--pictures", type=int, default=120, help="half of them normal")
    parser.add_argument("--plot", type=Path, help="where the curves go, as PNG")
    parser.add_argument("--batch", type=int, default=25)
    args = parser.parse_args()
    content = json.loads((args.prepared / "datalist.json").read_text())
    print_range(args.prepared, content)
    network = Classifier(args.prepared, args.batch)
    chosen = one_a_patient(content["validation"], args.pictures // 2)
    planes = [read_xray(args.prepared / item["image"]).array for item in chosen]
    labels = np.array([item["label"] for item in chosen])
    print(f"\n{len(planes)} pictures of as many validation patients, {int((labels == 0).sum())} of them normal\n")
    print("| change | step | sensitivity | specificity | referred | by quality | refused | wrong, not referred |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    start = outcome(network, planes, labels)
    print_row("none", "", start)
    curves = {}
    for name, (change, unit, steps) in CHANGES.items():
        rows = []
        for step in steps:
            changed = [np.rint(np.clip(change(plane, step), 0, 255)).astype(np.float32) for plane in planes]
            rows.append(outcome(network, changed, labels))
            print_row(name, f"{step:g}", rows[-1])
        curves[name] = (unit, steps, rows)
    if args.plot:
        draw(args.plot, curves, start)


class Classifier:
    """The bundle's network, temperature and operating point, for many pictures at a time."""

    def __init__(self, prepared: Path, batch: int) -> None:
        workflow = open_inference(BUNDLE, input=str(prepared / "images"), output_dir="", device="cpu")
        self.network, self.batch = workflow.evaluator.network.eval(), batch
        self.writer = next(each for each in workflow.handlers if isinstance(each, XrayClassWriter))
        self.writer.check_weights()
        self.size = tuple(workflow.parser.get_parsed_content("image_size"))

    @torch.inference_mode()
    def __call__(self, planes: list[NDArray]) -> tuple[NDArray, NDArray]:
        """Classes that are said (N,), and the probability of each (N,)."""
        small = [
            torch.nn.functional.interpolate(torch.from_numpy(p)[None, None] / 255, self.size, mode="area")
            for p in planes
        ]
        batches = torch.cat(small).split(self.batch)
        logits = torch.cat([self.network(each) for each in batches]) / self.writer.calibration.temperature
        probabilities = logits.softmax(1).numpy().astype(float)
        said = self.writer.calibration.predict(probabilities, self.writer.names)
        return said, probabilities[np.arange(len(said)), said]


def outcome(network: Classifier, planes: list[NDArray], labels: NDArray) -> dict[str, float]:
    """Rates, 0..1, over the pictures; what is refused is neither right nor wrong."""
    said, sure = network(planes)
    refused, frontal = np.zeros(len(planes), dtype=bool), np.ones(len(planes), dtype=bool)
    for k, plane in enumerate(planes):
        try:
            frontal[k] = not judge_xray(plane, "")
        except PipelinesError:
            refused[k] = True
    quality = np.array([bool(xray_doubts(plane)) for plane in planes]) & ~refused
    referred = (quality | ~frontal | (sure < network.writer.refer_below)) & ~refused
    right = said == labels
    return {
        "sensitivity": float(right[labels == 1].mean()),
        "specificity": float(right[labels == 0].mean()),
        "referred": float(referred.mean()),
        "quality": float(quality.mean()),
        "refused": float(refused.mean()),
        "missed": float((~right & ~referred & ~refused).mean()),
    }


def one_a_patient(items: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """So many items of each class, patients spread evenly over their names."""
    chosen = []
    for label in (0, 1):
        first = {item["patient"]: item for item in reversed(items) if item["label"] == label}
        patients = sorted(first)
        picked = np.linspace(0, len(patients) - 1, min(number, len(patients))).round().astype(int)
        chosen += [first[patients[k]] for k in picked]
    return chosen


def print_range(folder: Path, content: dict[str, Any]) -> None:
    """The percentiles of what the weights were trained on, and what part of the others is referred for it."""
    trained = [item for section in ("training", "test") for item in content[section]]
    values = np.array([astuple(measure_xray(plane)) for plane in read(folder, trained)])
    names = [field.name for field in fields(XrayQuality)]
    print(f"Range of {len(values)} pictures\n\n| | {' | '.join(f'{p:g} %' for p in PERCENTILES)} |")
    print("|---|" + "---:|" * len(PERCENTILES))
    for name, row in zip(names, np.percentile(values, PERCENTILES, axis=0).T, strict=True):
        print(f"| {name} | {' | '.join(f'{value:.3g}' for value in row)} |")
    doubted = [bool(xray_doubts(plane)) for plane in read(folder, content["validation"])]
    print(f"\nReferred for their quality: {sum(doubted)} of all {len(doubted)} validation pictures as they are")


def read(folder: Path, items: list[dict[str, Any]]) -> Iterator[NDArray]:
    for item in items:
        with Image.open(folder / item["image"]) as picture:
            yield np.asarray(picture.convert("L")).T


def print_row(name: str, step: str, found: dict[str, float]) -> None:
    keys = ("sensitivity", "specificity", "referred", "quality", "refused", "missed")
    print(f"| {name} | {step} | {' | '.join(f'{found[key]:.3f}' for key in keys)} |", flush=True)


def draw(path: Path, curves: dict[str, tuple[str, tuple[float, ...], list[dict[str, float]]]], start: Any) -> None:
    """The curves of each change, one beside the other."""
    figure = Figure(figsize=(15, 3.2), dpi=70, layout="constrained")
    lines = {"balanced accuracy": "#0072B2", "referred or refused": "#E69F00", "wrong and not referred": "#D55E00"}
    for axes, (name, (unit, steps, rows)) in zip(
        figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True
    ):
        values = {
            "balanced accuracy": [(row["sensitivity"] + row["specificity"]) / 2 for row in rows],
            "referred or refused": [row["referred"] + row["refused"] for row in rows],
            "wrong and not referred": [row["missed"] for row in rows],
        }
        for label, colour in lines.items():
            axes.plot(range(len(steps)), values[label], "o-", color=colour, label=label, markersize=3)
        axes.axhline((start["sensitivity"] + start["specificity"]) / 2, color="#0072B2", linestyle=":", linewidth=1)
        axes.set_xticks(range(len(steps)), [f"{step:g}" for step in steps], fontsize=7)
        axes.set(title=name, xlabel=unit, ylim=(-0.02, 1.02))
        axes.xaxis.label.set_size(8)
    figure.axes[0].legend(fontsize=7, loc="center left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    main()
