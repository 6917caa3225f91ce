"""A folder of chest X-rays by `python -m pipelines predict`, and by MONAI's plain way, in turns.

    python benchmarks/xray_folder.py [PICTURES] [--number 100] [--size 1024] [--rounds 3] [--threads 2]

Both: the chest X-ray bundle's network, weights, reading and checks; a report and a picture of what the network looked
at for each; a process a run, the start of Python and the imports counted. Ours: `predict` with its defaults, so that
it also chooses a runtime (100 pictures or more; counted in the first round, kept for the others). MONAI's plain way:
`python -m monai.bundle run` of the bundle's inference config, float32 by PyTorch, a picture at a time, the picture by
`monai.visualize.GradCAM`. Printed: pictures a second, ratios, peak memory, and how far apart the probabilities are.
Without PICTURES, of phantoms: `--number` of `--size` pixels a side.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import count
from pathlib import Path

from _measuring import Figures, Run, Spread, add_json, in_turns, machine_line, ratio, watched

HERE = Path(__file__).resolve().parent
BUNDLE = HERE.parent / "bundles" / "chest_xray_pneumonia_classification"
WAYS = ("ours", "monai")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, nargs="?", help="a folder of chest X-rays (default: phantoms)")
    parser.add_argument("--number", type=int, default=100, help="of phantoms")
    parser.add_argument("--size", type=int, default=1024, help="of phantoms, pixels a side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    add_json(parser)
    args = parser.parse_args()
    figures, number = Figures("xray_folder"), count()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if args.pictures is None:
            from pipelines.tasks.registry import DATASETS

            args.pictures = work / "phantoms"
            DATASETS["chest_xray"].phantoms()(args.pictures, raw=True, cases=args.number, size=args.size)
        print(f"{machine_line(args.threads)}; {args.rounds} rounds.")

        def measure(way: str) -> Run:
            out = work / f"{way}{next(number) // len(WAYS)}"
            words = command(way, args.pictures.absolute(), out)
            environment = {"XDG_CACHE_HOME": f"{folder}/cache", "PYTHONPATH": f"{HERE.parent}:{HERE}"}
            run = watched(words, args.threads, work / "log", **environment)
            said = f"{way}: {run.seconds:.1f} s, {run.processors:.1f} s of processors, {run.peak:.2f} GiB"
            print(said, file=sys.stderr, flush=True)
            return run

        runs = in_turns({way: way for way in WAYS}, args.rounds, measure)
        ours, monai = (probabilities(work / f"{way}0") for way in WAYS)
        if ours.keys() != monai.keys():
            raise SystemExit(f"not the same pictures: {sorted(ours.keys() ^ monai.keys())[:5]} ...")
        report(runs, ours, monai, figures)
    figures.write(args.json)


def command(way: str, pictures: Path, out: Path) -> list[str]:
    if way == "ours":
        return [sys.executable, "-m", "pipelines", "predict", str(BUNDLE), str(pictures), "--out", str(out)]
    options = {
        "config_file": BUNDLE / "configs" / "inference.yaml",
        "bundle_root": BUNDLE,
        "input": pictures,
        "output_dir": out,
        "runtime": "eager",
        "amp": False,
        "handlers#1#_target_": "_plain_xray.PlainXrayWriter",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "monai.bundle", "run", *words]


def probabilities(out: Path) -> dict[str, dict[str, float]]:
    """By the names of the reports below a folder."""
    reports = sorted(out.rglob("*_report.json"))
    return {path.name: json.loads(path.read_text(encoding="utf-8"))["probabilities"] for path in reports}


def report(
    runs: dict[str, list[Run]], ours: dict[str, dict[str, float]], monai: dict[str, dict[str, float]], figures: Figures
) -> None:
    apart = max(abs(ours[name][each] - monai[name][each]) for name in ours for each in ours[name])
    print(f"{len(ours)} pictures; probabilities at most {apart:.1e} apart.")
    figures.add("probabilities, most apart", "of 1", apart)
    print("| way | pictures a second | s of processors a picture | peak memory, GiB |\n|---|---:|---:|---:|")
    for way, found in runs.items():
        rate = Spread.of([len(ours) / run.seconds for run in found])
        used = Spread.of([run.processors / len(ours) for run in found])
        memory = max(run.peak for run in found)
        print(f"| {way} | {rate.text()} | {used.text(3)} | {memory:.2f} |")
        figures.add(f"{way}, {len(ours)} pictures", "a second", rate)
        figures.add(f"{way}, {len(ours)} pictures, peak", "GiB", memory)
    for what, name in (("time", "seconds"), ("processor time", "processors")):
        longer = ratio(*([getattr(run, name) for run in runs[way]] for way in ("monai", "ours")))
        print(f"MONAI's way takes {longer.text()} times the {what}.")
        figures.add(f"MONAI's way to ours, {len(ours)} pictures, {what}", "x", longer)


if __name__ == "__main__":
    main()
