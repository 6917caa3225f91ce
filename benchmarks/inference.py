"""Time and memory of segmenting one scan, by network and by options; times are ratios to the first row.

    python benchmarks/inference.py [--slices 100] [--size 512]

Draws a phantom scan of that length, and segments it with `python -m pipelines predict`, each row in a process of its
own, and each network at the size that it ships with (LesionUNet at 192 x 192, the others at 256 x 256). "above
the input" is the process's peak less what the libraries take and less the scan as float32.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from _measuring import Figures, add_json
from skimage.transform import resize

from pipelines.tasks.lung_ct.phantom import make_lung_phantom

PROJECT = Path(__file__).resolve().parent.parent
BUNDLE = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
GIB = 2**30
MEASURE = """
import sys, time
from pathlib import Path
from pipelines.__main__ import main
import pipelines.prediction
def peak():  # of this program: getrusage's also knows the parent's, from before it became this program
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
baseline = peak()
start = time.monotonic()
code = main(sys.argv[1:])
print(code, baseline, peak(), time.monotonic() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--size", type=int, default=512)
    add_json(parser)
    args = parser.parse_args()
    figures = Figures("inference")
    with tempfile.TemporaryDirectory() as folder:
        scan = draw_scan(Path(folder) / "scan.nii", args.size, args.slices)
        input_bytes = args.size**2 * args.slices * 4
        rows = [("basic_unet", ["--fast"]), ("basic_unet", []), ("tiny_unet", ["--fast"]), ("lesion_unet", ["--fast"])]
        print(f"One scan of {args.size} x {args.size} x {args.slices}: {input_bytes / GIB:.2f} GiB as float32.")
        print("| network | options | time, ratio | peak above the input, GiB |\n|---|---|---:|---:|")
        first = None
        for network, options in rows:
            seconds, above = measure(scan, network, options, Path(folder))
            first = first or seconds
            print(f"| {network} | {' '.join(options)} | {seconds / first:.2f} | {above - input_bytes / GIB:.2f} |")
            row = " ".join([network, *options])
            figures.add(f"{row}, to {' '.join([rows[0][0], *rows[0][1]])}", "of the time", seconds / first)
            figures.add(f"{row}, peak above the input", "GiB", above - input_bytes / GIB)
    figures.write(args.json)


def draw_scan(path: Path, size: int, slices: int) -> Path:
    """A phantom of 24 slices, enlarged to ``size`` and repeated to ``slices``, as NIfTI (int16 HU)."""
    phantom = make_lung_phantom(1, size=160, slices=24)
    large = [
        resize(phantom.array[:, :, z].astype(np.float32), (size, size), order=1).astype(np.int16)
        for z in range(phantom.array.shape[2])
    ]
    volume = np.stack([large[z * len(large) // slices] for z in range(slices)], axis=-1)
    affine = phantom.affine.copy()
    affine[:3, :2] *= 160 / size
    affine[:3, 2] *= 24 / slices
    nib.save(nib.Nifti1Image(volume, affine), path)
    return path


def measure(scan: Path, network: str, options: list[str], folder: Path) -> tuple[float, float]:
    """Seconds, and the peak in GiB above what importing the libraries takes."""
    command = ["predict", str(BUNDLE), str(scan), "--out", str(folder / "out"), "--network", network, *options]
    started = time.monotonic()
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], check=True, capture_output=True, text=True
    ).stdout
    code, baseline, peak, seconds = output.split()[-4:]
    if code != "0":
        raise SystemExit(f"{network}: predict ended with {code} after {time.monotonic() - started:.0f} s")
    return float(seconds), (float(peak) - float(baseline)) * 1024 / GIB


if __name__ == "__main__":
    main()
