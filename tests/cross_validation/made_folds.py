"""Prepared folders with folds whose files are only names, and a stand-in for trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.preparation.datalist import fingerprint

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "covid_ct_lesion_segmentation"
# Stands in for a training and an evaluation of a fold; CALLS says what was begun, and a file called `stop` where.
STEP = """
import csv, json, os, sys, time
from pathlib import Path
step, data, folder, calls = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
with calls.open("a") as file:
    resumed = "resumed" if "--resume" in sys.argv else ""
    file.write(f"{step} {folder.name} {os.environ.get('PIPELINES_PARENT_RUN', '')} {resumed}\\n")
if step == "train":
    (folder / "last.pt").write_text("weights")
    print("INFO ignite.engine.engine.SupervisedTrainer: Epoch[1] Complete. Time taken: 0", flush=True)
    if (calls.parent / f"fail_{folder.name}").exists():
        raise ValueError("out of luck")
    while (calls.parent / f"hang_{folder.name}").exists():
        time.sleep(0.1)
    raise SystemExit
tested = json.loads((data / "datalist.json").read_text())["test"]
(folder / "evaluation").mkdir(exist_ok=True)
with (folder / "evaluation" / "cases.csv").open("w") as file:
    rows = csv.writer(file)
    rows.writerow(["case", "patient", "lesion_dice"])
    rows.writerows([each["case"], each["patient"], int(each["case"][-1]) / 10] for each in tested)
mean = sum(int(each["case"][-1]) / 10 for each in tested) / len(tested)
entry = {"estimate": mean, "low": None, "high": None, "n": len(tested), "n_undefined": 0}
(folder / "evaluation" / "summary.json").write_text(json.dumps({"test_lesion_dice": entry}))
"""


def write_prepared(
    folder: Path, cases: int = 6, folds: int = 2, name: str = "case", patient: str = "patient", **head: Any
) -> Path:
    """A prepared folder of ``cases`` cases, each of a patient of its own, dealt out to folds in turn."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    items = []
    for k in range(cases):
        for kind in ("images", "labels"):
            (folder / kind / f"{name}{k}.png").write_text(f"{kind} {folder.name} {k}")
        paths = {kind: f"{kind}s/{name}{k}.png" for kind in ("image", "label")}
        items.append({**paths, "patient": f"{patient}{k}", "case": f"{name}{k}"})
    mark = fingerprint((folder / item["image"], folder / item["label"]) for item in items)
    about = {"name": "made", "fingerprint": mark, "labels": {"0": "background", "1": "lung", "2": "lesion"}, **head}

    def write(file: str, test: list[dict]) -> None:
        rest = [item for item in items if item not in test]
        lists = {"training": rest[1:], "validation": rest[:1], "test": test}
        (folder / file).write_text(json.dumps({**about, **lists}))

    write("datalist.json", items[:1])
    for k in range(folds):
        write(f"datalist_fold{k}.json", items[k::folds])
    return folder


def image_of(item: dict) -> np.ndarray:
    """An image that is like no other but one whose case has the same last letter and `alike` in its name."""
    seed = item["case"][-1] if "alike" in item["case"] else item["case"]
    drawn = np.random.default_rng(list(str(seed).encode())).random((24, 24))
    return np.kron(drawn, np.ones((4, 4))).astype(np.float32)[..., None]
