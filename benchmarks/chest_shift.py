"""What the chest X-ray bundle's weights say of shifted pictures and of healthy adults, beside other weights, paired.

    python -m pipelines data prepare chest_xray --raw RAW --out data/chest_xray
    python benchmarks/chest_shift.py data/chest_xray --adults ADULTS --before mobilenet_v2=OLD.safetensors

Pictures are those of the validation patients, as they are and under the shifts of `tasks/chest_xray/shifts.py`, each
picture under `--rounds` of them by turns; and adults (`ADULTS/images`, whose names end in `_0`, healthy, or `_1`,
tuberculosis, which is not pneumonia). Weights answer at their own temperature and operating point. OLD has its
calibration beside it. Intervals and differences are over patients.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.evaluation.calibration import calibration_error
from pipelines.evaluation.classification import area_under_curve
from pipelines.evaluation.intervals import bootstrap_scores
from pipelines.inferers import resampled
from pipelines.prediction import open_inference
from pipelines.readers import read_xray
from pipelines.tasks.chest_xray.shifts import SHIFTS, shifted
from pipelines.tasks.chest_xray.writer import XrayClassWriter

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "chest_xray_pneumonia_classification"
Scores = Callable[[NDArray[np.intp]], dict[str, float]]
FIGURES = ("auc", "accuracy", "sensitivity", "specificity", "ece")


@dataclass
class Pictures:
    """Planes (W, H), 0..1, with class and patient; ``kinds``: how each was shifted."""

    planes: list[NDArray]
    labels: NDArray
    patients: list[str]
    kinds: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--adults", type=Path)
    parser.add_argument("--before", metavar="NETWORK=WEIGHTS", help="held against the shipped weights")
    parser.add_argument("--rounds", type=int, default=1, help="shifts a picture")
    args = parser.parse_args()
    weights: dict[str, tuple[str | None, str | None]] = {"now": (None, None)}
    if args.before:
        network, _, path = args.before.partition("=")
        weights["before"] = (network, path)
    networks = {name: Answers(*each) for name, each in weights.items()}
    sets = {"as they are": validation(args.prepared, 0), "shifted": validation(args.prepared, args.rounds)}
    if args.adults:
        sets["adults"] = adults(args.adults)
    for title, pictures in sets.items():
        answers = {name: network(pictures.planes) for name, network in networks.items()}
        print(f"\n{title}: {len(pictures.planes)} pictures of {len(set(pictures.patients))} patients\n")
        if title == "adults":
            print_adults(pictures, answers)
        else:
            print_scores(pictures, answers)


class Answers:
    """Weights as the bundle uses them, for many pictures at a time."""

    def __init__(self, network: str | None, checkpoint: str | None) -> None:
        words = {} if checkpoint is None else {"checkpoint": str(Path(checkpoint).absolute())}
        workflow = open_inference(BUNDLE, network, input=str(PROJECT), output_dir="", device="cpu", **words)
        self.network, self.inferer = workflow.evaluator.network.eval(), workflow.evaluator.inferer
        self.calibration = next(each for each in workflow.handlers if isinstance(each, XrayClassWriter)).calibration
        self.size = tuple(workflow.parser.get_parsed_content("image_size"))

    @torch.inference_mode()
    def __call__(self, planes: list[NDArray]) -> tuple[NDArray, NDArray]:
        """Probabilities of pneumonia (N,), and whether it is said (N,)."""
        parts = []
        for start in range(0, len(planes), 16):
            batch = [torch.from_numpy(each)[None, None] for each in planes[start : start + 16]]
            parts.append(self.inferer(torch.cat([resampled(each, self.size) for each in batch]), self.network))
        chance = (torch.cat(parts) / self.calibration.temperature).softmax(1).numpy().astype(float)
        return chance[:, 1], self.calibration.predict(chance, ["normal", "pneumonia"]).astype(bool)


def validation(folder: Path, rounds: int) -> Pictures:
    items = json.loads((folder / "datalist.json").read_text())["validation"]
    planes = [read_xray(folder / item["image"]).array / np.float32(255) for item in items]
    names, found = [name for name in SHIFTS if name != "none"], Pictures([], np.array([]), [], [])
    labels, turns = [], [0, 0]
    for step in range(max(rounds, 1)):
        for item, plane in zip(items, planes, strict=True):
            kind = names[(turns[item["label"]] + 5 * step) % len(names)] if rounds else "none"
            turns[item["label"]] += 1
            found.planes.append(np.ascontiguousarray(shifted(plane, kind, item["case"])))
            found.kinds.append(kind)
            found.patients.append(item["patient"])
            labels.append(item["label"])
    found.labels = np.array(labels)
    return found


def adults(folder: Path) -> Pictures:
    paths = sorted((folder / "images").iterdir())
    planes = [np.ascontiguousarray(read_xray(path).array / np.float32(255)) for path in paths]
    ill = np.array([path.stem.endswith("_1") for path in paths]).astype(int)
    return Pictures(planes, ill, [path.stem for path in paths], ["none"] * len(paths))


def scores(labels: NDArray, chance: NDArray, said: NDArray) -> dict[str, float]:
    ill = labels == 1
    rows = np.column_stack([1 - chance, chance])
    return {
        "auc": area_under_curve(chance, ill) if ill.any() and not ill.all() else float("nan"),
        "accuracy": float((said == ill).mean()),
        "sensitivity": float(said[ill].mean()) if ill.any() else float("nan"),
        "specificity": float((~said[~ill]).mean()) if not ill.all() else float("nan"),
        "ece": calibration_error(rows, labels),
    }


def scores_of(labels: NDArray, chance: NDArray, said: NDArray, items: NDArray[np.intp]) -> dict[str, float]:
    return scores(labels[items], chance[items], said[items])


def differences(now: Scores, before: Scores, items: NDArray[np.intp]) -> dict[str, float]:
    """By names that say that they may be below 0."""
    old = before(items)
    return {f"{name}_bias": value - old[name] for name, value in now(items).items()}


def print_scores(pictures: Pictures, answers: dict[str, tuple[NDArray, NDArray]]) -> None:
    labels = pictures.labels
    print(f"| | {' | '.join(FIGURES)} |\n|---|{'---|' * len(FIGURES)}")
    rows = {name: partial(scores_of, labels, *one) for name, one in answers.items()}
    if len(answers) == 2:
        rows["now - before"] = partial(differences, *rows.values())
    for name, score in rows.items():
        found = bootstrap_scores(score, pictures.patients, n_resamples=500)
        cells = [f"{each.estimate:.3f} ({each.low:.3f} to {each.high:.3f})" for each in found.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    kinds = [each for each in SHIFTS if each in pictures.kinds]
    if len(kinds) > 1:
        print(f"\n| | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
        of_kind = [np.array(pictures.kinds) == each for each in kinds]
        for name, (chance, said) in answers.items():
            found = [scores(labels[rows_], chance[rows_], said[rows_]) for rows_ in of_kind]
            cells = " | ".join(f"{each['auc']:.3f}, {each['specificity']:.2f}" for each in found)
            print(f"| {name}: AUC, specificity | {cells} |")


def print_adults(pictures: Pictures, answers: dict[str, tuple[NDArray, NDArray]]) -> None:
    healthy = pictures.labels == 0
    print("| | healthy called normal | tuberculosis called pneumonia | AUC of the two |\n|---|---|---|---|")
    for name, (chance, said) in answers.items():
        auc = area_under_curve(chance, ~healthy)
        print(f"| {name} | {(~said[healthy]).mean():.3f} | {said[~healthy].mean():.3f} | {auc:.3f} |")


if __name__ == "__main__":
    main()
