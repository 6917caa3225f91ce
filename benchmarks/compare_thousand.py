"""Time and memory of `python -m pipelines compare` on a store with many runs.

    python benchmarks/compare_thousand.py [--runs 1000] [--cases 60] [--folder DIR]

Fills a SQLite store with evaluated runs of two bundles, half of them segmentations and half classifications, in four
data sets, with files of cases as evaluations leave them; one run in twenty failed. Then the page is made in a process
of its own, which rebuilds and times the networks too. The limits are 30 s and 1 GiB.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _measuring import Figures, add_json
from mlflow.entities import Metric, Param, RunTag

from pipelines.evaluation.case_tables import cases_digest
from pipelines.files import table
from pipelines.tracking.store import experiment_id, open_store

PROJECT = Path(__file__).resolve().parent.parent
SEGMENTATION = (
    "covid_ct_lesion_segmentation",
    (("tiny_unet", 9235), ("basic_unet", 1978499), ("lesion_unet", 7762531)),
)
CLASSIFICATION = ("chest_xray_pneumonia_classification", (("chest_cnn", None), ("small_alexnet", None)))
MEASURE = """
import sys, time
from pathlib import Path
from pipelines.__main__ import main
code = main(sys.argv[1:])
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
print("measured", code, peak, time.process_time())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where the store is made, and kept for another look")
    add_json(parser)
    args = parser.parse_args()
    figures = Figures("compare_thousand")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        uri = f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        if not (folder / "mlflow.db").exists():
            fill(uri, args.runs, args.cases)
        seconds, processor, kib = measure(uri, folder / "page")
        page = (folder / "page" / "comparison.html").stat().st_size
    print("| runs | seconds | of a processor | peak, MiB | page, MB |\n|---:|---:|---:|---:|---:|")
    print(f"| {args.runs} | {seconds:.1f} | {processor:.1f} | {kib / 1024:.0f} | {page / 1e6:.1f} |")
    figures.add(f"compare of {args.runs} runs", "s of a processor", processor)
    figures.add(f"compare of {args.runs} runs, peak", "MiB", kib / 1024)
    figures.write(args.json)


def fill(uri: str, runs: int, cases: int) -> None:
    """Add the runs, each by one batch."""
    logging.disable(logging.INFO)
    client = open_store(uri)
    rng = np.random.default_rng(0)
    for number in range(runs):
        experiment, networks = SEGMENTATION if number % 2 else CLASSIFICATION
        network, parameters = networks[number // 2 % len(networks)]
        params = {
            "network": network, "seed": number % 5, "learning_rate": round(0.001 * (1 + number // 60), 4), "epochs": 30,
            "data_name": "made", "data_fingerprint": f"sha256:{number % 4:064x}", "data_split": "{}",
            "data_training_cases": 100, "data_validation_cases": 20, "data_test_cases": cases,
            "slice_size" if number % 2 else "image_size": "[64, 64]", "dropout": 0.2,
            **({} if parameters is None else {"parameters": parameters}),
            **{f"knob_{k}": k for k in range(15)},
        }  # fmt: skip
        run = client.create_run(experiment_id(client, uri, experiment), run_name=f"{network}-{number}")
        failed = number % 20 == 7
        metrics = [
            Metric(name, float(1 / epoch + rng.normal(0, 0.01)), epoch, epoch)
            for epoch in range(1, 31)
            for name in ("train_loss", "val_lesion_dice" if number % 2 else "val_auc")
        ]
        tags = [RunTag("config_files", "train.yaml")]
        if not failed:
            content, name, scores = evaluated(rng, cases, segmentation=bool(number % 2))
            target = Path(run.info.artifact_uri.removeprefix("file://")) / "evaluation"
            target.mkdir(parents=True)
            for file in {name, "cases.csv"}:
                (target / file).write_text(content)
            tags.append(RunTag("test_cases", cases_digest(target / "cases.csv")))
            for score, value in scores.items():
                bounds = (("", value), ("_ci_low", value - 0.03), ("_ci_high", value + 0.03))
                metrics += [Metric(f"test_{score}{end}", each, 0, 0) for end, each in bounds]
        client.log_batch(run.info.run_id, metrics, [Param(key, str(value)) for key, value in params.items()], tags)
        client.set_terminated(run.info.run_id, "FAILED" if failed else "FINISHED")


def evaluated(rng: np.random.Generator, cases: int, *, segmentation: bool) -> tuple[str, str, dict[str, float]]:
    """The table of an evaluation, its name, and the scores that go with it."""
    names = [f"case{k:04d}" for k in range(cases)]
    if segmentation:
        columns = ("lesion_dice", "lesion_iou", "lesion_sensitivity", "lesion_specificity", "lung_dice")
        values = np.clip(rng.normal(rng.uniform(0.6, 0.8), 0.1, (cases, len(columns))), 0, 1)
        rows = [(name, name, *map(float, line)) for name, line in zip(names, values, strict=True)]
        means = dict(zip(columns, map(float, values.mean(axis=0)), strict=True))
        return table(("case", "patient", *columns), rows), "cases.csv", means
    truth = np.arange(cases) % 2
    scores = 1 / (1 + np.exp(-rng.normal(rng.uniform(0.5, 2) * (2 * truth - 1), 1)))
    classes = ("normal", "pneumonia")
    rows = [
        (name, name, 0, classes[label], classes[int(score > 0.5)], 0, float(1 - score), float(score))
        for name, label, score in zip(names, truth, scores, strict=True)
    ]
    right = (scores > 0.5) == truth
    head = ("case", "patient", "slice", "label", "predicted", "refer", *(f"p_{name}" for name in classes))
    means = {"accuracy": float(right.mean()), "auc": float(np.mean(scores[truth == 1][:, None] > scores[truth == 0]))}
    means |= {"sensitivity": float(right[truth == 1].mean()), "specificity": float(right[truth == 0].mean())}
    return table(head, rows), "pictures.csv", means


def measure(uri: str, out: Path) -> tuple[float, float, float]:
    """Seconds of the command, those that it had a processor (the first are more where others use the machine too), and
    KiB at most."""
    command = [sys.executable, "-c", MEASURE, "compare", "--tracking_uri", uri, "--out", str(out)]
    started = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT)
    seconds = time.monotonic() - started
    _, code, kib, processor = done.stdout.splitlines()[-1].split()
    if code != "0":
        raise SystemExit(f"compare ended with {code}\n{done.stderr}")
    return seconds, float(processor), float(kib)


if __name__ == "__main__":
    main()
