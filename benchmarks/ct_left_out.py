"""CT lesions on patients left out: Dice by slice and by patient, by the pictures' form, and the worst slices.

    python benchmarks/ct_left_out.py data/covid_ct/datalist_fold0.json EVALUATION [...] [--before EVALUATION [...]]

EVALUATION is a folder that ``evaluate.yaml`` wrote with its masks (``keep_masks``), of one fold each. A patient's Dice
is of all its slices pooled, 2 TP / (2 TP + FP + FN), as MIScnn's figure is; its interval resamples slices. With
``--before``, folders of other weights on the same slices, differences are paired by slice. ``--worst N --out DIR``
names and draws the worst: truth in green, prediction in red.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from pipelines.evaluation import bootstrap_interval, bootstrap_scores, paired_difference
from pipelines.evaluation.intervals import Interval

LUNG, LESION = 1, 2


@dataclass(frozen=True)
class Slice:
    """One slice: its pixels that are lesion in both, in the prediction, in the truth; and lung, lesion included."""

    case: str
    patient: str
    form: str
    lesion: NDArray[np.int64]
    lung: NDArray[np.int64]
    files: tuple[Path, Path, Path]  # image, label, mask

    @property
    def dice(self) -> float:
        return pooled(self.lesion[None])

    @property
    def lung_dice(self) -> float:
        return pooled(self.lung[None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datalist", type=Path)
    parser.add_argument("evaluations", type=Path, nargs="+")
    parser.add_argument("--before", type=Path, nargs="+", default=[])
    parser.add_argument("--worst", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    about = {item["case"]: item for item in json.loads(args.datalist.read_text())["test"]}
    slices = [each for folder in args.evaluations for each in read(folder, about)]
    print(table(slices))
    if args.before:
        print("\n" + differences(slices, {each.case: each for folder in args.before for each in read(folder, about)}))
    for each in sorted(slices, key=lambda one: one.dice)[: args.worst]:
        true, said = int(each.lesion[2]), int(each.lesion[1])
        print(f"- {each.case} ({each.form}): Dice {each.dice:.2f}, lesion {true} px, called lesion {said} px")
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            drawn(each).save(args.out / f"{each.dice:.2f}_{each.case}.png")


def read(folder: Path, about: dict[str, dict]) -> list[Slice]:
    """The slices of an evaluation."""
    masks = folder / "masks"
    found = []
    for entry in json.loads((masks / "cases.json").read_text()):
        files = Path(entry["image"]), Path(entry["label"]), masks / entry["mask"]
        said, true = (np.asarray(Image.open(path)) for path in (files[2], files[1]))
        item = about[entry["case"]]
        lesion, lung = (
            np.array([np.sum(a & b), np.sum(a), np.sum(b)])
            for a, b in ((said == LESION, true == LESION), (said >= LUNG, true >= LUNG))
        )
        found.append(Slice(entry["case"], item["patient"], item["form"], lesion, lung, files))
    return found


def pooled(counts: NDArray[np.int64]) -> float:
    """Dice of the slices (N, 3) together; NaN where there is nothing in either."""
    both, said, true = counts.sum(axis=0)
    return float(2 * both / (said + true)) if said + true else float("nan")


def table(slices: Sequence[Slice]) -> str:
    lines = ["| pictures | slices | lesion Dice by slice | median | lesion Dice by patient | lung with lesion |"]
    lines.append("|---|---:|---|---:|---|---|")
    for form in sorted({each.form for each in slices}):
        own = [each for each in slices if each.form == form]
        dice = [each.dice for each in own]
        by_patient = "not known" if form == "picture" else patients(own)
        # patients are too few to be resampled: the interval says how much the slices of these ones vary
        row = [form, str(len(own)), shown(bootstrap_interval(dice, [each.case for each in own]))]
        row += [f"{np.nanmedian(dice):.3f}", by_patient]
        row += [shown(bootstrap_interval([each.lung_dice for each in own], [each.case for each in own]))]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def patients(slices: Sequence[Slice]) -> str:
    """Each patient's slices pooled, and the mean over patients."""
    of = defaultdict(list)
    for each in slices:
        of[each.patient].append(each)
    said, means = [], []
    for patient, own in sorted(of.items()):
        counts = np.stack([each.lesion for each in own])
        found = bootstrap_scores(functools.partial(_dice, counts), [each.case for each in own])["dice"]
        said.append(f"{patient} {shown(found)}")
        means.append(found.estimate)
    return f"{', '.join(said)}: mean {np.mean(means):.3f}"


def _dice(counts: NDArray[np.int64], drawn: NDArray[np.intp]) -> dict[str, float]:
    return {"dice": pooled(counts[drawn])}


def differences(slices: Sequence[Slice], before: dict[str, Slice]) -> str:
    lines = ["| pictures | lesion Dice by slice: before | now | paired difference | p | better, worse |"]
    lines.append("|---|---:|---:|---|---:|---:|")
    for form in sorted({each.form for each in slices}):
        own = [each for each in slices if each.form == form and each.case in before]
        now, then = [each.dice for each in own], [before[each.case].dice for each in own]
        found = paired_difference(now, then, [each.case for each in own])
        low, high = found.difference.low, found.difference.high
        row = [form, f"{np.mean(then):.3f}", f"{np.mean(now):.3f}"]
        row += [f"{found.difference.estimate:+.3f} ({low:+.3f} to {high:+.3f})", f"{found.p_value:.2g}"]
        row += [f"{found.wins}, {found.losses}"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def shown(found: Interval) -> str:
    return f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"


def drawn(each: Slice) -> Image.Image:
    """The slice, and beside it the slice with the lesion's outlines: green the truth, red the prediction."""
    image, label, mask = (np.asarray(Image.open(path)) for path in each.files)
    grey = image if image.ndim == 2 else image[..., 0]
    right = np.repeat(grey[..., None], 3, axis=2).copy()
    right[find_boundaries(label == LESION, mode="inner")] = (0, 255, 0)
    right[find_boundaries(mask == LESION, mode="inner")] = (255, 0, 0)
    return Image.fromarray(np.concatenate([np.repeat(grey[..., None], 3, axis=2), right], axis=1))


if __name__ == "__main__":
    main()
