"""Kills commands at random moments, starts them again, and compares what they leave with an undisturbed run.

    python benchmarks/kill_commands.py [--kills 9] [--seed 0] [--only train predict]

prepare, train, evaluate, promote, predict and export of the CT bundle on phantoms: each is run undisturbed twice, in
one place, to see how long it takes and which of its files are the same each time. Then it gets SIGKILL at a moment
drawn evenly from that time, and what lies there is read: a file that is there and cannot be read is *half*. It is
started again as a user would (`--resume` where there is such an option), and must end with exit code 0 (else *failed*),
leave the same files and no others, the same bytes where two undisturbed runs have the same (*other*, *missing*, *left
over*), and no run that is said to be running (*untold*). Prints a line a command and a line a fault; the exit code is 1
where there is one.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import torch
from mlflow import MlflowClient
from PIL import Image
from safetensors import safe_open

from pipelines.bundle import find_project
from pipelines.files import file_digest
from pipelines.warm import WarmPython

BUNDLE = find_project().bundles / "covid_ct_lesion_segmentation"
NETWORK = "tiny_unet"
IMPORTED = ["fire", "monai.bundle", "mlflow.store.tracking.sqlalchemy_store", "ignite.distributed", "matplotlib.pyplot"]
IMPORTED += [
    "nibabel",
    "skimage.measure",
    "torch._dynamo",
    "pipelines.prediction",
    "pipelines.evaluation",
    "torch.onnx",
]
WATCHED = 90  # seconds in which a run that was killed must have been closed


@dataclass(frozen=True)
class Step:
    """A command, in the folder ``now``.

    Attributes:
        words: the first time.
        again: after a kill, given ``now``.
        made: what it makes, within ``now``.
    """

    words: list[str]
    again: Callable[[Path], list[str]]
    made: str


def steps(now: Path) -> dict[str, Step]:
    raw, data, ckpt, out = now.parent / "raw", now / "data" / "covid_ct", now / "ckpt", now / "out"
    ours = ["-m", "pipelines"]
    prepare = [*ours, "data", "prepare", "covid_ct", "--raw", str(raw), "--out", str(data), "--seed", "1"]

    def bundle(*configs: str, **knobs: object) -> list[str]:
        files = [str(BUNDLE / "configs" / f"{name}.yaml") for name in configs]
        words = ["-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root", str(BUNDLE)]
        return [*words, *(word for name, value in knobs.items() for word in (f"--{name}", str(value)))]

    overlay = f"networks/{NETWORK}"
    small = {"dataset_dir": data, "ckpt_dir": ckpt, "epochs": 3, "slice_size": "[64,64]", "draws": 8, "workers": 0}
    train = bundle("train", overlay, **small, run_name="killed", val_interval=1)
    evaluate = bundle("train", overlay, "evaluate", **small, flips=False, scales="[1.0]")
    predict = [*ours, "predict", str(BUNDLE), str(raw / "pictures"), "--out", str(out), "--network", NETWORK, "--fast"]
    export = [*ours, "export", str(BUNDLE), "--network", NETWORK, "--to", "torchscript", "--out", str(out)]
    promote = [*ours, "promote", "killed"]
    return {
        "prepare": Step(prepare, lambda _: prepare, "data"),
        "train": Step(train, lambda _: [*train, "--resume", "True"] if (ckpt / "last.pt").is_file() else train, "ckpt"),
        "evaluate": Step(evaluate, lambda _: evaluate, "ckpt"),
        "promote": Step(promote, lambda _: promote, "mlruns"),
        "predict": Step(predict, lambda _: [*predict, "--resume"], "out"),
        "export": Step(export, lambda _: export, "out"),
    }


def unreadable(path: Path) -> bool:
    """Whether a file that is there is no whole file of its kind."""
    kind = "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix
    try:
        if kind == ".json":
            json.loads(path.read_text())
        elif kind == ".jsonl":
            [json.loads(line) for line in path.read_text().splitlines()]
        elif kind == ".csv":
            with path.open(newline="") as file:
                return len({len(row) for row in csv.reader(file)}) > 1
        elif kind == ".pt":
            torch.load(path, weights_only=True, map_location="cpu")
        elif kind == ".safetensors":
            with safe_open(path, "pt") as file:
                [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 - no mapping
        elif kind == ".ts":
            torch.jit.load(str(path))
        elif kind == ".nii.gz":
            nib.load(path).get_fdata()
        elif kind == ".png":
            with Image.open(path) as picture:
                picture.load()
    except Exception:
        return True
    return False


def files(folder: Path) -> dict[str, str]:
    """The digest of each file below a folder, but for the store's own."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and "mlflow.db" not in path.name]
    return {str(path.relative_to(folder)): file_digest(path) for path in found}


def registered(uri: str) -> tuple[int, str, str]:
    """How many versions the bundle's model has, the champion's run, and the digest of what it has."""
    client = MlflowClient(tracking_uri=uri)
    versions = client.search_model_versions(f"name='{BUNDLE.name}'")
    champion = client.get_model_version_by_alias(BUNDLE.name, "champion")
    return len(versions), champion.run_id, champion.tags.get("sha256", champion.tags.get("weights_sha256", ""))


def untold(uri: str) -> list[str]:
    """Runs that are said to be running once nobody runs them."""
    client, until = MlflowClient(tracking_uri=uri), time.monotonic() + WATCHED
    while True:
        places = [each.experiment_id for each in client.search_experiments()]
        running = [run.info.run_name for run in client.search_runs(places) if run.info.status == "RUNNING"]
        if not running or time.monotonic() > until:
            return running
        time.sleep(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=9, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="of the commands")
    args = parser.parse_args()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        root = Path(place)
        now, store = root / "now", root / "now" / "mlruns" / "mlflow.db"
        env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{store}", "OMP_NUM_THREADS": "1"}
        with WarmPython(IMPORTED, env) as warm, (root / "said.txt").open("w+") as said:
            warm.ready()

            def run(words: list[str], seconds: float | None = None) -> int:
                process = subprocess.Popen(
                    [warm.python, *words], cwd=now, env=env, stdout=said, stderr=subprocess.STDOUT
                )
                try:
                    code = process.wait(seconds)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)  # the warm process passes it on
                    code = process.wait()
                    time.sleep(1)
                return code

            def restore(snapshot: Path) -> None:
                shutil.rmtree(now, ignore_errors=True)
                shutil.copytree(snapshot, now)

            now.mkdir()
            phantom = ["-m", "pipelines", "data", "phantom", "covid_ct", "--raw", "--out", str(root / "raw")]
            assert run([*phantom, "--cases", "8", "--size", "64", "--slices", "8"]) == 0, (
                root / "said.txt"
            ).read_text()
            (root / "raw" / "pictures").mkdir()
            for volume in sorted((root / "raw").rglob("ct_scans/*.nii.gz")):
                shutil.copy(volume, root / "raw" / "pictures")
            before = root / "snapshot_start"
            (now / "mlruns").mkdir()
            shutil.copytree(now, before)
            draw = random.Random(args.seed)
            for name, step in steps(now).items():
                restore(before)
                begun = time.monotonic()
                assert run(step.words) == 0, (root / "said.txt").read_text()[-3000:]
                whole = time.monotonic() - begun
                first, champion = (
                    files(now / step.made),
                    registered(env["MLFLOW_TRACKING_URI"]) if name == "promote" else None,
                )
                after = root / f"snapshot_{name}"
                shutil.copytree(now, after)
                if not args.only or name in args.only:
                    restore(before)
                    assert run(step.words) == 0
                    second = files(now / step.made)
                    same = {key for key, value in first.items() if second.get(key) == value}
                    found = dict.fromkeys(("half", "other", "missing", "left over", "untold", "failed"), 0)
                    killed = 0
                    for _ in range(args.kills):
                        restore(before)
                        moment = draw.uniform(0, whole)
                        killed += run(step.words, moment) == -signal.SIGKILL
                        told = [("half", each) for each in files(now / step.made) if unreadable(now / step.made / each)]
                        code = run(step.again(now))
                        if code and not (name == "prepare" and code == 19 and files(now / step.made) == first):
                            told.append(("failed", f"exit code {code}"))
                        left = files(now / step.made)
                        if name != "promote":  # artefacts of a store have names of their own each time
                            told += [("missing", each) for each in first.keys() - left.keys()]
                            told += [("left over", each) for each in left.keys() - first.keys()]
                            told += [("other", each) for each in same & left.keys() if left[each] != first[each]]
                        elif registered(env["MLFLOW_TRACKING_URI"])[1:] != champion[1:]:
                            told.append(("other", "the champion"))
                        if store.is_file():
                            told += [("untold", each) for each in untold(env["MLFLOW_TRACKING_URI"])]
                        for kind, what in told:
                            found[kind] += 1
                            faults.append(f"{name}, killed after {moment:.2f} of {whole:.2f} s: {kind}: {what}")
                    counts = ", ".join(f"{number} {each}" for each, number in found.items())
                    print(
                        f"{name}: {killed} of {args.kills} killed in {whole:.1f} s; {len(same)} of {len(first)} files "
                        f"are the same each time; {counts}",
                        flush=True,
                    )
                before = after if name in ("prepare", "train", "evaluate") else before
    print(*faults, sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
