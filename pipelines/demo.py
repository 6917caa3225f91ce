"""The first minutes: phantoms in; tracked trainings, figures, an overlay and a comparison out, each by a command."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pipelines.errors import OutputError, UsageError

logger = logging.getLogger(__name__)

BUNDLE = "covid_ct_lesion_segmentation"
DEFAULT = "basic_unet"
# The allocator else gives each large tensor back to the system and asks for it again, at much processor time.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
OTHERS = ("tiny_unet", "lesion_unet")  # to be compared with the bundle's default
KNOBS = ["--slice_size", "[128,128]", "--batch_size", "1", "--slices_per_case", "4", "--val_interval", "5"]
KNOBS += ["--learning_rate", "0.001"]
PLAIN = ["--flips", "False", "--scales", "[1.0]"]  # one look at each slice: an eighth of the time
# of fewer than seven test cases with lesions no paired test of three networks can say anything
CASES = ["--cases", "24", "--slices", "16", "--test", "0.4"]


def run_demo(out: Path, bundles: Path, epochs: int = 15) -> int:
    """Makes phantoms, trains three networks, evaluates, predicts and compares into ``out``.

    Training starts from a network's shipped weights, as with one's own scans, and from random ones where it has none.

    Args:
        out: replaced if an earlier demo made it.
        bundles: the folder of bundles.
        epochs: of each training; 15 of the first take some 40 seconds on 2 cores.

    Returns:
        The exit code of the first step that fails, or 0.

    Raises:
        UsageError: the bundle is not there.
        OutputError: ``out`` exists and no demo made it.
    """
    bundle = bundles / BUNDLE
    if not bundle.is_dir():
        raise UsageError("the demo needs the project's bundles", where=bundle, how="name them with --bundles")
    out = out.absolute()
    mark = out / ".demo"
    if out.exists() and any(out.iterdir()) and not mark.exists():
        raise OutputError("the folder holds something else", where=out, how="choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    mark.touch()

    configs = bundle / "configs"
    data, runs = str(out / "phantoms"), str(out / "training")
    knobs = [*KNOBS, *PLAIN, "--dataset_dir", data, "--ckpt_dir", runs, "--bundle_root", str(bundle)]
    train, evaluate = str(configs / "train.yaml"), str(configs / "evaluate.yaml")
    length = ["--epochs", str(epochs)]
    python = sys.executable
    monai = [python, "-m", "monai.bundle", "run", "--config_file"]
    steps = [
        ("make phantom CT scans", [python, "-m", "pipelines", "data", "phantom", "covid_ct", "--out", data, *CASES]),
        ("train, from the shipped weights", [*monai, train, *knobs, *length, *start(bundle, DEFAULT)]),
        ("evaluate on phantoms that were kept aside", [*monai, f"['{train}','{evaluate}']", *knobs]),
        (
            "segment them",
            [
                *monai,
                str(configs / "inference.yaml"),
                "--bundle_root",
                str(bundle),
                "--dataset_dir",
                data,
                *KNOBS[:2],
                *PLAIN,
                "--checkpoint",
                str(Path(runs) / "model.pt"),
                "--output_dir",
                str(out / "predictions"),
            ],
        ),
    ]
    for name in OTHERS:
        network, folder = str(configs / "networks" / f"{name}.yaml"), str(out / name)
        own = [*knobs, "--ckpt_dir", folder]  # the last word counts
        weights = start(bundle, name)
        steps += [
            (
                f"train {name}, from {'the shipped' if weights else 'random'} weights",
                [*monai, f"['{train}','{network}']", *own, *length, *weights],
            ),
            (f"evaluate {name}", [*monai, f"['{train}','{network}','{evaluate}']", *own]),
        ]
    compare = [python, "-m", "pipelines", "compare", "--experiment", BUNDLE, "--out", str(out / "comparison")]
    compare += ["--bundles", str(bundles)]
    steps.append(("compare the networks", compare))
    environment = {**ALLOCATOR, **os.environ}
    started = time.monotonic()
    for number, (what, command) in enumerate(steps, start=1):
        sys.stdout.write(f"\n[{number}/{len(steps)}] {what}\n$ {shlex.join(command)}\n")
        sys.stdout.flush()
        code = subprocess.call(command, env=environment)
        if code:
            return code
    overlays = sorted((out / "predictions").glob("*_overlay.png"))
    sys.stdout.write(
        f"\nDone in {time.monotonic() - started:.0f} s. On phantoms, figures show that it works, not how well.\n"
        f"  look at       {overlays[0] if overlays else out / 'predictions'}\n"
        f"  figures       {Path(runs) / 'evaluation' / 'summary.md'}\n"
        f"  comparison    {out / 'comparison' / 'comparison.html'}\n"
        f"  the runs      python -m pipelines ui\n"
        f"  your own scan python -m pipelines predict {BUNDLE} SCAN --out DIR\n"
    )
    return 0


def start(bundle: Path, network: str) -> list[str]:
    """The flag that makes a training begin with a network's shipped weights, if there are any."""
    weights = bundle / "models" / f"{network}.safetensors"
    return ["--pretrained", str(weights)] if weights.is_file() else []
