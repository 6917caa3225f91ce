"""Compares the two routes to a severity class on the same cases: a classifier of slices, and the measured mask.

    python -m pipelines data prepare covid_ct --raw RAW --out data/covid_ct --folds 5
    python -m pipelines data phantom covid_ct --out data/phantoms --cases 10 --size 192 --slices 20 --seed 11
    cv="python -m pipelines cross-validate --data data/covid_ct --extra-training data/phantoms --out cv"
    $cv covid_ct_lesion_segmentation --network basic_unet --epochs 120
    $cv covid_ct_severity_classification --network severity_shufflenet --epochs 40
    python benchmarks/severity_routes.py data/covid_ct --masks cv/basic_unet --classes cv/severity_shufflenet \\
        --out routes

Both routes are cross-validated on the folds of ``data/covid_ct``: each slice is classified once, by networks that never
saw it nor a slice nearly equal to it. What must be fitted on answers to unseen slices (the classifier's temperature,
the interval of the extent) is fitted on the other folds.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.cross_validation import Fold, Processes, bundle_command, read_folds
from pipelines.evaluation import bootstrap_scores, class_scores, mcnemar
from pipelines.evaluation.calibration import calibration_error, fit_temperature, tempered
from pipelines.evaluation.class_pictures import draw_confusion, draw_reliability
from pipelines.evaluation.classification import confusion, label_scores
from pipelines.tasks.lung_ct.severity import SCALES
from pipelines.tasks.lung_ct.severity_summary import draw_extents, extent_agreement

PROJECT = Path(__file__).resolve().parent.parent
MASKS = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
SCALE = SCALES["normal_mild_severe"]
COVERAGE = 0.9
SHARE = 0.35  # of the extent, what severity.yaml adds by default: drawn, and its coverage is printed
FLOOR = 0.02  # of the interval, where any lesion is found
WIDTH = 2.0  # standard deviations of the interval; the rest of it is a part of the extent, which is fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--masks", type=Path, required=True, help="OUT/NETWORK of the cross-validated lesion bundle")
    parser.add_argument("--classes", type=Path, required=True, help="the same of the severity bundle")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, nargs="+", help="of these alone (default: all)")
    parser.add_argument(
        "--from-evaluation", action="store_true",
        help="of pictures: take the extents that cross-validation measured, by one view, and say nothing of intervals",
    )  # fmt: skip
    args = parser.parse_args()
    args.out = args.out.absolute()
    with Processes() as processes:
        chosen = [each for each in read_folds(args.prepared) if not args.folds or each.number in args.folds]
        folds = [read_fold(args, fold, processes) for fold in chosen]
    masks = [row for fold in folds for row in fold["masks"]]
    by_slice = {(row["case"], int(row["slice"])): row for fold in folds for row in fold["classes"]}
    report(args, folds, masks, [by_slice[row["case"], row["slice"]] for row in masks])  # the same order


def read_fold(args: argparse.Namespace, fold: Fold, processes: Processes) -> dict[str, Any]:
    """Both routes' answers to the slices of one fold; those of the masks are made where they are not there."""
    name = f"fold{fold.number}"
    folder, masks = args.classes / name, args.out / args.masks.name / name
    if not args.from_evaluation and not (masks / "severity.csv").is_file():  # the same for every classifier
        inference = ["inference", f"networks/{args.masks.name}", "severity"]
        words = ["--dataset_dir", str(args.prepared.absolute()), "--datalist", f"datalist_{name}.json"]
        words += ["--checkpoint", str(args.masks.absolute() / name / "last.pt"), "--output_dir", str(masks)]
        words += ["--interval_width", str(WIDTH), "--interval_share", "0", "--interval_floor", "0"]
        configs = [MASKS / "configs" / f"{each}.yaml" for each in inference]
        processes.run(bundle_command(MASKS, configs, words), masks / "severity.log")
    found: dict[str, Any] = {"fold": fold.number}
    found["seconds"] = json.loads((folder / "trained.json").read_text())["seconds"]
    of_evaluation = evaluated(args.masks / name / "evaluation" / "cases.csv") if args.from_evaluation else {}
    found["masks"] = [
        {"fold": fold.number, "case": item["case"], "patient": item["patient"], "form": item.get("form", ""), **row}
        for item in fold.left_out
        for row in (of_evaluation[item["case"]] if of_evaluation else rated(masks / f"{item['case']}_report.json"))
    ]
    with (folder / "evaluation" / "slices.csv").open(newline="") as file:
        found["classes"] = [{"fold": fold.number, **row} for row in csv.DictReader(file)]
    return found


def evaluated(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The same as ``rated`` of pictures, from an evaluation's table: by case, its one slice; the deviation is 0."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        said, true = (float(row[f"lesion_extent_{each}"] or "nan") for each in ("prediction", "label"))
        extent = None if math.isnan(said) else said
        own = {"extent": extent, "true_extent": true, "deviation": 0.0, "slice": 0}
        rated_so = {**own, "class": SCALE.name(extent), "true_class": SCALE.name(true)}
        found[row["case"]] = [] if math.isnan(true) else [rated_so]  # too little lung: no class
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
    print(f"\n{args.classes.name} against {args.masks.name}: {len(labels)} slices, cross-validated\n")
    print("| score | from the mask | classifier |\n|---|---|---|")
    for name in ("accuracy", "balanced_accuracy", "f1"):
        print(f"| {name} | {shown(scores['mask'][name])} | {shown(scores['classifier'][name])} |")
    for name in (f"{n}_{kind}" for n in SCALE.names for kind in ("sensitivity", "specificity")):
        if np.isfinite(scores["classifier"][name].estimate):
            print(f"| {name} | {shown(scores['mask'][name])} | {shown(scores['classifier'][name])} |")
    print(f"| auc (classes that are there) | – | {shown(scores['classifier']['auc'])} |")
    print(f"| ECE before, after | – | {calibration_error(own, labels):.3f}, {calibration_error(mended, labels):.3f} |")
    forms = np.array([row["form"] for row in masks])
    for form in np.unique(forms):
        of = forms == form
        rights = [f"{np.mean(answer[of] == labels[of]):.3f}" for answer in (said, own.argmax(axis=1))]
        print(f"| accuracy, {form or 'all'}: {int(of.sum())} slices | {rights[0]} | {rights[1]} |")
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
        if args.from_evaluation and any(word in name for word in ("coverage", "half_width")):
            continue
        print(f"- {name}: {shown(interval)}")
    share = needed_share(values)
    parts = f"{WIDTH:g} standard deviations + {share:.3f} of the extent + {FLOOR:g}"
    if not args.from_evaluation:
        print(f"- interval that covers {COVERAGE:.0%} of all: {parts}")
    print(f"- temperatures by fold: {', '.join(f'{t:.2f}' for t in temperatures.values())}")
    print(f"- classifier: training {np.mean([f['seconds'] for f in folds]):.0f} s a fold")
    folder = args.out / args.classes.name
    folder.mkdir(parents=True, exist_ok=True)
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


if __name__ == "__main__":
    main()
