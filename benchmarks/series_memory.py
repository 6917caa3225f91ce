"""Memory and time of reading a long series, ours beside MONAI's readers, and whether decoders run in parallel.

    python benchmarks/series_memory.py [--slices 600] [--side 512] [--work DIR]

Each row is a process of its own: the peak of its resident memory while the series is read, less what it was before
(after a small series, so that imports and caches are not counted), as a multiple of the float32 volume. Then, of each
encoding, the milliseconds a slice in one thread and in as many as there are cores, and in as many processes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from _measuring import Figures, add_json
from pydicom.pixels import pixel_array
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.phantom_files import write_dicom_case

ENCODINGS = {
    "uncompressed": None,
    "RLE": RLELossless,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}
BY_MONAI = [f"LoadImaged, {each}" for each in ("StrictReader", "ITKReader", "PydicomReader")]
ROWS = [("read_volume", each) for each in ENCODINGS]
ROWS += [(how, "uncompressed") for how in ("read_case", "LoadVolumed", *BY_MONAI)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--work", type=Path, help="where the series are kept; a temporary folder if not given")
    add_json(parser)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], *map(Path, args.one[1:]))))
        return
    figures = Figures("series_memory")
    with tempfile.TemporaryDirectory() as made:
        work = args.work or Path(made)
        for name in ENCODINGS:
            write(work / name, args.slices, args.side)
            write(work / f"{name}, small", 8, 64)
        print("| read by | encoding | CPU seconds | peak memory / volume |\n|---|---|---:|---:|")
        for how, name in ROWS:
            command = [sys.executable, __file__, "--one", how, str(work / f"{name}, small"), str(work / name)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            seconds, ratio = json.loads(told)
            print(f"| {how} | {name} | {seconds:.1f} | {ratio:.2f} |", flush=True)
            figures.add(f"{name}, {how}, peak to the volume", "x", ratio)
        parallel(work)
    figures.write(args.json)


def write(folder: Path, slices: int, side: int) -> None:
    """A phantom series in the encoding that its folder is called after, unless it is there."""
    if folder.exists():
        return
    few = make_lung_phantom(0, size=max(side // 4, 48), slices=12)
    times = (side // few.array.shape[0], side // few.array.shape[1], -(-slices // 12))
    array = np.kron(few.array, np.ones(times, np.int16))[:, :, :slices]
    noise = np.random.default_rng(0).normal(0, 10, array.shape[:2]).astype(np.int16)
    for k in range(slices):  # as in a scan, so that there is something to compress
        array[:, :, k] = np.maximum(array[:, :, k] + np.roll(noise, 7 * k, axis=0), -1024)
    phantom = replace(few, array=array, label=few.label[:, :, :1], affine=np.diag([-0.7, -0.7, 1.0, 1.0]))
    write_dicom_case(folder.parent / "plain", folder.name, phantom)
    home = folder.parent / "plain" / "series" / folder.name
    syntax = ENCODINGS[folder.name.split(",")[0]]
    for path in sorted(home.iterdir()) if syntax else []:
        if syntax == JPEGLosslessSV1:
            _by_gdcm(path)
        else:
            dataset = pydicom.dcmread(path)
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(path)
    home.rename(folder)


def _by_gdcm(path: Path) -> None:
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    writer.Write()


def measure(how: str, small: Path, large: Path) -> tuple[float, float]:
    """Seconds of CPU time, and the growth of the peak over the size of the volume."""
    warnings.simplefilter("ignore")
    read = _reader(how)
    read(small)
    before, start = _peak(), time.process_time()
    array = read(large)
    return time.process_time() - start, (_peak() - before) / (4 * np.prod(array.shape))


def _reader(how: str) -> Callable[[Path], Any]:
    from pipelines.readers import read_case, read_volume

    if how in ("read_volume", "read_case"):
        function = {"read_volume": read_volume, "read_case": read_case}[how]
        return lambda path: function(path).array
    from monai.transforms import LoadImaged

    from pipelines.transforms import LoadVolumed

    name = how.rpartition(" ")[2]
    reader = f"pipelines.transforms.{name}" if name == "StrictReader" else name
    load = LoadVolumed("image") if how == "LoadVolumed" else LoadImaged("image", reader=reader)
    return lambda path: load({"image": str(path)})["image"]


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) * 1024 if found else 0


def decode(path: Path) -> int:
    """Decodes a slice; what it weighs."""
    return int(pixel_array(path).nbytes)


def parallel(work: Path, slices: int = 48) -> None:
    cores = len(os.sched_getaffinity(0))
    print(f"\n| encoding | ms a slice | {cores} threads | {cores} processes, after they have started |")
    print("|---|---:|---:|---:|")
    for name in ENCODINGS:
        paths = sorted((work / name).iterdir())[:slices]
        start = time.perf_counter()
        for path in paths:
            decode(path)
        times = [time.perf_counter() - start]
        pools: list[Executor] = [ThreadPoolExecutor(cores), ProcessPoolExecutor(cores, get_context("spawn"))]
        for pool in pools:
            with pool:
                list(pool.map(decode, paths[: 4 * cores]))
                start = time.perf_counter()
                list(pool.map(decode, paths))
                times.append(time.perf_counter() - start)
        print(f"| {name} | {' | '.join(f'{1000 * each / len(paths):.1f}' for each in times)} |", flush=True)


if __name__ == "__main__":
    main()
