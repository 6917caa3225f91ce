"""Compares the two routes to a severity class on the same cases: a classifier of slices, and the measured mask.

    python -m pipelines data prepare covid_ct --raw RAW --out data/covid_ct --folds 5
    python -m pipelines data phantom covid_ct --out data/phantoms --cases 10 --size 192 --slices 20 --seed 11
    python benchmarks/cross_validate.py data/covid_ct --phantoms data/phantoms --network basic_unet --out cv
    python benchmarks/severity_routes.py data/covid_ct --phantoms data/phantoms --masks cv/basic_unet \\
        --network severity_shufflenet --epochs 40 --out routes

Both routes are cross-validated on the folds of ``data/covid_ct``: each slice is classified once, by networks that never
saw it nor a slice nearly equal to it. The masks are those of an earlier ``cross_validate.py``. The classifier trains on
the same slices and phantoms, its schedule fixed, the last epoch's weights measured. What must be fitted on answers to
unseen slices (the classifier's temperature, the interval of the extent) is fitted on the other folds. `--ship`
trains the classifier on all cases and writes ``models/NETWORK.safetensors`` with the temperature of all folds' answers.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from cross_validate import combine, without_twins

from pipelines.bundle import run_environment
from pipelines.evaluation import bootstrap_scores, class_scores, mcnemar
from pipelines.evaluation.calibration import calibration_error, fit_temperature, mean_negative_log_likelihood, tempered
from pipelines.evaluation.class_pictures import draw_confusion, draw_reliability
from pipelines.evaluation.classification import confusion, label_scores
from pipelines.tasks.lung_ct.severity import SCALES
from pipelines.tasks.lung_ct.severity_summary import draw_extents, extent_agreement
from pipelines.transforms import Calibration, calibration_path
from pipelines.weights import read_weights, weights_digest

PROJECT = Path(__file__).resolve().parent.parent
MASKS = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
CLASSES = PROJECT / "bundles" / "covid_ct_severity_classification"
SCALE = SCALES["normal_mild_severe"]
COVERAGE = 0.9
SHARE = 0.35  # of the extent, what severity.yaml adds by default: drawn, and its coverage is printed
FLOOR = 0.02  # of the interval, where any lesion is found
WIDTH = 2.0  # standard deviations of the interval; the rest of it is a part of the extent, which is fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--phantoms", type=Path, required=True, help="a prepared folder of phantoms")
    parser.add_argument("--masks", type=Path, required=True, help="OUT/NETWORK of cross_validate.py")
    parser.add_argument("--network", default="severity_shufflenet", help="of the classifier")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="folds at a time, a thread each")
    parser.add_argument("--ship", action="store_true", help="train on all cases and write models/NETWORK.safetensors")
    args, knobs = parser.parse_known_args()
    args.out = args.out.absolute()
    lists = sorted(args.prepared.glob("datalist_fold*.json"))
    with ThreadPoolExecutor(args.jobs) as pool:
        folds = list(pool.map(lambda k: run_fold(args, lists[k], k, knobs), range(len(lists))))
    masks = [row for fold in folds for row in fold["masks"]]
    by_slice = {(row["case"], int(row["slice"])): row for fold in folds for row in fold["classes"]}
    classes = [by_slice[row["case"], row["slice"]] for row in masks]  # the same order
    report(args, folds, masks, classes)
    if args.ship:
        ship(args, knobs, classes)


def run_fold(args: argparse.Namespace, datalist: Path, fold: int, knobs: list[str]) -> dict[str, Any]:
    """Both routes' answers to the slices of one fold."""
    content = json.loads(datalist.read_text())
    left_out = content["test"]
    training = without_twins(args.prepared, content["training"] + content["validation"], left_out)
    folder = args.out / args.network / f"fold{fold}"
    masks = args.out / args.masks.name / f"fold{fold}"
    if not (masks / "severity.csv").is_file():  # the same for every classifier
        inference = [str(MASKS / "configs" / name) for name in ("inference.yaml", "severity.yaml")]
        inference.insert(1, str(MASKS / "configs" / "networks" / f"{args.masks.name}.yaml"))
        words = ["--dataset_dir", str(args.prepared.absolute()), "--datalist", datalist.name]
        words += ["--checkpoint", str(args.masks.absolute() / f"fold{fold}" / "last.pt")]
        plain = ["--interval_width", str(WIDTH), "--interval_share", "0", "--interval_floor", "0"]
        run(args, MASKS, inference, [*words, *plain, "--output_dir", str(masks)], masks)
    seconds = 0.0
    if not (folder / "evaluation" / "slices.csv").is_file():
        data = combine(folder / "data", args, content, training, left_out)
        names = ["--dataset_dir", str(data), "--ckpt_dir", str(folder), "--epochs", str(args.epochs), *knobs]
        train = [str(CLASSES / "configs" / name) for name in ("train.yaml", f"networks/{args.network}.yaml")]
        started = time.monotonic()
        fixed = ["--val_interval", str(args.epochs), "--run_name", f"{args.network}-fold{fold}"]
        run(args, CLASSES, train, [*names, *fixed], folder)
        seconds = time.monotonic() - started
        evaluate = [*train, str(CLASSES / "configs" / "evaluate.yaml")]
        last = ["--checkpoint", str(folder / "last.pt"), "--calibration", "$None"]
        run(args, CLASSES, evaluate, [*names, *last], folder)
        (folder / "seconds.txt").write_text(f"{seconds:.1f}")
    found = {"fold": fold, "seconds": float((folder / "seconds.txt").read_text())}
    found["masks"] = [
        {"fold": fold, "case": item["case"], "patient": item["patient"], **row}
        for item in left_out
        for row in rated(masks / f"{item['case']}_report.json")
    ]
    with (folder / "evaluation" / "slices.csv").open(newline="") as file:
        found["classes"] = [{"fold": fold, **row} for row in csv.DictReader(file)]
    return found


def rated(path: Path) -> list[dict[str, Any]]:
    """The slices of a report with a true class; ``deviation``: the standard deviation of what the members say."""
    severity = json.loads(path.read_text())["severity"]
    rows = [each for each in severity["slices"] if each["true_class"] is not None]
    for row in rows:
        bounds = [row[key] for key in ("extent_low", "extent_high")]
        reach = max(abs(b - row["extent"]) for b in bounds) if None not in bounds else math.nan
        row["deviation"] = reach / WIDTH
    return rows


def run(args: argparse.Namespace, bundle: Path, files: list[str], words: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root", str(bundle)]
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // args.jobs))}
    with (folder / f"{Path(files[-1]).stem}.log").open("w") as file:
        subprocess.run(
            [*command, *words],
            env=run_environment(**threads), stdout=file, stderr=subprocess.STDOUT, check=True,
        )  # fmt: skip


def report(args: argparse.Namespace, folds: list[dict], masks: list[dict], classes: list[dict]) -> None:
    """Print the tables, and leave plots and answers in OUT."""
    labels = np.array([SCALE.names.index(row["label"]) for row in classes])
    if [row["true_class"] for row in masks] != [row["label"] for row in classes]:
        raise SystemExit("the two routes disagree about the truth: were the data prepared anew in between?")
    patients, fold = [row["patient"] for row in masks], np.array([row["fold"] for row in masks])
    own = np.array([[float(row[f"p_{name}"]) for name in SCALE.names] for row in classes])
    mended, temperatures = own.copy(), {}
    for k in np.unique(fold):
        temperatures[int(k)], _ = fit_temperature(own[fold != k], labels[fold != k])
        mended[fold == k] = tempered(own[fold == k], temperatures[int(k)])
    said = np.array([SCALE.names.index(row["class"]) if row["class"] else len(SCALE.names) for row in masks])
    scores = {
        "mask": bootstrap_scores(lambda i: label_scores(labels[i], said[i], SCALE.names), patients),
        "classifier": bootstrap_scores(lambda i: class_scores(mended[i], labels[i], SCALE.names), patients),
    }
    print(f"\n{args.network} against {args.masks.name}: {len(labels)} slices, cross-validated\n")
    print("| score | from the mask | classifier |\n|---|---|---|")
    for name in ("accuracy", "balanced_accuracy", "f1"):
        print(f"| {name} | {shown(scores['mask'][name])} | {shown(scores['classifier'][name])} |")
    for name in (f"{n}_{kind}" for n in SCALE.names for kind in ("sensitivity", "specificity")):
        if np.isfinite(scores["classifier"][name].estimate):
            print(f"| {name} | {shown(scores['mask'][name])} | {shown(scores['classifier'][name])} |")
    print(f"| auc (classes that are there) | – | {shown(scores['classifier']['auc'])} |")
    print(f"| ECE before, after | – | {calibration_error(own, labels):.3f}, {calibration_error(mended, labels):.3f} |")
    test = mcnemar(said == labels, own.argmax(axis=1) == labels)
    print(
        f"\nMcNemar, paired: only the mask right {test.only_first}, only the classifier right {test.only_second}, "
        f"exact p = {test.p_value:.3f}"
    )
    measured = [row for row in masks if row["extent"] is not None]
    values = np.array([[row[key] for key in ("extent", "true_extent", "deviation")] for row in measured])
    of_fold = np.array([row["fold"] for row in measured])
    agreement = bootstrap_scores(lambda i: coverage(values[i], of_fold[i]), [row["patient"] for row in measured])
    print("\nExtent by the predicted mask:\n")
    for name, interval in agreement.items():
        print(f"- {name}: {shown(interval)}")
    share = needed_share(values)
    parts = f"{WIDTH:g} standard deviations + {share:.3f} of the extent + {FLOOR:g}"
    print(f"- interval that covers {COVERAGE:.0%} of all: {parts}")
    print(f"- temperatures by fold: {', '.join(f'{t:.2f}' for t in temperatures.values())}")
    print(f"- classifier: training {np.mean([f['seconds'] for f in folds]):.0f} s a fold")
    folder = args.out / args.network
    pairs = [(row["patient"], bounded(row, SHARE)) for row in measured]
    with (folder / "extent.png").open("wb") as file:
        draw_extents(pairs, "slice", SCALE, file)
    with (folder / "reliability.png").open("wb") as file:
        draw_reliability(own, mended, labels, float(np.mean(list(temperatures.values()))), file)
    for route, predicted in (("mask", said), ("classifier", own.argmax(axis=1))):
        with (folder / f"confusion_{route}.png").open("wb") as file:
            names = [*SCALE.names, "not rated"][: max(int(predicted.max()) + 1, len(SCALE.names))]
            draw_confusion(confusion(labels, predicted, len(names)), names, file)
    (folder / "answers.json").write_text(json.dumps({"masks": masks, "classes": classes}, indent=1))


def needed_share(values: np.ndarray) -> float:
    """The part of the extent that an interval needs, beside the deviations, to cover so many of the true extents: split
    conformal prediction (Lei et al., J Am Stat Assoc 113:1094, 2018)."""
    extent, true, deviation = values.T
    missing = (np.abs(extent - true) - WIDTH * deviation - FLOOR * (extent > 0)) / np.maximum(extent, 1e-3)
    rank = min(np.ceil((len(missing) + 1) * COVERAGE) / len(missing), 1.0)
    return max(float(np.quantile(missing, rank, method="higher")), 0.0)


def coverage(values: np.ndarray, fold: np.ndarray) -> dict[str, float]:
    """Errors of the extent, and how often an interval covers whose share of the extent the other folds gave."""
    extent, true, deviation = values.T
    half = WIDTH * deviation + FLOOR * (extent > 0)
    for k in np.unique(fold):
        others = values[fold != k]
        half[fold == k] += needed_share(others if len(others) else values) * extent[fold == k]
    found = extent_agreement(extent, true, np.clip(extent - half, 0, 1), np.clip(extent + half, 0, 1))
    default = WIDTH * deviation + SHARE * extent + FLOOR * (extent > 0)
    plain = extent_agreement(extent, true, extent - WIDTH * deviation, extent + WIDTH * deviation)
    return found | {
        "coverage_of_the_deviations_alone": plain["interval_coverage"],
        "coverage_of_the_default": extent_agreement(extent, true, extent - default, extent + default)[
            "interval_coverage"
        ],
        "fitted_mean_half_width": float(half.mean()),
    }


def bounded(row: dict[str, Any], share: float) -> dict[str, Any]:
    extent = row["extent"]
    reach = WIDTH * row["deviation"] + share * extent + FLOOR * (extent > 0)
    return {
        "extent": extent, "true_extent": row["true_extent"],
        "extent_low": max(extent - reach, 0.0), "extent_high": min(extent + reach, 1.0),
    }  # fmt: skip


def shown(interval: Any) -> str:
    if not np.isfinite(interval.low):
        return f"{interval.estimate:.3f}" if np.isfinite(interval.estimate) else "–"
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def ship(args: argparse.Namespace, knobs: list[str], classes: list[dict]) -> None:
    """Train on every case; the last epoch's weights in half precision (they must stay under 25 MB), and the temperature
    that all folds' answers to unseen slices ask for."""
    from safetensors.torch import save_file

    content = json.loads((args.prepared / "datalist.json").read_text())
    folder = args.out / args.network / "ship"
    training = content["training"] + content["validation"] + content["test"]
    data = combine(folder / "data", args, content, training, [])
    names = ["--dataset_dir", str(data), "--ckpt_dir", str(folder), "--epochs", str(args.epochs), *knobs]
    train = [str(CLASSES / "configs" / name) for name in ("train.yaml", f"networks/{args.network}.yaml")]
    fixed = ["--val_interval", str(args.epochs), "--run_name", f"{args.network}-shipped"]
    run(args, CLASSES, train, [*names, *fixed], folder)
    target = CLASSES / "models" / f"{args.network}.safetensors"
    note = {
        "data": "COVID-SemiSeg training part, 50 slices; phantoms", "fingerprint": content["fingerprint"],
        "use": "research only", "epochs": str(args.epochs),
    }  # fmt: skip
    state = read_weights(folder / "last.pt")
    halved = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    save_file(halved, target, note)
    labels = np.array([SCALE.names.index(row["label"]) for row in classes])
    own = np.array([[float(row[f"p_{name}"]) for name in SCALE.names] for row in classes])
    temperature, word = fit_temperature(own, labels)
    Calibration(
        temperature=temperature, ece_before=calibration_error(own, labels),
        ece_after=calibration_error(tempered(own, temperature), labels),
        nll_before=mean_negative_log_likelihood(own, labels),
        names=list(SCALE.names), thresholds=list(SCALE.thresholds),
        nll_after=mean_negative_log_likelihood(own, labels, temperature),
        slices=len(labels), mistakes=int((own.argmax(axis=1) != labels).sum()), weights=weights_digest(target),
        note="; ".join(filter(None, ["fitted on the folds' answers to slices they did not see", word])),
    ).write(calibration_path(target))  # fmt: skip
    print(f"{target.relative_to(PROJECT)}: {target.stat().st_size / 1e6:.2f} MB, temperature {temperature:.2f}")


if __name__ == "__main__":
    main()
