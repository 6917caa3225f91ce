"""Makes the weights of chest_xray_encoded_classification, and holds training on codes against training on pictures.

    python -m pipelines data prepare chest_xray --raw RAW --out data/chest_xray
    python benchmarks/chest_codes.py weights data/chest_xray --out chest_codes
    python benchmarks/chest_codes.py pictures data/chest_xray --out chest_codes
    python benchmarks/chest_codes.py table data/chest_xray --out chest_codes

`weights` runs train_autoencoder.yaml and train.yaml, ships what came of them with its calibration, and measures it on
the test patients. `pictures` trains ChestCNN on pictures of 128x128, for which it is drawn, for as many epochs, by the
recipe of chest_xray_pneumonia_classification, and times a few steps of it at 224x224. `table` prints both: seconds of
the clock and of the processor for an epoch without its validation, when the autoencoder has paid for itself, and the
metrics on the same test and validation patients, paired. One thread unless `--threads` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from sklearn.metrics import roc_auc_score

from pipelines.evaluation.intervals import bootstrap_scores
from pipelines.weights import read_weights, save_weights

PROJECT = Path(__file__).resolve().parent.parent
CODES, PICTURES = "chest_xray_encoded_classification", "chest_xray_pneumonia_classification"
NAME = "encoded_cnn"
SPLITS = ("test", "validation")
TIMED = 8  # steps of 32 pictures of 224x224 that are timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["weights", "pictures", "table"])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    out, knobs = args.out.absolute(), {"dataset_dir": str(args.prepared.absolute())}
    if args.step == "weights":
        weights(out, knobs, args.epochs)
    elif args.step == "pictures":
        pictures(out, knobs, args.epochs)
    else:
        print(table(out, args.epochs))


def weights(out: Path, knobs: dict[str, Any], epochs: int) -> None:
    encoder = out / "autoencoder" / "model.pt"
    if not (out / "autoencoder.json").is_file():  # else an earlier run has trained it
        mine = knobs | {"ckpt_dir": str(encoder.parent), "resume": True}
        run(CODES, ["train_autoencoder"], mine, out / "autoencoder.json")
    mine = knobs | {"ckpt_dir": str(out / NAME), "encoder_weights": str(encoder), "patience": 1000, "epochs": epochs}
    run(CODES, ["train"], mine, out / "codes.json")
    about = json.loads((Path(knobs["dataset_dir"]) / "datalist.json").read_text())
    note = {
        "data": f"{about['name']}, {len(about['training'])} pictures", "fingerprint": about["fingerprint"],
        "use": "research; data CC BY 4.0 (Kermany et al. 2018)",
    }  # fmt: skip
    target = PROJECT / "bundles" / CODES / "models" / f"{NAME}.safetensors"
    save_weights(read_weights(out / NAME / "model.pt"), target, note)
    shutil.copy(out / NAME / "model.calibration.json", target.with_name(f"{NAME}.calibration.json"))
    for split in SPLITS:
        measured = {"split": split, "output_dir": str(out / NAME / f"evaluation_{split}")}
        run(CODES, ["train", "evaluate"], mine | measured)


def pictures(out: Path, knobs: dict[str, Any], epochs: int) -> None:
    mine = knobs | {
        "ckpt_dir": str(out / "chest_cnn"), "encoder_weights": False, "patience": 1000, "epochs": epochs,
        "image_size": [128, 128], "learning_rate": 0.001,
    }  # fmt: skip
    run(PICTURES, ["train", "networks/chest_cnn"], mine, out / "pictures.json")
    for split in SPLITS:
        measured = {"split": split, "output_dir": str(out / "chest_cnn" / f"evaluation_{split}")}
        run(PICTURES, ["train", "networks/chest_cnn", "evaluate"], mine | measured)
    large = mine | {"image_size": [224, 224], "ckpt_dir": str(out / "chest_cnn_224")}
    run(PICTURES, ["train", "networks/chest_cnn"], large, out / "pictures_224.json", steps=TIMED)


def run(bundle: str, configs: list[str], knobs: Mapping[str, Any], kept: Path | None = None, steps: int = 0) -> None:
    """Runs configs in this process; ``kept``: where the times go. With ``steps``, an epoch of so many, and no more."""
    root = PROJECT / "bundles" / bundle
    workflow = ConfigWorkflow(
        config_file=[str(root / "configs" / f"{each}.yaml") for each in configs], workflow_type="train",
        meta_file=str(root / "configs" / "metadata.json"), logging_file=False, bundle_root=str(root), **knobs,
    )  # fmt: skip
    began = clocks()
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer") if kept is not None else None
    if trainer is None:
        workflow.run()
        return
    prepared, epochs, start = clocks() - began, [], [clocks()]
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda _: start.__setitem__(0, clocks()))
    last = [clocks()]
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: last.__setitem__(0, clocks()))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: epochs.append((last[0] - start[0]).tolist()))
    if steps:  # the whole epoch's time follows from that of its steps; nothing is validated or kept
        whole = len(workflow.parser.get_parsed_content("train#dataloader"))
        timed_steps(workflow.parser, trainer, steps)
        part = clocks()
        timed_steps(workflow.parser, trainer, steps)
        epochs.append(((clocks() - part) * whole / steps).tolist())
    else:
        workflow.run()
    assert kept is not None
    kept.parent.mkdir(parents=True, exist_ok=True)
    total = (clocks() - began).tolist()
    kept.write_text(json.dumps({"prepared": prepared.tolist(), "epochs": epochs, "total": total}, indent=1))


def timed_steps(parser: Any, trainer: Any, steps: int) -> None:
    """As many steps of a training, as the trainer does them, from the loader to the optimiser."""
    network = parser.get_parsed_content("network").train()
    inferer, loss = parser.get_parsed_content("train#inferer"), parser.get_parsed_content("loss_function")
    for _, batch in zip(range(steps), parser.get_parsed_content("train#dataloader"), strict=False):
        trainer.optimizer.zero_grad()
        loss(inferer(batch["image"], network), batch["label"]).backward()
        trainer.optimizer.step()


def clocks() -> np.ndarray:
    """Seconds of the clock, and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def table(out: Path, epochs: int) -> str:
    titles = {"codes": "CodeClassifier, codes", "pictures": "ChestCNN, 128×128", "pictures_224": "ChestCNN, 224×224"}
    times = {name: json.loads((out / f"{name}.json").read_text()) for name in ("autoencoder", *titles)}
    epoch = {name: np.median(each["epochs"], axis=0) for name, each in times.items()}
    encoder, codes = np.array(times["autoencoder"]["total"]), np.array(times["codes"]["prepared"])
    heads = [
        "clock, s an epoch",
        "processor, s an epoch",
        "over codes",
        f"{epochs} epochs, s",
        "with encoder, s",
        "even at",
    ]
    lines = [f"| training | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, title in titles.items():
        clock, spent = epoch[name]
        once = (encoder + codes)[1] if name == "codes" else 0.0
        even = "–" if name == "codes" else f"epoch {(encoder + codes)[1] / (spent - epoch['codes'][1]):.1f}"
        cells = [f"{clock:.2f}", f"{spent:.2f}", f"{spent / epoch['codes'][1]:.0f}", f"{epochs * spent:.0f}"]
        lines.append(f"| {title} | {' | '.join(cells)} | {epochs * spent + once:.0f} | {even} |")
    parts = f"autoencoder {encoder[1]:.0f} s, codes {codes[1]:.0f} s of the processor; 224×224 from {TIMED} steps"
    lines += ["", parts]
    for split in SPLITS:
        lines += ["", *paired(*(out / each / f"evaluation_{split}" for each in (NAME, "chest_cnn")), split)]
    return "\n".join(lines)


def paired(codes: Path, images: Path, split: str) -> list[str]:
    """Metrics of two evaluations of the same pictures, and what the first has more, with intervals over patients."""
    tables = [pd.read_csv(folder / "pictures.csv").set_index("case").sort_index() for folder in (codes, images)]
    assert list(tables[0].index) == list(tables[1].index), "the same pictures are due"
    ill = (tables[0]["label"] == "pneumonia").to_numpy()
    right = [(each["label"] == each["predicted"]).to_numpy() for each in tables]
    said = [each["p_pneumonia"].to_numpy() for each in tables]
    names = ["balanced_accuracy", "sensitivity", "specificity", "auc"]

    def scores(items: np.ndarray) -> dict[str, float]:
        found: dict[str, float] = {}
        for who, hit, score in zip(("codes", "images"), right, said, strict=True):
            parts = [hit[items][ill[items]], hit[items][~ill[items]]]
            sensitivity, specificity = (float(part.mean()) if len(part) else float("nan") for part in parts)
            area = float(roc_auc_score(ill[items], score[items])) if 0 < ill[items].sum() < len(items) else float("nan")
            values = [(sensitivity + specificity) / 2, sensitivity, specificity, area]
            found |= {f"{who}_{name}": value for name, value in zip(names, values, strict=True)}
        return found | {f"more_{k}": found[f"codes_{n}"] - found[f"images_{n}"] for k, n in enumerate(names)}

    patients = tables[0]["patient"].tolist()
    measured = bootstrap_scores(scores, patients)
    head = f"| {len(ill)} {split} pictures of {len(set(patients))} patients | {' | '.join(names).replace('_', ' ')} |"
    lines = [head, "|---|---:|---:|---:|---:|"]
    rows = {"on codes": "codes", "on pictures of 128×128": "images", "difference, paired": "more"}
    for title, who in rows.items():
        cells = [measured[f"{who}_{k if who == 'more' else name}"] for k, name in enumerate(names)]
        text = " | ".join(f"{each.estimate:.3f} ({each.low:.3f} to {each.high:.3f})" for each in cells)
        lines.append(f"| {title} | {text} |")
    return lines


if __name__ == "__main__":
    main()
