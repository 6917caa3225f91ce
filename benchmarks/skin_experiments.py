"""The experiments of the ISIC 2016 study on a prepared folder, cross-validated and compared case by case.

    python -m pipelines data prepare isic2016 --raw RAW --out data/isic2016 --folds 4
    python benchmarks/skin_experiments.py data/isic2016 --encoder_weights mobilenet_v2.pth --out skin --folds 0 \\
        --shift data/ph2

Each experiment is a `python -m pipelines cross-validate` of its own, whose runs `compare` takes too: what is done is
kept, and done once. `--stress` measures the left-out pictures again with colours, hairs, dark corners, rulers and glare
drawn as the default augmentation draws them: it shows what is lost to these, and is no other clinic. `--shift` measures
all pictures but two of another prepared folder, of which nothing was trained on: that is one.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from mlflow import MlflowClient
from monai.transforms import Compose
from PIL import Image

from pipelines.cross_validation import CrossValidation, Processes, cross_validate, read_folds
from pipelines.evaluation import bootstrap_interval, paired_difference
from pipelines.readers import read_colour
from pipelines.tasks.dermoscopy.transforms import RandDarkCornersd, RandGlared, RandHaird, RandRulerd, RandSkinToned
from pipelines.tracking import tracking_uri
from pipelines.tracking.run_file import read_run_file

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "skin_lesion_segmentation"
# name: the network, what is laid over it, and further knobs
EXPERIMENTS: dict[str, tuple[str, list[str], list[str]]] = {
    "finetuned": ("skips", [], []),
    "frozen": ("skips", [], ["--freeze_encoder", "True"]),
    "last_feature": ("last_feature", [], []),
    "interpolating": ("interpolating", [], []),
    "bce": ("skips", ["bce"], []),
    "frozen_last_feature": ("last_feature", [], ["--freeze_encoder", "True"]),
    "reference_augmentation": ("skips", ["reference_augmentation"], []),
}
METRICS = ("dice", "iou", "thresholded_iou", "sensitivity", "specificity", "accuracy", "hd95_px")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--encoder_weights", required=True)
    parser.add_argument("--experiments", nargs="*", default=list(EXPERIMENTS), choices=list(EXPERIMENTS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--phantoms", type=Path, help="a prepared folder of phantoms that join the training")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, each with its share of the processor")
    parser.add_argument("--folds", type=int, nargs="*", default=[], help="only these")
    parser.add_argument("--shift", type=Path, help="a prepared folder of other pictures that are measured too")
    parser.add_argument("--stress", action="store_true", help="measure the left-out pictures with artefacts too")
    args, knobs = parser.parse_known_args()
    rows: dict[str, list[dict]] = {}
    chosen = args.folds or [fold.number for fold in read_folds(args.prepared)]
    for name in args.experiments:
        plan = experiment(args, name, knobs)
        cross_validate(plan, chosen, lambda line, name=name: print(f"{name}, {line}", flush=True))
        for fold in chosen:
            folder = plan.out / f"fold{fold}"
            rows.setdefault(name, []).extend(cases(folder / "evaluation"))
            if args.shift:
                rows.setdefault(f"{name}, {args.shift.name}", []).extend(shift(plan, folder, args.shift.absolute()))
            if args.stress:
                rows.setdefault(f"{name}, stressed", []).extend(stress(plan, folder, fold))
    args.out.mkdir(parents=True, exist_ok=True)
    text = table(rows) + "\n\n" + comparisons(rows)
    print(text)
    (args.out / "results.md").write_text(text + "\n")
    if {"frozen", "finetuned"} <= set(args.experiments) and not args.phantoms:
        draw_curves(args, chosen)


def experiment(args: argparse.Namespace, name: str, knobs: list[str]) -> CrossValidation:
    """An experiment's cross-validation, which validates after each epoch, for the curves, and chooses nothing by it."""
    network, overlays, own = EXPERIMENTS[name]
    words = {"--encoder_weights": str(Path(args.encoder_weights).absolute()), "--epochs": str(args.epochs)}
    words |= {"--val_interval": "1"}
    return CrossValidation(
        bundle=BUNDLE,
        prepared=args.prepared.absolute(),
        out=(args.out / name).absolute(),
        uri=tracking_uri(PROJECT),
        network=network,
        overlays=overlays,
        knobs=[*(word for pair in words.items() for word in pair), *own, *knobs],
        extra=[args.phantoms.absolute()] if args.phantoms else [],
        jobs=args.jobs,
    )


def stress(plan: CrossValidation, folder: Path, fold: int) -> list[dict]:
    """The rows of a fold's pictures with artefacts; measured where they are not there. No run keeps these figures."""
    if not (folder / "stressed" / "cases.csv").is_file():
        data = stressed(folder / "stressed_data", folder / "data", fold)
        measure(plan, data, folder, "stressed")
    return cases(folder / "stressed")


def shift(plan: CrossValidation, folder: Path, prepared: Path) -> list[dict]:
    """The rows of all pictures but two of another prepared folder. No run keeps these figures."""
    name = f"shift_{prepared.name}"
    if not (folder / name / "cases.csv").is_file():
        measure(plan, all_tested(prepared, folder / f"{name}_data"), folder, name)
    return cases(folder / name)


def measure(plan: CrossValidation, data: Path, folder: Path, output: str) -> None:
    with Processes() as processes:
        processes.run(
            [*plan.evaluation(data, folder, output), "--track", "False"], (folder / output).with_suffix(".log")
        )


def all_tested(prepared: Path, folder: Path) -> Path:
    """A folder of links to a prepared one's files, all of whose cases but two are tested: those stand in the other
    parts, which a datalist must have."""
    content = json.loads((prepared / "datalist.json").read_text())
    everyone = [item for section in ("training", "validation", "test") for item in content[section]]
    for item in everyone:
        for key in ("image", "label"):
            target = folder / item[key]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            os.link(prepared / item[key], target)
    content["training"], content["validation"], content["test"] = everyone[:1], everyone[1:2], everyone[2:]
    (folder / "datalist.json").write_text(json.dumps(content, indent=1))
    return folder


def cases(evaluation: Path) -> list[dict]:
    with (evaluation / "cases.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stressed(folder: Path, data: Path, seed: int) -> Path:
    """A copy of a folder whose test pictures carry artefacts, each drawn for certain or with even odds."""
    content = json.loads((data / "datalist.json").read_text())
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    change = Compose([
        RandSkinToned("image", prob=1.0), RandRulerd("image", prob=0.5, label_key="label"),
        RandHaird("image", prob=0.5), RandGlared("image", prob=0.5),
        RandDarkCornersd("image", prob=0.5, label_key="label"),
    ])  # fmt: skip
    change.set_random_state(seed)
    for section in ("training", "validation", "test"):
        for item in content[section]:
            target = folder / Path(item["image"]).with_suffix(
                ".png" if section == "test" else Path(item["image"]).suffix
            )
            (folder / item["label"]).unlink(missing_ok=True)
            os.link(data / item["label"], folder / item["label"])
            target.unlink(missing_ok=True)
            if section == "test":
                picture = read_colour(data / item["image"]).array
                label = torch.from_numpy(np.array(Image.open(data / item["label"])).T[None])
                given = {"image": torch.from_numpy(picture / np.float32(255)), "label": label}
                changed = np.asarray(change(given)["image"])
                Image.fromarray(np.rint(255 * changed).astype(np.uint8).transpose(2, 1, 0)).save(target)
                item["image"] = str(target.relative_to(folder))
            else:
                os.link(data / item["image"], target)
    (folder / "datalist.json").write_text(json.dumps(content, indent=1))
    return folder


def value(row: dict, metric: str) -> float:
    return float(row[f"lesion_{metric}"]) if row[f"lesion_{metric}"] else float("nan")


def table(rows: dict[str, list[dict]]) -> str:
    """Means over the cases of all folds, each measured once by a network that never saw it."""
    lines = [f"| experiment | cases | {' | '.join(METRICS)} |", "|---|---:|" + "---:|" * len(METRICS)]
    for name, cases in rows.items():
        found = [bootstrap_interval([value(r, m) for r in cases], [r["patient"] for r in cases]) for m in METRICS]
        cells = [f"{each.estimate:.4f} ({each.low:.4f} to {each.high:.4f})" for each in found]
        lines.append(f"| {name} | {len(cases)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def comparisons(rows: dict[str, list[dict]]) -> str:
    """Each experiment against the fine-tuned one with skips, case by case, in Dice, on the same pictures."""
    lines = ["| Dice of | less that of | difference | p (Wilcoxon) | better, worse |", "|---|---|---:|---:|---:|"]
    for name, cases in rows.items():
        first = "finetuned" + name.removeprefix(name.split(", ")[0])
        if name == first or first not in rows:
            continue
        others = {row["case"]: row for row in cases}
        pairs = [(row, others[row["case"]]) for row in rows[first] if row["case"] in others]
        found = paired_difference(
            [value(one, "dice") for one, _ in pairs], [value(two, "dice") for _, two in pairs],
            [one["patient"] for one, _ in pairs],
        )  # fmt: skip
        gap = found.difference
        lines.append(
            f"| {first} | {name} | {gap.estimate:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}) | {found.p_value:.2g} "
            f"| {found.wins}, {found.losses} |"
        )
    return "\n".join(lines)


def draw_curves(args: argparse.Namespace, folds: list[int]) -> None:
    """Validation Dice (of real pictures: not drawn with phantoms, whose it would be) and training loss by epoch, frozen
    and fine-tuned, mean of the folds and their range."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    styles = {
        "frozen": ("#D55E00", "dashed", "encoder frozen"),
        "finetuned": ("#0072B2", "solid", "encoder fine-tuned"),
    }
    for name, (colour, style, label) in styles.items():
        for axis, metric in zip(axes, ("val_lesion_dice", "train_loss"), strict=True):
            curves = []
            for fold in folds:
                record = read_run_file(args.out / name / f"fold{fold}")
                client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or record.tracking_uri)
                history = sorted(client.get_metric_history(record.run_id, metric), key=lambda each: each.step)
                curves.append([each.value for each in history])
            values = np.array(curves)
            steps = np.arange(1, values.shape[1] + 1)
            axis.plot(steps, values.mean(axis=0), color=colour, linestyle=style, label=label)
            axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    for axis, title in zip(axes, ("validation Dice", "training loss (Dice loss)"), strict=True):
        axis.set(xlabel="epoch", title=title)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(0.5, 1.0)
    axes[0].legend(loc="lower right")
    figure.savefig(args.out / "frozen_finetuned.png", dpi=120)


if __name__ == "__main__":
    main()
