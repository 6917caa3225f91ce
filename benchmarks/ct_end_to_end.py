"""A DICOM series to a mask on disk, by `python -m pipelines predict` and by MONAI's own classes, in turns.

    python benchmarks/ct_end_to_end.py [SERIES] [--rounds 3] [--threads 2] [--runtime auto] [--alone] [--fast]

Both ways: the CT bundle's default network, weights, views (flips and scales), frame and clean-up; a process a run, the
start of Python and the imports counted. MONAI's way: ``LoadImaged``, ``Orientationd``, ``ScaleIntensityRanged``, the
bundle's ``CropForegroundd``, ``Resized``; for each view ``SliceInferer`` (its ``SlidingWindowInferer`` for slices) with
the defaults but ``roi_size``, float32, eager; the mean probabilities, ``Invertd``, ``AsDiscreted``, ``SaveImaged``.
Printed besides: Dice between the two masks, and each way's peak above what the libraries take and the scan as float32.
Without SERIES, of a phantom of `--slices`. `--alone` is ours without MONAI's: how much memory a long scan takes.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import nibabel as nib
import numpy as np
from _measuring import Figures, add_json, ended_processors, in_turns, phantom, ratio

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
GIB = 2**30
WAYS = ("ours", "monai")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "series", type=Path, nargs="?", help="a folder of a CT's DICOM files, the same number of files as slices"
    )
    parser.add_argument("--slices", type=int, default=24, help="of the phantom, where no series is given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runtime", default="auto", help="of ours")
    parser.add_argument("--alone", action="store_true", help="ours only")
    parser.add_argument("--fast", action="store_true", help="ours with --fast; with --alone")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)  # within: one run, and what it took
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    add_json(parser)
    args = parser.parse_args()
    if args.way is not None:
        run(args)
        return
    if args.fast and not args.alone:
        parser.error("--fast goes with --alone: MONAI's way has all views")
    ways = WAYS[:1] if args.alone else WAYS
    figures, memory, number = Figures("ct_end_to_end"), dict.fromkeys(ways, 0.0), count()
    with tempfile.TemporaryDirectory() as folder:
        if args.series is None:
            options = {"size": 512, "slices": args.slices, "file_format": "dicom"}
            args.series = phantom("covid_ct", Path(folder) / "phantom", **options)

        def measure(way: str) -> tuple[float, float]:
            took, memory[way] = timed(way, args, Path(folder) / f"{way}{next(number) // len(ways)}")
            print(f"{way}: {took[0]:.0f} s, {took[1]:.0f} s of processors", file=sys.stderr)
            return took

        seconds = in_turns({way: way for way in ways}, args.rounds, measure)
        masks = [mask_of(Path(folder) / f"{way}0") for way in ways]
    scan = masks[0].size * 4 / GIB
    print(f"{masks[0].shape} voxels, {args.threads} threads, {args.rounds} rounds.")
    if not args.alone:
        compare(seconds, masks, figures)
    print("Peak above libraries and scan: " + ", ".join(f"{way} {memory[way] - scan:.2f} GiB" for way in ways))
    for way in ways:
        figures.add(f"{way}, peak above libraries and scan", "GiB", memory[way] - scan)
    figures.write(args.json)


def compare(seconds: dict[str, list[tuple[float, float]]], masks: list[np.ndarray], figures: Figures) -> None:
    for what, which in (("time", 0), ("processor time", 1)):
        longer = ratio(*([each[which] for each in seconds[way]] for way in ("monai", "ours")))
        print(f"MONAI's way takes {longer.text()} times the {what}.")
        figures.add(f"MONAI's way to ours, {masks[0].shape[-1]} slices, {what}", "x", longer)
    print(
        "Dice between the masks: " + ", ".join(f"{name} {dice(*masks, values):.4f}" for name, values in LABELS.items())
    )


LABELS = {"lung and lesion": (1, 2), "lung": (1,), "lesion": (2,)}


def dice(a: np.ndarray, b: np.ndarray, values: tuple[int, ...]) -> float:
    one, other = np.isin(a, values), np.isin(b, values)
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


def mask_of(folder: Path) -> np.ndarray:
    """The only mask below a folder, its voxels in the series' order whatever the file's."""
    (path,) = folder.rglob("*.nii.gz")
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj).astype(np.uint8)


def timed(way: str, args: argparse.Namespace, out: Path) -> tuple[tuple[float, float], float]:
    """Seconds of a whole process, and of processors; its peak in GiB above that when the libraries were there."""
    words = [str(args.series), "--way", way, "--out", str(out), "--threads", str(args.threads)]
    command = [sys.executable, str(Path(__file__).resolve()), *words, "--runtime", args.runtime]
    command += ["--alone", "--fast"] if args.fast else []
    start, used = time.perf_counter(), ended_processors()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    )
    return (time.perf_counter() - start, ended_processors() - used), float(done.stdout.split()[-1])


def run(args: argparse.Namespace) -> None:
    """One way in this process; prints GiB of its peak above the libraries'."""
    if args.way == "ours":
        import pipelines.prediction  # noqa: F401 - what it needs is loaded before the baseline
        from pipelines.__main__ import main as command

        before = peak()
        words = ["predict", str(BUNDLE), str(args.series), "--out", str(args.out), "--runtime", args.runtime]
        words += ["--fast"] if args.fast else []
        if code := command(words):
            raise SystemExit(code)
    else:
        before = monai_way(args.series, args.out)
    print((peak() - before) / GIB)


def peak() -> int:
    """Bytes, of this program: ``getrusage`` also knows the parent's, from before it became this program."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def monai_way(series: Path, out: Path) -> int:
    """The same task by MONAI's classes; the peak before it begins."""
    import torch
    from monai.bundle import ConfigParser
    from monai.inferers import SliceInferer
    from monai.transforms import (
        AsDiscreted,
        Compose,
        CropForegroundd,
        Invertd,
        LoadImaged,
        Orientationd,
        SaveImaged,
        ScaleIntensityRanged,
    )
    from torch.nn.functional import interpolate

    from pipelines.inferers.views import FLIPS
    from pipelines.networks import EncoderUNet
    from pipelines.tasks.lung_ct.transforms import LungsOnlyd, RemoveStrayLabelsd, select_chest
    from pipelines.weights import read_weights

    before = peak()
    config = ConfigParser.load_config_file(str(BUNDLE / "configs" / "inference.yaml"))
    network = EncoderUNet()
    network.load_state_dict(read_weights(BUNDLE / "models" / "encoder_unet.safetensors"))
    network.eval()
    pre = Compose([
        LoadImaged("image", ensure_channel_first=True),
        Orientationd("image", axcodes="LPS", labels=None),
        ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True),
        CropForegroundd(
            "image", "image", select_fn=select_chest, allow_smaller=True, start_coord_key=None, end_coord_key=None
        ),
    ])  # fmt: skip
    post = Compose([
        AsDiscreted("pred", argmax=True),
        RemoveStrayLabelsd("pred"),
        LungsOnlyd("pred"),
        Invertd("pred", pre, "image", nearest_interp=True),
        SaveImaged("pred", output_dir=out, output_dtype=np.uint8, resample=False, print_log=False),
    ])  # fmt: skip
    data = pre({"image": str(series)})
    image = data["image"]
    slices = image.as_tensor()[0].movedim(-1, 0)[:, None]  # (Z, 1, X, Y)
    parts = []
    with torch.no_grad():
        for scale in config["scales"]:
            size = tuple(round(side * scale) for side in config["slice_size"])
            small = interpolate(slices, size, mode="bilinear", antialias=True)
            volume = small[:, 0].movedim(0, -1)[None, None]  # (1, 1, X, Y, Z)
            infer = SliceInferer(spatial_dim=2, roi_size=size)
            views = (infer(volume.flip(axes), network).softmax(dim=1).flip(axes) for axes in FLIPS)
            mean = functools.reduce(torch.add, views) / len(FLIPS)
            own = interpolate(mean[0].movedim(-1, 0), slices.shape[2:], mode="bilinear")
            parts.append(own.movedim(0, -1))  # (classes, X, Y, Z)
    data["pred"] = type(image)(functools.reduce(torch.add, parts) / len(parts), meta=image.meta)
    post(data)
    return before


if __name__ == "__main__":
    main()
