"""The experiments of the ISIC 2016 study on a prepared folder, cross-validated and compared case by case.

    python -m pipelines data prepare ph2 --raw RAW --out data/ph2 --folds 5
    python benchmarks/skin_experiments.py data/ph2 --encoder_weights mobilenet_v2.pth --out skin
    python -m pipelines data phantom isic2016 --out data/skin_phantoms --cases 200 --size 256 --seed 11
    python benchmarks/skin_experiments.py data/ph2 --encoder_weights mobilenet_v2.pth --out skin \\
        --phantoms data/skin_phantoms --ship

Each fold is left out once, and nothing is chosen on it: the schedule is fixed and the weights of the last epoch are
measured, at the pictures' own size. A training picture that nearly equals one left out is dropped. `--stress` measures
the left-out pictures again with colours, hairs, dark corners, rulers and glare drawn as the default augmentation draws
them: it shows what is lost to these, and is no other clinic. `--ship` trains on all cases and on phantoms, and writes
``models/skips.safetensors``.
Every step is a command of the bundle; the runs are tracked like any other.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from cross_validate import combine, without_twins
from mlflow import MlflowClient
from monai.transforms import Compose
from PIL import Image

from pipelines.bundle import run_environment
from pipelines.evaluation import bootstrap_interval, paired_difference
from pipelines.readers import read_colour
from pipelines.tasks.dermoscopy.transforms import RandDarkCornersd, RandGlared, RandHaird, RandRulerd, RandSkinToned
from pipelines.tracking.run_file import read_run_file
from pipelines.weights import read_weights

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "skin_lesion_segmentation"
CONFIGS = BUNDLE / "configs"
# name: the overlays of the bundle that make it
EXPERIMENTS = {
    "finetuned": ["networks/skips"],
    "frozen": ["networks/skips"],  # and --freeze_encoder
    "last_feature": ["networks/last_feature"],
    "interpolating": ["networks/interpolating"],
    "reference_augmentation": ["networks/skips", "reference_augmentation"],
}
METRICS = ("dice", "iou", "thresholded_iou", "sensitivity", "specificity", "accuracy", "hd95_px")
SHIPPED = "skips"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--encoder_weights", required=True)
    parser.add_argument("--experiments", nargs="*", default=list(EXPERIMENTS), choices=list(EXPERIMENTS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--phantoms", type=Path, help="a prepared folder of phantoms that join the training")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, a thread each")
    parser.add_argument("--folds", type=int, nargs="*", help="only these")
    parser.add_argument("--stress", action="store_true", help="measure the left-out pictures with artefacts too")
    parser.add_argument("--report", action="store_true", help="train nothing: report what an earlier call has left")
    parser.add_argument("--ship", action="store_true", help="train on all cases and write models/skips.safetensors")
    args, knobs = parser.parse_known_args()
    args.out, args.encoder_weights = args.out.absolute(), str(Path(args.encoder_weights).absolute())
    if args.ship:
        if args.phantoms is None:
            parser.error("--ship needs --phantoms")
        return ship(args, knobs)
    lists = sorted(args.prepared.glob("datalist_fold*.json"))
    chosen = [k for k in range(len(lists)) if not args.folds or k in args.folds]
    jobs = [(name, k) for k in chosen for name in args.experiments]
    if args.report:
        done = [left_over(args.out / name / f"fold{k}") for name, k in jobs]
    else:
        with ThreadPoolExecutor(args.jobs) as pool:
            done = list(pool.map(lambda job: run_fold(args, job[0], lists[job[1]], job[1], knobs), jobs))
    rows: dict[str, list[dict]] = {}
    for (name, _), found in zip(jobs, done, strict=True):
        for kind, cases in found.items():
            rows.setdefault(name if kind == "evaluation" else f"{name}, {kind}", []).extend(cases)
    text = table(rows) + "\n\n" + comparisons(rows)
    print(text)
    (args.out / "results.md").write_text(text + "\n")
    if {"frozen", "finetuned"} <= set(args.experiments) and not args.phantoms:
        draw_curves(args, chosen)


def run_fold(args: argparse.Namespace, name: str, datalist: Path, fold: int, knobs: list[str]) -> dict[str, list[dict]]:
    """Trains without the fold and measures on it; rows of its cases, by kind of measurement."""
    folder = args.out / name / f"fold{fold}"
    content = json.loads(datalist.read_text())
    training = without_twins(args.prepared, content["training"] + content["validation"], content["test"], grey)
    data = folder / "data"
    if args.phantoms:
        combine(data, args, content, training, content["test"])
    else:
        link(data, args.prepared, content, training)
    log = folder / "train.log"
    run(args, name, data, folder, ["train"], ["--run_name", f"{name}-fold{fold}", *epochs(args), *knobs], log)
    found = {}
    kinds = {"evaluation": data}
    if args.stress:
        kinds["stressed"] = stressed(folder / "stressed_data", data, fold)
    for kind, place in kinds.items():
        flags = ["--checkpoint", str(folder / "last.pt"), "--output_dir", str(folder / kind)]
        flags += ["--track", str(kind == "evaluation")]  # the run keeps the figures of the pictures as they are
        run(args, name, place, folder, ["train", "evaluate"], [*flags, *knobs], folder / f"{kind}.log")
        with (folder / kind / "cases.csv").open(newline="") as file:
            found[kind] = list(csv.DictReader(file))
    return found


def left_over(folder: Path) -> dict[str, list[dict]]:
    """The rows that an earlier call has left in a fold's folder."""
    found = {}
    for kind in ("evaluation", "stressed"):
        if (folder / kind / "cases.csv").is_file():
            with (folder / kind / "cases.csv").open(newline="") as file:
                found[kind] = list(csv.DictReader(file))
    return found


def grey(path: Path) -> np.ndarray:
    """A picture as ``perceptual_hash`` takes it."""
    return read_colour(path).array.mean(axis=0, dtype=np.float32)[:, :, None] / 255


def link(folder: Path, prepared: Path, content: dict, training: list[dict]) -> None:
    """The prepared folder with another datalist: every eighth case of the training is watched, for the curves."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("images", "labels"):
        if not (folder / name).exists():
            (folder / name).mkdir()
        for path in (prepared / name).iterdir():
            target = folder / name / path.name
            if not target.exists():
                os.link(path, target)
    head = {key: value for key, value in content.items() if key != "counts"}
    watched = training[::8]
    kept = [item for item in training if item not in watched]
    lists = {"training": kept, "validation": watched, "test": content["test"]}
    (folder / "datalist.json").write_text(json.dumps({**head, **lists}, indent=1))


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


def epochs(args: argparse.Namespace) -> list[str]:
    return ["--epochs", str(args.epochs), "--val_interval", "1", "--patience", str(args.epochs)]


def ship(args: argparse.Namespace, knobs: list[str]) -> None:
    """Trains on every case, and keeps the last epoch's weights in half precision (norm layers whole)."""
    from safetensors.torch import save_file

    content = json.loads((args.prepared / "datalist.json").read_text())
    training = content["training"] + content["validation"] + content["test"]
    folder = args.out / "ship"
    data = combine(folder / "data", args, content, training, [])
    flags = ["--run_name", "shipped", *epochs(args), "--val_interval", str(args.epochs), *knobs]
    run(args, "finetuned", data, folder, ["train"], flags, folder / "train.log")
    state = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for key, value in read_weights(folder / "last.pt").items()
    }
    note = {
        "data": f"{content['name']}, {len(training)} pictures; phantoms", "fingerprint": content["fingerprint"],
        "use": "research only (PH2: research and education)", "epochs": str(args.epochs),
    }  # fmt: skip
    target = BUNDLE / "models" / f"{SHIPPED}.safetensors"
    target.parent.mkdir(exist_ok=True)
    save_file(state, target, metadata=note)
    print(f"{target.relative_to(PROJECT)}: {target.stat().st_size / 1e6:.2f} MB")


def run(
    args: argparse.Namespace, name: str, data: Path, ckpt_dir: Path, configs: list[str], knobs: list[str], log: Path
) -> None:
    files = [configs[0], *EXPERIMENTS[name], *configs[1:]]
    paths = str([str(CONFIGS / f"{each}.yaml") for each in files])
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", paths, "--bundle_root", str(BUNDLE)]
    command += [
        "--dataset_dir",
        str(data),
        "--ckpt_dir",
        str(ckpt_dir),
        "--encoder_weights",
        args.encoder_weights,
        *(["--freeze_encoder", "True"] if name == "frozen" else []),
        *knobs,
    ]
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // args.jobs))}
    with log.open("w") as file:
        subprocess.run(command, env=run_environment(**threads), stdout=file, stderr=subprocess.STDOUT, check=True)


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
    """Each experiment against the fine-tuned one with skips, case by case, in Dice."""
    lines = ["| Dice of | less that of | difference | p (Wilcoxon) | better, worse |", "|---|---|---:|---:|---:|"]
    for name, cases in rows.items():
        first = "finetuned, stressed" if name.endswith(", stressed") else "finetuned"
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
