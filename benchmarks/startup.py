"""How much processor time a first answer takes, with the imports of `predict` and with MONAI's own.

    python benchmarks/startup.py [PICTURE] [--bundle chest_xray_pneumonia_classification] [--rounds 7]

Each round runs ``python -m pipelines predict`` twice, in turns: as it is, and with MONAI importing all that it finds
(which is what a caller of `pipelines.__main__.main` gets). Ratios of user and system time of the whole process. Without
PICTURE, of a phantom X-ray.
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
from _measuring import Figures, Spread, add_json, in_turns, phantom, ratio

PROJECT = Path(__file__).resolve().parent.parent
PLAIN_WAY = "MONAI's own imports"
PLAIN = "import sys; from pipelines.__main__ import main; sys.exit(main(sys.argv[1:]))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--bundle", default="chest_xray_pneumonia_classification")
    parser.add_argument("--rounds", type=int, default=7)
    add_json(parser)
    args = parser.parse_args()
    figures = Figures("startup")
    with tempfile.TemporaryDirectory() as folder:
        picture = args.picture or phantom("chest_xray", Path(folder) / "phantom", size=512)
        words = ["predict", args.bundle, str(picture.absolute()), "--out"]
        ways = {"predict": ["-m", "pipelines", *words], PLAIN_WAY: ["-c", PLAIN, *words]}
        seconds = in_turns(ways, args.rounds, processor_time)
    print("| imports | processor time, s (median) | ratio (middle half) |\n|---|---:|---|")
    for way, took in seconds.items():
        less = ratio(took, seconds[PLAIN_WAY])
        print(f"| {way} | {np.median(took):.2f} | {less.text(3)} |")
        figures.add(f"first answer, {way}", "s of a processor", Spread.of(took))
    figures.add("first answer to that with MONAI's own imports", "of the time", ratio(*seconds.values()))
    figures.write(args.json)


def processor_time(words: list[str]) -> float:
    """User and system seconds of Python on one thread; behind its words comes a folder for what it writes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.executable, *words, out], cwd=PROJECT, env=env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
