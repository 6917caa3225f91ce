"""Every benchmark that needs no data and is done in minutes, one after another, and one table of what they found.

    python benchmarks/every_quick_one.py [--out bench] [--only startup runtimes]        # make bench

Phantoms only: the figures say how fast and how large, never how good. What each prints is shown; its figures lie in
OUT as JSON, with the machine. One that fails is named at the end, and the others are run nevertheless.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from _measuring import machine_line, markdown

HERE = Path(__file__).resolve().parent
QUICK = {  # with options that make them short; benchmarks/README.md has what each does in full
    "startup": ["--rounds", "2"],
    "runtimes": ["--rounds", "5"],
    "ct_end_to_end": ["--slices", "8", "--rounds", "1"],
    "inference": ["--slices", "12", "--size", "256"],
    "series_memory": ["--slices", "60", "--side", "256"],
    "training_epoch": ["--networks", "tiny_unet", "--rounds", "3"],
    "compare_thousand": ["--runs", "40"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench"), help="a folder for the figures (default: bench)")
    parser.add_argument("--only", nargs="+", choices=list(QUICK), default=list(QUICK), metavar="NAME")
    args = parser.parse_args()
    rows, failed, took = [], [], {}
    for name in args.only:
        found = (args.out / f"{name}.json").absolute()
        found.unlink(missing_ok=True)
        words = [str(HERE / f"{name}.py"), *QUICK[name], "--json", str(found)]
        print(f"\n## {' '.join(['benchmarks/' + name + '.py', *QUICK[name]])}\n", flush=True)
        begun = time.monotonic()
        code = subprocess.run([sys.executable, *words], cwd=HERE.parent, check=False).returncode
        took[name] = time.monotonic() - begun
        if code or not found.is_file():
            failed.append(name)
        else:
            rows += json.loads(found.read_text(encoding="utf-8"))["figures"]
    print(f"\n## All\n\n{machine_line()}\n\n{markdown(rows)}\n")
    print("Seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in took.items()))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
