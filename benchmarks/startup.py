"""How much processor time a first answer takes, with the imports of `predict` and with MONAI's own.

    python benchmarks/startup.py PICTURE [--bundle chest_xray_pneumonia_classification] [--rounds 7]

Each round runs ``python -m pipelines predict`` twice, in turns: as it is, and with MONAI importing all that it finds
(which is what a caller of `pipelines.__main__.main` gets). Ratios of user and system time of the whole process.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
PLAIN = "import sys; from pipelines.__main__ import main; sys.exit(main(sys.argv[1:]))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--bundle", default="chest_xray_pneumonia_classification")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    ways = {"predict": ["-m", "pipelines"], "MONAI's own imports": ["-c", PLAIN]}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, start in ways.items():
            with tempfile.TemporaryDirectory() as out:
                words = ["predict", args.bundle, str(args.picture.absolute()), "--out", out]
                seconds[way].append(processor_time([sys.executable, *start, *words]))
    plain = np.array(seconds["MONAI's own imports"])
    print("| imports | processor time, s (median) | ratio (middle half) |\n|---|---:|---|")
    for way, took in seconds.items():
        low, middle, high = np.percentile(np.array(took) / plain, (25, 50, 75))
        print(f"| {way} | {np.median(took):.2f} | {middle:.3f} ({low:.3f} to {high:.3f}) |")


def processor_time(command: list[str]) -> float:
    """User and system seconds of a command on one thread."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=PROJECT, env=env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
