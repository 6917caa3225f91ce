"""CT lesions on patients left out: Dice by slice and by patient, by the pictures' form, and the worst slices.

    python benchmarks/ct_left_out.py data/covid_ct EVALUATION [...] [--before EVALUATION [...]]

The data are a prepared folder with folds, or one datalist of it. EVALUATION is a folder that ``evaluate.yaml`` or
``cross-validate`` wrote, of one fold each; where it kept no masks, the pixels are counted back from the sensitivity and
specificity of its ``cases.csv``. A patient's Dice is of all its slices pooled, 2 TP / (2 TP + FP + FN), as MIScnn's
figure is; its interval resamples slices, that of the patients' mean resamples patients where there are five or more.
With ``--before``, folders of other weights on the same slices, differences are paired by slice. ``--worst N --out DIR``
names and draws the worst, where masks were kept: truth in green, prediction in red. ``--extent WEIGHTS`` takes all
slices of a patient in one form for a scan, and says whether the interval beside these weights holds its true extent.
"""

from __future__ import annotations

import argparse
import csv
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
from pipelines.transforms.mask_confidence import read_confidence

LUNG, LESION = 1, 2


@dataclass(frozen=True)
class Slice:
    """One slice: its pixels that are lesion in both, in the prediction, in the truth; and lung, lesion included."""

    case: str
    patient: str
    form: str
    lesion: NDArray[np.int64]
    lung: NDArray[np.int64]
    files: tuple[Path, Path, Path | None]  # image, label, mask; None where none was kept

    @property
    def dice(self) -> float:
        return pooled(self.lesion[None])

    @property
    def lung_dice(self) -> float:
        return pooled(self.lung[None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("evaluations", type=Path, nargs="+")
    parser.add_argument("--before", type=Path, nargs="+", default=[])
    parser.add_argument("--worst", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--extent", type=Path, metavar="WEIGHTS")
    args = parser.parse_args()
    lists = sorted(args.data.glob("datalist_fold*.json")) if args.data.is_dir() else [args.data]
    about = {item["case"]: item for path in lists for item in json.loads(path.read_text())["test"]}
    root = args.data if args.data.is_dir() else args.data.parent
    slices = [each for folder in args.evaluations for each in read(folder, about, root)]
    print(table(slices))
    if args.extent:
        print("\n" + scans(slices, args.extent))
    if args.before:
        before = [each for folder in args.before for each in read(folder, about, root)]
        print("\n" + differences(slices, {each.case: each for each in before}))
    for each in sorted(slices, key=lambda one: one.dice)[: args.worst]:
        true, said = int(each.lesion[2]), int(each.lesion[1])
        print(f"- {each.case} ({each.form}): Dice {each.dice:.2f}, lesion {true} px, called lesion {said} px")
        if args.out is not None and each.files[2] is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            drawn(each).save(args.out / f"{each.dice:.2f}_{each.case}.png")


def read(folder: Path, about: dict[str, dict], root: Path) -> list[Slice]:
    """The slices of an evaluation, of cases in a prepared folder."""
    masks = folder / "masks"
    found = []
    if not (masks / "cases.json").is_file():
        with (folder / "cases.csv").open() as file:
            return [counted_back(row, about[row["case"]], root) for row in csv.DictReader(file)]
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


def counted_back(row: dict[str, str], item: dict, root: Path) -> Slice:
    """A slice whose mask was not kept: in both, in the prediction, in the truth, from rates over the whole slice."""
    label = root / item["label"]
    true = np.asarray(Image.open(label))
    counts = []
    for name, inside in (("lesion", true == LESION), ("lung", true >= LUNG)):
        size = int(inside.sum())
        sensitivity, specificity = (float(row[f"{name}_{each}"] or "nan") for each in ("sensitivity", "specificity"))
        both = 0 if size == 0 else round(sensitivity * size)
        counts.append(np.array([both, both + round((1 - specificity) * (true.size - size)), size]))
    return Slice(row["case"], item["patient"], item["form"], counts[0], counts[1], (root / item["image"], label, None))


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
        # the interval says how much the slices of these patients vary
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
    if len(means) < 5:
        return f"{', '.join(said)}: mean {np.mean(means):.3f}"
    return f"{', '.join(said)}: mean **{shown(bootstrap_interval(means, sorted(of)))}**"


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


def scans(slices: Sequence[Slice], weights: Path) -> str:
    """The extent of all slices of a patient in one form together, and how often the weights' interval holds it."""
    known = read_confidence(weights)
    if known is None or known.extent is None:
        raise SystemExit(f"{weights} has no interval of an extent: python -m pipelines confidence makes it")
    of = defaultdict(list)
    for each in slices:
        if each.form != "picture":  # whose patients are not known
            of[each.patient, each.form].append(each)
    lines = ["| scan | slices | true extent | said | interval | holds |", "|---|---:|---:|---:|---|---|"]
    held = []
    for (patient, form), own in sorted(of.items()):
        lesion, lung = (np.sum([getattr(each, name) for each in own], axis=0) for name in ("lesion", "lung"))
        said, true = lesion[1] / lung[1], lesion[2] / lung[2]
        low, high = known.extent.around(said)
        held.append(low <= true <= high)
        row = [f"{patient}, {form}", str(len(own)), *(f"{100 * each:.1f} %" for each in (true, said))]
        row += [f"{100 * low:.1f} to {100 * high:.1f} %", "yes" if held[-1] else "no"]
        lines.append("| " + " | ".join(row) + " |")
    people = len({patient for patient, _ in of})
    return "\n".join([*lines, f"\n{sum(held)} of {len(held)} scans of {people} patients held"])


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
