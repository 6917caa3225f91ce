"""An epoch of a bundle's default training pipeline beside the loop that decodes and transforms every image every epoch.

    python benchmarks/training_epoch.py [DATA] [--bundle covid_ct_lesion_segmentation]
        [--networks tiny_unet encoder_unet] [--rounds 3] [--threads 2] [--workers 0]

DATA is a prepared folder, or a datalist in one, all of whose cases are learnt from (nothing is measured of what comes
of it); phantoms where it is not given. Both ways take transforms,
network, loss, optimiser and schedule from the bundle's `train.yaml`, and the same seeds, so that their batches are the
same to the last bit and their losses have to be: if they differ, that is said and the benchmark ends with 1.

- default: as `train.yaml` has it: the cache, the allocator that keeps freed memory, `--workers` processes that load;
- plain: MONAI's ``Dataset`` over all transforms, in the process that trains, and glibc's allocator as it is.

Each way has a process of its own, and they take turns by epoch; the first epoch of each is not counted. "Loading" is a
pass over the batches alone. Ratios are plain to default: how many times faster the default is. Processor time counts
the loading processes too. What filling the cache takes, once a training, is printed besides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _measuring import Figures, Spread, add_json, in_turns, machine_line, markdown, ratio

PROJECT = Path(__file__).resolve().parent.parent
WAYS = ("default", "plain")
CLOCKS = ("clock", "processors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="a prepared folder or a datalist in one (default: phantoms)")
    parser.add_argument("--bundle", default="covid_ct_lesion_segmentation")
    parser.add_argument("--networks", nargs="+", default=["tiny_unet", "encoder_unet"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="of the default way")
    add_json(parser)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # within: the process of one way
    args = parser.parse_args()
    if args.way is not None:
        answer(args)
        return
    print(machine_line(args.threads))
    figures, differ = Figures("training_epoch"), False
    with tempfile.TemporaryDirectory() as folder:
        args.data = args.data or phantoms(Path(folder) / "phantoms")
        for network in args.networks:
            differ |= compare(network, args, figures)
    print("\n" + markdown(figures.rows))
    figures.write(args.json)
    if differ:
        raise SystemExit("the losses of the two ways differ: they did not learn from the same batches")


def phantoms(folder: Path) -> Path:
    """Prepared phantom scans; an epoch draws a slice of each."""
    from pipelines.__main__ import main as command

    words = ["data", "phantom", "covid_ct", "--cases", "10", "--size", "256", "--slices", "12", "--out", str(folder)]
    if code := command(words):
        raise SystemExit(code)
    return folder


def compare(network: str, args: argparse.Namespace, figures: Figures) -> bool:
    """Whether the losses differ."""
    started = {way: begin(way, network, args) for way in WAYS}
    try:
        ready = {way: ask(process) for way, process in started.items()}
        rounds = in_turns(started, args.rounds + 1, lambda process: ask(process, "epoch"))
    finally:
        for process in started.values():
            process.kill()
            process.wait()
    counted = {way: each[1:] for way, each in rounds.items()}
    print(f"\n{network}: {ready['plain']['batches']} batches of {ready['plain']['cases']} cases an epoch")
    for part in ("loading", "epoch"):
        for clock in CLOCKS:
            took = {way: [each[part][clock] for each in counted[way]] for way in WAYS}
            for way in WAYS:
                figures.add(f"{network}, {part}, {clock}, {way}", "s", Spread.of(took[way]))
            figures.add(f"{network}, {part}, {clock}", "x", ratio(took["plain"], took["default"]))
    figures.add(f"{network}, the cache once, processors", "s", ready["default"]["ready"])
    curves = {way: [each["losses"] for each in rounds[way]] for way in WAYS}
    for way, losses in curves.items():
        print(f"mean loss by epoch, {way}: " + ", ".join(f"{sum(each) / len(each):.6f}" for each in losses))
    same = curves["plain"] == curves["default"]
    print("every batch's loss is the same to the last bit" if same else "the losses differ")
    return not same


def begin(way: str, network: str, args: argparse.Namespace) -> subprocess.Popen[str]:
    words = [str(args.data), "--bundle", args.bundle, "--networks", network, "--rounds", str(args.rounds), "--way", way]
    words += ["--threads", str(args.threads), "--workers", str(args.workers if way == "default" else 0)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    env |= {"OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "PASSIVE"}  # who waits takes nothing
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(process: subprocess.Popen[str], word: str = "") -> dict[str, Any]:
    """What the process says next, after a word to it. Other output of it is passed over."""
    assert process.stdin is not None
    assert process.stdout is not None
    if word:
        print(word, file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise SystemExit(f"the process of a way ended with {process.wait()}")


def answer(args: argparse.Namespace) -> None:
    """One way's process: says when it is ready, then trains an epoch for each line that it reads."""
    epoch, said = training(args)
    print(json.dumps(said), flush=True)
    for number, _ in enumerate(sys.stdin, 1):
        print(json.dumps(epoch(number)), flush=True)


def training(args: argparse.Namespace) -> tuple[Callable[[int], dict[str, Any]], dict[str, Any]]:
    """What trains an epoch, by its number; and the size of one, and processor seconds until the data were there."""
    import torch
    from monai.bundle import ConfigParser

    folder = PROJECT / "bundles" / args.bundle
    parser = ConfigParser()
    files = ["train.yaml", f"networks/{args.networks[0]}.yaml"]
    parser.read_config([str(folder / "configs" / each) for each in files])
    datalist = args.data if args.data.is_file() else args.data / "datalist.json"
    parser.update({
        "bundle_root": str(folder), "dataset_dir": str(datalist.parent.absolute()),
        "datalist": str(datalist.absolute()), "encoder_weights": False, "workers": args.workers,
        "epochs": args.rounds + 1,
    })  # fmt: skip
    if args.way == "plain":
        parser["train#dataset"] = {"_target_": "Dataset", "data": "@train#data", "transform": "@train#preprocessing"}
        parser["initialize"] = [each for each in parser["initialize"] if "keep_freed_memory" not in each]
    cases = parser["train#data"].removeprefix("$")
    parts = [cases.replace("'training'", repr(part)) for part in ("training", "validation", "test")]
    parser["train#data"] = "$" + " + ".join(parts)
    parser.get_parsed_content("initialize")
    before = spent()["processors"]
    loader = parser.get_parsed_content("train#dataloader")
    ready = spent()["processors"] - before
    names = ("network", "optimizer", "loss_function", "lr_scheduler", "train#inferer", "device")
    network, optimizer, loss_function, schedule, infer, device = (parser.get_parsed_content(each) for each in names)
    network.train()

    def epoch(number: int) -> dict[str, Any]:
        torch.manual_seed(number)  # from which the loader draws an epoch's seeds
        begun = spent()
        for _ in loader:
            pass
        loading = {clock: now - begun[clock] for clock, now in spent().items()}
        torch.manual_seed(number)
        begun, losses = spent(), []
        for batch in loader:
            optimizer.zero_grad()
            loss = loss_function(infer(batch["image"].to(device), network), batch["label"].to(device))
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        whole = {clock: now - begun[clock] for clock, now in spent().items()}
        return {"loading": loading, "epoch": whole, "losses": losses}

    return epoch, {"batches": len(loader), "cases": parser["batch_size"], "ready": ready}


def spent() -> dict[str, float]:
    """Seconds by the clock, and of processors by this process and those that load for it."""
    import psutil

    own = psutil.Process()
    used = [each.cpu_times() for each in (own, *own.children())]
    return {"clock": time.perf_counter(), "processors": sum(each.user + each.system for each in used)}


if __name__ == "__main__":
    main()
