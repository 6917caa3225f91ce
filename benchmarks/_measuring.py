"""What benchmarks share: ways measured in turns, medians with their spread, and of which machine they are."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "bf16")


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the middle half of them."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Spread:
        low, middle, high = np.percentile(np.asarray(values, float), (25, 50, 75))
        return cls(float(middle), float(low), float(high))

    def text(self, digits: int = 2) -> str:
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def timed(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def in_turns(ways: Mapping[str, Any], rounds: int, measure: Callable[[Any], Any] = timed) -> dict[str, list[Any]]:
    """What ``measure`` says of each way, round after round, each way once a round: what else the machine does meets all
    of them."""
    found: dict[str, list[Any]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(measure(way))
    return found


@dataclass(frozen=True)
class Run:
    """What a process and those that it started took: seconds, seconds of processors, GiB at once."""

    seconds: float
    processors: float
    peak: float


def watched(command: Sequence[str], cores: int, log: Path, **environment: str) -> Run:
    """Runs a program on that many cores, with as many threads a process; its words go to ``log``.

    Memory is looked at every 20 ms. What processes share (libraries, shared memory) is counted once: as much as the one
    has that has most of it.
    """
    import psutil  # here: the peers' Python has none

    env = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(cores)), **environment}
    used, begun, peak = ended_processors(), time.perf_counter(), 0
    mine = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, mine[:cores])  # which the process inherits
    try:
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT)
    finally:
        os.sched_setaffinity(0, mine)
    family, looked = [process.pid], begun
    while process.poll() is None:
        if time.perf_counter() - looked > 0.3:
            looked = time.perf_counter()
            family = [process.pid, *(each.pid for each in psutil.Process(process.pid).children(recursive=True))]
        peak = max(peak, _resident(family))
        time.sleep(0.02)
    took = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Run(took, ended_processors() - used, peak / 2**30)


def _resident(family: Sequence[int]) -> int:
    own = shared = highest = 0
    for pid in family:
        try:
            pages = Path(f"/proc/{pid}/statm").read_text().split()
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        own += int(pages[1]) - int(pages[2])
        shared = max(shared, int(pages[2]))
        marks = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
        highest = max([highest, *marks])  # of one process: what lay between two looks too
    return max((own + shared) * resource.getpagesize(), highest * 1024)


def ended_processors() -> float:
    """Seconds that processes which have ended took of processors."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ratio(seconds: Sequence[float], to: Sequence[float]) -> Spread:
    """Of each round's ratio, not the ratio of two medians."""
    return Spread.of(np.asarray(seconds, float) / np.asarray(to, float))


def machine_line(threads: int | None = None) -> str:
    """Processor with what matters of its flags, threads, system, load, and versions of what computes."""
    from pipelines.runtimes import installed  # here: not all benchmarks need the network's libraries
    from pipelines.runtimes.machine import machine

    found = machine()
    name, *flags = found["cpu"].split()
    name = found["cpu"].split(" fpu")[0]
    has = ", ".join(flag for flag in FLAGS if flag in flags) or "none of the vector units that are looked for"
    said = {"torch": found["versions"]["torch"], "monai": version("monai"), **installed()}
    uses = f"{threads or found['threads']} threads of {len(os.sched_getaffinity(0))} cores"
    versions = ", ".join(f"{each} {number}" for each, number in said.items())
    return f"{name} ({has}), {uses}, load {os.getloadavg()[0]:.1f}, {platform.system()}; {versions}"


def phantom(name: str, folder: Path, **options: Any) -> Path:
    """A case that a data set's phantoms are drawn of: a picture, a volume or a series."""
    from pipelines.preparation.cases import look_for_cases
    from pipelines.tasks.registry import DATASETS

    DATASETS[name].phantoms()(folder, raw=True, cases=2, **options)
    cases = [Path(each["image"]) for each in look_for_cases(folder)[0]]
    return next(each for each in cases if "mask" not in str(each))


class Figures:
    """What a benchmark found, for people and for programs.

    Args:
        benchmark: its name.
    """

    def __init__(self, benchmark: str) -> None:
        self.benchmark = benchmark
        self.rows: list[dict[str, Any]] = []

    def add(self, what: str, unit: str, found: Spread | float) -> None:
        """One figure. ``unit`` is "s", "GiB", "x" (a ratio) ...; a plain number has no spread."""
        spread = asdict(found) if isinstance(found, Spread) else {"middle": float(found), "low": None, "high": None}
        self.rows.append({"benchmark": self.benchmark, "what": what, "unit": unit, **spread})

    def write(self, path: Path | None) -> None:
        """As JSON, with the machine, where a path was given."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            about = {"benchmark": self.benchmark, "machine": machine_line(), "figures": self.rows}
            path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of figures as ``Figures`` keeps them, of one benchmark or more."""
    lines = ["| benchmark | what | median | middle half | unit |", "|---|---|---:|---|---|"]
    for row in rows:
        half = "" if row["low"] is None else f"{row['low']:.3g} to {row['high']:.3g}"
        lines.append(f"| {row['benchmark']} | {row['what']} | {row['middle']:.3g} | {half} | {row['unit']} |")
    return "\n".join(lines)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option by which ``every_quick_one.py`` takes the figures."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures go there too")
