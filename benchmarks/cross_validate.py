"""Cross-validates a network of the lesion bundle on a prepared folder, and trains the weights that are shipped.

    python -m pipelines data prepare covid_ct --raw RAW --out data/covid_ct --folds 5
    python -m pipelines data phantom covid_ct --out data/phantoms --cases 10 --size 192 --slices 20 --seed 11
    python benchmarks/cross_validate.py data/covid_ct --phantoms data/phantoms --network basic_unet --out cv
    python benchmarks/cross_validate.py data/covid_ct --phantoms data/phantoms --network basic_unet --out cv --ship

Each fold is left out once, and nothing is chosen on it: the schedule is fixed and the weights of the last epoch are
measured. A training slice that looks like one left out (the same patient, most likely) is dropped. Phantoms only ever
join the training: they teach what neither a lung nor its neighbourhood is.
Every step is a command of the bundle; the runs are tracked like any other.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from monai.bundle import ConfigParser
from numpy.typing import NDArray

from pipelines.bundle import run_environment
from pipelines.evaluation import bootstrap_interval, write_evaluation
from pipelines.evaluation.case_tables import cases_digest
from pipelines.evaluation.kept_masks import pool_masks
from pipelines.evaluation.report import EvaluationRow, flatten
from pipelines.preparation.likeness import near_pairs, perceptual_hash
from pipelines.readers import read_case
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tracking import PARENT_RUN, tracking_uri
from pipelines.tracking.run_contents import commit, log_data, parameter_count, versions
from pipelines.tracking.run_writer import RunWriter
from pipelines.weights import read_weights

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
CONFIGS = BUNDLE / "configs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--phantoms", type=Path, required=True, help="a prepared folder of phantoms")
    parser.add_argument("--network", default="basic_unet")
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="folds at a time, a thread each")
    parser.add_argument("--folds", type=int, nargs="*", help="only these")
    parser.add_argument("--start", type=Path, help="the --out of an earlier call, whose weights training starts from")
    parser.add_argument("--ship", action="store_true", help="train on all cases and write models/NETWORK.safetensors")
    args, knobs = parser.parse_known_args()
    args.out = args.out.absolute()
    if args.start and args.start.absolute() == args.out:
        parser.error("--start and --out must differ")
    if args.ship:
        return ship(args, knobs)
    lists = sorted(args.prepared.glob("datalist_fold*.json"))
    chosen = [k for k in range(len(lists)) if not args.folds or k in args.folds]
    parent = RunWriter(tracking_uri(PROJECT))
    tags = {"folds": str(len(chosen)), **versions(), **commit()}
    started = parent.start(BUNDLE.name, f"{args.network}-{len(chosen)}-folds", tags)
    if started is not None:  # the folds' runs are nested in it
        os.environ[PARENT_RUN] = started
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = [row for fold in pool.map(lambda k: run_fold(args, lists[k], k, knobs), chosen) for row in fold]
    print(table(args.network, rows))
    keep(parent, args, rows)
    parent.end("FINISHED")
    (args.out / args.network / "cases.json").write_text(json.dumps(rows, indent=1))


def keep(parent: RunWriter, args: argparse.Namespace, rows: list[dict]) -> None:
    """All folds' cases as the evaluation of the run that the folds are nested in: one row of `compare`, one card."""
    folder = args.out / args.network / "evaluation"
    plain = ("case", "patient", "group", "fold")
    pooled: list[EvaluationRow] = [
        {
            "case": row["case"],
            "patient": row["patient"],
            "metrics": {name: float(value or "nan") for name, value in row.items() if name not in plain},
        }
        for row in rows
    ]
    summary = write_evaluation(pooled, folder, notes=["each case was measured once, by networks that never saw it"])
    folds = sorted({row["fold"] for row in rows})
    pool_masks([args.out / args.network / f"fold{fold}" / "evaluation" for fold in folds], folder)
    files = [str(CONFIGS / "inference.yaml"), str(CONFIGS / "networks" / f"{args.network}.yaml")]
    network = ConfigParser(ConfigParser.load_config_files(files)).get_parsed_content("network_def")
    about = {"network": args.network, "epochs": args.epochs, "parameters": parameter_count(network)}
    parent.params({**about, "folds": len(folds)})
    parent.metrics(flatten(summary))
    log_data(parent, args.prepared / "datalist.json", "cross-validation")
    parent.tags({"test_cases": cases_digest(folder / "cases.csv"), "network": args.network})
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        parent.file(path, (Path("evaluation") / path.parent.relative_to(folder)).as_posix())
    parent.text(table(args.network, rows) + "\n", "folds.md")


def run_fold(args: argparse.Namespace, datalist: Path, fold: int, knobs: list[str]) -> list[dict]:
    """Trains without the fold and measures on it; returns the rows of its cases."""
    content = json.loads(datalist.read_text())
    training, left_out = content["training"] + content["validation"], content["test"]
    training = without_twins(args.prepared, training, left_out)
    folder = args.out / args.network / f"fold{fold}"
    data = combine(folder / "data", args, content, training, left_out)
    names = [*start(args, folder), "--run_name", f"{args.network}-fold{fold}"]
    run(args, data, folder, ["train.yaml"], [*knobs, *names], folder / "train.log")
    run(
        args, data, folder, ["train.yaml", "evaluate.yaml"],
        [*knobs, "--checkpoint", str(folder / "last.pt")], folder / "evaluate.log",
    )  # fmt: skip
    with (folder / "evaluation" / "cases.csv").open(newline="") as file:
        return [{"fold": fold, **row} for row in csv.DictReader(file)]


def start(args: argparse.Namespace, folder: Path) -> list[str]:
    """The flag that makes a training begin with the weights of the same fold in an earlier call."""
    return ["--pretrained", str(args.start.absolute() / folder.relative_to(args.out) / "last.pt")] if args.start else []


def scaled_ct(path: Path) -> NDArray:
    """An image as ``perceptual_hash`` takes it."""
    case = read_case(path)
    return scale_ct(case.array, case.intensity)


def without_twins(
    prepared: Path, training: list[dict], left_out: list[dict], read: Callable[[Path], NDArray] = scaled_ct
) -> list[dict]:
    """The training cases that do not nearly equal a left-out one; ``read`` gives an image (X, Y, Z), 0..1."""
    hashes = {item["case"]: perceptual_hash(read(prepared / item["image"])) for item in training + left_out}
    sections = {"training": [item["case"] for item in training], "test": [item["case"] for item in left_out]}
    twins = {name for first, second, _ in near_pairs(hashes, sections) for name in (first, second)}
    return [item for item in training if item["case"] not in twins]


def ship(args: argparse.Namespace, knobs: list[str]) -> None:
    """Trains on every case, and keeps the last epoch's weights; phantoms are watched, nothing is measured."""
    from safetensors.torch import save_file

    content = json.loads((args.prepared / "datalist.json").read_text())
    training = content["training"] + content["validation"] + content["test"]
    folder = args.out / args.network / "ship"
    data = combine(folder / "data", args, content, training, [])
    names = [*start(args, folder), "--run_name", f"{args.network}-shipped"]
    run(args, data, folder, ["train.yaml"], [*knobs, *names], folder / "train.log")
    target = BUNDLE / "models" / f"{args.network}.safetensors"
    note = {
        "data": "COVID-SemiSeg training part, 50 slices; phantoms", "fingerprint": content["fingerprint"],
        "use": "research only", "epochs": str(args.epochs),
    }  # fmt: skip
    save_file({k: v.contiguous() for k, v in read_weights(folder / "last.pt").items()}, target, metadata=note)
    print(f"{target.relative_to(PROJECT)}: {target.stat().st_size / 1e6:.2f} MB")


def combine(folder: Path, args: argparse.Namespace, content: dict, training: list, test: list) -> Path:
    """A prepared folder: the cases and the phantoms to train on, phantoms to watch, and what is measured at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    phantoms = json.loads((args.phantoms / "datalist.json").read_text())
    parts = {
        "training": [(args.prepared, item) for item in training]
        + [(args.phantoms, item) for item in phantoms["training"]],
        "validation": [(args.phantoms, item) for item in phantoms["validation"]],
        "test": [(args.prepared, item) for item in test] or [(args.phantoms, item) for item in phantoms["test"]],
    }
    for source, item in (pair for part in parts.values() for pair in part):
        for key in ("image", "label"):
            target = folder / item[key]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / item[key], target)
    head = {key: value for key, value in content.items() if key not in (*parts, "counts")}
    lists = {name: [item for _, item in part] for name, part in parts.items()}
    (folder / "datalist.json").write_text(json.dumps({**head, **lists}, indent=1))
    return folder


def run(args: argparse.Namespace, data: Path, ckpt_dir: Path, configs: list[str], knobs: list[str], log: Path) -> None:
    files = [str(CONFIGS / name) for name in configs]
    files.insert(1, str(CONFIGS / "networks" / f"{args.network}.yaml"))
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root", str(BUNDLE)]
    command += ["--dataset_dir", str(data), "--ckpt_dir", str(ckpt_dir), "--epochs", str(args.epochs)]
    command += ["--val_interval", str(args.epochs), *knobs]
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // args.jobs))}
    with log.open("w") as file:
        subprocess.run(command, env=run_environment(**threads), stdout=file, stderr=subprocess.STDOUT, check=True)


def table(network: str, rows: list[dict]) -> str:
    """Means over the cases of all folds, each measured once by a network that never saw it."""
    lines = [f"{network}: {len(rows)} cases", "| metric | mean | 95 % interval |", "|---|---|---|"]
    for metric in [key for key in rows[0] if key.startswith(("lesion_", "lung_", "pixel_"))]:
        values = [float(row[metric]) if row[metric] else float("nan") for row in rows]
        interval = bootstrap_interval(values, [row["patient"] for row in rows])
        lines.append(f"| {metric} | {interval.estimate:.4f} | {interval.low:.4f} to {interval.high:.4f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
