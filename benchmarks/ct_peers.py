"""A CT from disk to a mask on disk by `python -m pipelines predict`, nnU-Net's predictor and lungmask, in turns.

    python benchmarks/ct_peers.py [SERIES] [--peers PYTHON] [--slices 40] [--size 512] [--rounds 1] [--threads 2]

PYTHON is another environment's that has the peers: `python -m venv peers-env`, then
`peers-env/bin/pip install "torch>=2.10,<2.14" "torchvision<0.29" nnunetv2 lungmask`. Without it, ours alone is run.

Each run is a process of its own, on as many cores as threads; the start of Python and imports are counted, and the
memory of the processes that it starts. The same scan for all: ours and lungmask read the DICOM series, nnU-Net the same
as NIfTI, since it reads no DICOM. The networks are not equal, and that is not the question: it is what each tool takes
for its answer, with its defaults.

- `ours`: the CT bundle as shipped. Flips and scales as it takes them; `ours-fast` is `--fast`. A runtime is chosen in
  the first round (32 slices or more), and that is counted; it is kept for the other rounds, not beyond them.
- `nnunet-2d`, `nnunet-3d`: PlainConvUNet, planned by its planner for this scan and 8 GB, random weights, one fold (five
  is what it recommends); mirroring, its default; with `-fast` without (`--disable_tta`).
- `lungmask`: R231's U-Net, random weights; lungs alone, no lesions. Random answers would make its cleaning-up endless:
  it gets air of the scan's two halves, after the network has computed all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from _measuring import Figures, Run, Spread, add_json, in_turns, machine_line, phantom, ratio, watched
from _peers import NNUNET, peers_side

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
OURS = {"ours": [], "ours-fast": ["--fast"]}
PEERS = [*(name + end for name in NNUNET for end in ("", "-fast")), "lungmask"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("series", type=Path, nargs="?", help="a folder of one CT's DICOM files (default: a phantom)")
    parser.add_argument("--peers", metavar="PYTHON", help="of an environment with nnunetv2 and lungmask")
    parser.add_argument("--slices", type=int, default=40, help="of the phantom")
    parser.add_argument("--size", type=int, default=512, help="of the phantom's slices")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--ways", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS], metavar="WAY", help=", ".join(PEERS)
    )
    parser.add_argument("--way", help=argparse.SUPPRESS)  # within, by the peers' Python
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    add_json(parser)
    args = parser.parse_args()
    if args.way:
        peers_side(args)
        return
    ways = [way for way in args.ways if way in OURS or args.peers]
    if not args.peers:
        print("Without --peers: ours alone.")
    figures = Figures("ct_peers")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if args.series is None:
            args.series = phantom("covid_ct", work / "phantom", size=args.size, slices=args.slices, file_format="dicom")
        print(f"{machine_line(args.threads)}; {len(list(args.series.iterdir()))} slices, {args.rounds} rounds.")
        if args.peers:
            print(prepared(args, work))
        number = count()

        def measure(way: str) -> Run:
            out = work / "out" / str(next(number))
            run = watched(command(way, args, work, out), args.threads, work / "log", XDG_CACHE_HOME=f"{folder}/cache")
            if not list(out.rglob("*.nii.gz")):
                raise SystemExit(f"{way} wrote no mask:\n{(work / 'log').read_text()[-2000:]}")
            said = f"{way}: {run.seconds:.1f} s, {run.processors:.1f} s of processors, {run.peak:.2f} GiB"
            print(said, file=sys.stderr, flush=True)
            return run

        report(in_turns({way: way for way in ways}, args.rounds, measure), figures)
    figures.write(args.json)


def prepared(args: argparse.Namespace, work: Path) -> str:
    """Has the peers make plans and networks; what they are."""
    words = [args.peers, __file__, str(args.series), "--way", "prepare", "--work", str(work)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peers could not be prepared:\n{done.stderr[-2000:]}")
    about = json.loads(done.stdout.splitlines()[-1])
    return "Peers: " + "; ".join(f"{name} {value}" for name, value in about.items())


def command(way: str, args: argparse.Namespace, work: Path, out: Path) -> list[str]:
    if way in OURS:
        return [
            sys.executable,
            "-m",
            "pipelines",
            "predict",
            str(BUNDLE),
            str(args.series),
            "--out",
            str(out),
            *OURS[way],
        ]
    words: list[Any] = [args.peers, __file__, args.series, "--way", way, "--work", work, "--out", out]
    return [str(word) for word in [*words, "--threads", args.threads]]


def report(runs: dict[str, list[Run]], figures: Figures) -> None:
    """A line a way; ratios of time are to the first, round by round."""
    print("| tool | s | s of processors | peak memory, GiB | time to the first |\n|---|---:|---:|---:|---:|")
    first = next(iter(runs.values()))
    for way, found in runs.items():
        columns = {
            "s": Spread.of([run.seconds for run in found]),
            "s of processors": Spread.of([run.processors for run in found]),
            "GiB": Spread.of([run.peak for run in found]),
            "x": ratio([run.seconds for run in found], [run.seconds for run in first]),
        }
        seconds, processors, memory, times = (each.middle for each in columns.values())
        print(f"| {way} | {seconds:.1f} | {processors:.1f} | {memory:.2f} | {times:.2f} |")
        for unit, spread in columns.items():
            figures.add(f"{way}{', time to that of ours' if unit == 'x' else ''}", unit, spread)


if __name__ == "__main__":
    main()
