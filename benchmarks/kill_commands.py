"""Kills commands at random moments, starts them again, and compares what they leave with an undisturbed run.

    python benchmarks/kill_commands.py [--kills 50] [--seed 0] [--only train predict]

prepare, train, evaluate, predict, export and promote of the CT bundle on phantoms, and `store`: the tracking store is
made. Each is run undisturbed twice, in one place, to see how long it takes and which of its files are the same each
time. Then it gets SIGKILL at a moment drawn evenly from that time, and what lies there is read. It is started again at
once, as a user would (`--resume` where there is such an option). The kills are shared out over the six commands;
`store`, which is none, gets as many as one of them. Printed is a line a command:

- killed: of so many kills, as many came before the command had ended by itself.
- completed: the second start ended with exit code 0 (or, of prepare, said that the folder was there, whole).
- equal: the same files and no others, the same bytes where two undisturbed runs have the same; in the tracking store
  the same metrics, in the registry one version, of the same weights.
- half-written: files that are there, and cannot be read (after the kill, or at the end).
- honest: of what the store says, a killed run is not RUNNING once its watcher has ended, and none is FINISHED whose
  checkpoint or evaluation is not whole.

and a line a fault. The exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from _left_behind import Store, alike, digests, shown, unreadable

import pipelines
from pipelines.bundle import ALLOCATOR, find_project
from pipelines.tracking.store import open_store
from pipelines.warm import WarmPython

BUNDLE = find_project().bundles / "covid_ct_lesion_segmentation"
NETWORK = "tiny_unet"
IMPORTED = ["fire", "monai.bundle", "torch._dynamo", "torch.onnx", "mlflow.pytorch", "ignite.distributed", "nibabel"]
IMPORTED += ["mlflow.store.tracking.sqlalchemy_store", "mlflow.system_metrics.system_metrics_monitor"]
IMPORTED += ["matplotlib.pyplot", "sklearn.metrics", "scipy.stats", "skimage.measure"]
COMMANDS = ("prepare", "train", "evaluate", "predict", "export", "promote")
MAKE_STORE = "from pipelines.tracking.store import open_store, tracking_uri; open_store(tracking_uri())"
ATTEMPTS = 5  # to kill a command before it has ended
WATCHED = 120  # seconds in which the watcher of a run that was killed must have ended


@dataclass(frozen=True)
class Step:
    """A command, in the folder ``now``.

    Attributes:
        words: the first time.
        again: after a kill.
        made: what it makes, within ``now``.
        before: the step whose outcome it begins from.
    """

    words: list[str]
    again: Callable[[], list[str]]
    made: str
    before: str


@dataclass
class Count:
    """What became of the kills of a command."""

    kills: int = 0
    killed: int = 0
    completed: int = 0
    equal: int = 0
    half: int = 0
    honest: int = 0
    faults: list[str] = field(default_factory=list)


def steps(now: Path) -> dict[str, Step]:
    raw, data, ckpt, out = now.parent / "raw", now / "data" / "covid_ct", now / "ckpt", now / "out"
    ours = ["-m", "pipelines"]
    prepare = [*ours, "data", "prepare", "covid_ct", "--raw", str(raw), "--out", str(data), "--seed", "1"]

    def bundle(*configs: str, **knobs: object) -> list[str]:
        files = [str(BUNDLE / "configs" / f"{name}.yaml") for name in configs]
        words = ["-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root", str(BUNDLE)]
        return [*words, *(word for name, value in knobs.items() for word in (f"--{name}", str(value)))]

    overlay = f"networks/{NETWORK}"
    small = {"dataset_dir": data, "ckpt_dir": ckpt, "epochs": 3, "slice_size": "[64,64]", "workers": 0}
    train = bundle("train", overlay, **small, run_name="killed", val_interval=1)
    evaluate = bundle("train", overlay, "evaluate", **small, flips=False, scales="[1.0]")
    predict = [*ours, "predict", str(BUNDLE), str(raw / "few"), "--out", str(out), "--network", NETWORK, "--fast"]
    export = [*ours, "export", str(BUNDLE), "--network", NETWORK, "--to", "torchscript", "--out", str(out)]
    promote = [*ours, "promote", "killed"]
    store = ["-c", MAKE_STORE]
    return {
        "prepare": Step(prepare, lambda: prepare, "data", "start"),
        "train": Step(
            train, lambda: [*train, "--resume", "True"] if (ckpt / "last.pt").is_file() else train, "ckpt", "prepare"
        ),
        "evaluate": Step(evaluate, lambda: evaluate, "ckpt", "train"),
        "predict": Step(predict, lambda: [*predict, "--resume"], "out", "start"),
        "export": Step(export, lambda: export, "out", "start"),
        "promote": Step(promote, lambda: promote, "mlruns", "evaluate"),
        "store": Step(store, lambda: store, "mlruns", "nothing"),
    }


def watchers(place: Path) -> int:
    """How many watchers of runs in this place are alive."""
    number = 0
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ours = b"watcher_process.py" in (each / "cmdline").read_bytes()
            number += ours and str(place).encode() in (each / "environ").read_bytes()
    return number


def waited(until_none: Callable[[], int]) -> bool:
    """Whether there was none within the time."""
    until = time.monotonic() + WATCHED
    while until_none():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


class Killer:
    """The commands, in one place, each undisturbed and killed."""

    def __init__(self, root: Path, warm: WarmPython, env: dict[str, str]) -> None:
        self.root, self.warm, self.env = root, warm, env
        self.now = root / "now"
        self.uri = env["MLFLOW_TRACKING_URI"]
        self.steps = steps(self.now)
        self.said = root / "said.txt"

    def run(self, words: list[str], seconds: float | None = None) -> int:
        """The exit code; killed after some seconds, it is -SIGKILL, and the process is gone."""
        with self.said.open("w") as said:
            process = subprocess.Popen(
                [self.warm.python, *words], cwd=self.now, env=self.env, stdout=said, stderr=subprocess.STDOUT
            )
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)  # the warm process passes it on
                code = process.wait()
        server = self.warm._server.pid
        assert waited(lambda: len(Path(f"/proc/{server}/task/{server}/children").read_text().split()))
        return code

    def last_words(self) -> str:
        return self.said.read_text()[-3000:]

    def restore(self, name: str) -> None:
        assert waited(lambda: watchers(self.root)), "a watcher does not end"  # it would make the store that is removed
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(self.root / f"after_{name}", self.now)

    def keep(self, name: str) -> None:
        assert waited(lambda: watchers(self.root)), "a watcher does not end"
        shutil.copytree(self.now, self.root / f"after_{name}")

    def begin(self) -> None:
        """Phantoms, and an empty store."""
        self.now.mkdir()
        (self.now / "mlruns").mkdir()
        self.keep("nothing")
        phantom = ["-m", "pipelines", "data", "phantom", "covid_ct", "--raw", "--out", str(self.root / "raw")]
        code = self.run([*phantom, "--cases", "8", "--size", "64", "--slices", "8"])
        assert code == 0, self.last_words()
        (self.root / "raw" / "few").mkdir()
        for volume in sorted((self.root / "raw").rglob("ct_scans/*.nii.gz"))[:4]:
            shutil.copy(volume, self.root / "raw" / "few")
        open_store(self.uri)  # it takes MLflow seconds, which are the line `store`
        self.keep("start")

    def undisturbed(self, name: str) -> tuple[float, dict[str, str]]:
        """How long it takes, and the digests of what it leaves, which is kept."""
        step = self.steps[name]
        self.restore(step.before)
        begun = time.monotonic()
        code = self.run(step.words)
        took = time.monotonic() - begun
        assert code == 0, self.last_words()
        return took, digests(self.now / step.made)

    def measure(self, name: str, kills: int, draw: random.Random) -> tuple[Count, float]:
        """Kill a command so many times. Its undisturbed outcome is kept for the steps that begin from it."""
        step, count = self.steps[name], Count()
        took, first = self.undisturbed(name)
        store = Store(self.uri, BUNDLE.name)
        figures = store.figures() if name in ("train", "evaluate") else {}
        champion = store.registered() if name == "promote" else None
        self.keep(name)
        if not kills:
            return count, took
        again, second = self.undisturbed(name)
        took = min(took, again)
        same = {key for key, value in first.items() if second.get(key) == value}
        for _ in range(kills):
            killed = False
            for _ in range(ATTEMPTS):  # a machine with less to do than before is through sooner
                self.restore(step.before)
                share = draw.random()
                if killed := self.run(step.words, share * took) == -signal.SIGKILL:
                    break
            faults = [f"half-written: {each}" for each in shown(self.now / step.made) if unreadable(each)]
            dishonest = self.dishonest(name)
            code = self.run(step.again())
            words = self.last_words()
            assert waited(lambda: watchers(self.root)), "a watcher does not end"
            left = digests(self.now / step.made)
            there = name == "prepare" and code == 19 and left == first  # it was whole, and is not replaced unasked
            faults += [f"half-written: {each}" for each in shown(self.now / step.made) if unreadable(each)]
            half = len(faults)
            unlike: list[str] = []
            if name != "promote":  # artefacts of a store have names of their own each time
                unlike += [f"missing: {each}" for each in sorted(first.keys() - left.keys())]
                unlike += [f"left over: {each}" for each in sorted(left.keys() - first.keys())]
                unlike += [f"other: {each}" for each in sorted(same & left.keys()) if left[each] != first[each]]
            try:
                if name in ("train", "evaluate") and not alike(store.figures(), figures):
                    unlike.append("other metrics in the store")
                if champion is not None and store.registered() != champion:
                    unlike.append(f"other in the registry: {store.registered()} instead of {champion}")
                dishonest += self.dishonest(name)
                dishonest += [f"RUNNING: {r.info.run_name}" for r in store.runs() if r.info.status == "RUNNING"]
            except Exception as error:
                dishonest.append(f"the store cannot be read: {error}")
            failed = [] if code == 0 or there else [f"not completed: exit code {code}: {words[-300:]}"]
            count.kills += 1
            count.killed += killed
            count.completed += not failed
            count.equal += not unlike
            count.half += half
            count.honest += not dishonest
            told = [*failed, *unlike, *faults, *(f"dishonest: {each}" for each in dishonest)]
            count.faults += [f"{name}, killed after {share:.3f} of {took:.1f} s: {each}" for each in told]
        return count, took

    def dishonest(self, name: str) -> list[str]:
        """What the store says of runs that is not so; a run that is RUNNING may still be closed by its watcher."""
        database = self.now / "mlruns" / "mlflow.db"
        if not database.is_file() or name == "store":
            return []
        found = []
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as file:
            runs = file.execute("select run_uuid, name, status from runs").fetchall()
            tags = {run: dict(file.execute("select key, value from tags where run_uuid=?", [run])) for run, *_ in runs}
        for run, called, status in runs:
            if status != "FINISHED":
                continue
            if "incomplete" in tags[run]:
                found.append(f"{called} is FINISHED and incomplete")
            if not (self.now / "ckpt" / "last.pt").is_file():
                found.append(f"{called} is FINISHED without a checkpoint")
            else:
                progress = torch.load(self.now / "ckpt" / "last.pt", weights_only=True)["progress"]
                if progress["epoch"] != 3:
                    found.append(f"{called} is FINISHED after epoch {progress['epoch']}")
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of all six commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[*COMMANDS, "store"], default=[*COMMANDS, "store"])
    args = parser.parse_args()
    shares = {name: len(range(place, args.kills, len(COMMANDS))) for place, name in enumerate(COMMANDS)}
    shares["store"] = shares[COMMANDS[-1]]
    counts: dict[str, Count] = {}
    head = ("command", "seconds", "kills", "killed", "completed", "equal", "half-written", "honest")
    print(*head, sep=" | ", flush=True)
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        root = Path(place)
        env = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(find_project().root)}
        env["MLFLOW_TRACKING_URI"] = f"sqlite:///{root / 'now' / 'mlruns' / 'mlflow.db'}"
        ours = [each.name for each in pkgutil.walk_packages(pipelines.__path__, "pipelines.")]
        ours = [each for each in ours if not each.startswith("pipelines.labelling") and not each.endswith("__main__")]
        if find_spec("tensorboard") is None:
            ours.remove("pipelines.tracking.tensorboard_events")
        with WarmPython([*IMPORTED, *ours], env) as warm:
            warm.ready()
            killer = Killer(root, warm, env)
            killer.begin()
            needed = set(args.only)
            for name in reversed(killer.steps):
                needed |= {killer.steps[name].before} if name in needed else set()
            for name in killer.steps:
                if name not in needed:
                    continue
                draw = random.Random(f"{args.seed} {name}")
                count, took = killer.measure(name, shares[name] if name in args.only else 0, draw)
                if name in args.only:
                    counts[name] = count
                    values = (count.kills, count.killed, count.completed, count.equal, count.half, count.honest)
                    print(name, f"{took:.1f}", *values, sep=" | ", flush=True)
                    print(*count.faults, sep="\n", end="\n" if count.faults else "", file=sys.stderr, flush=True)
    six = [counts[name] for name in COMMANDS if name in counts]
    total = (
        sum(getattr(each, key) for each in six) for key in ("kills", "killed", "completed", "equal", "half", "honest")
    )
    print("the commands", "", *total, sep=" | ")
    return any(each.faults for each in counts.values())


if __name__ == "__main__":
    sys.exit(main())
