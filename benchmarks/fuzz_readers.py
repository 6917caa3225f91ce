"""Spoilt files against the readers: each gets an image or a PipelinesError, in seconds and in little memory.

    python benchmarks/fuzz_readers.py --number 10000 --out finds        # of each format
    python benchmarks/fuzz_readers.py --formats png tar --minutes 5     # as many as fit into the time
    python benchmarks/fuzz_readers.py --replay finds/png-4711           # one find again, with its stack trace

Input `k` of a format is the same each time, on one set of libraries. Readers run in a process of their own, which may
take 4 GiB of address space more than it has at the start. A find is any other exception, memory that ran out (also
where an error hides it), an image that is none, a process that ended, and an answer that took longer than 30 s. Its
files are kept in a folder, beside `find.json`; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import re
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np
from fuzz_inputs import FORMATS, originals
from fuzz_mutations import mutated

from pipelines.errors import PipelinesError
from pipelines.readers import (
    look_through,
    read_as_shown,
    read_case,
    read_colour,
    read_label_image,
    read_volume,
    read_xray,
)
from pipelines.readers.dicom_source import read_source
from pipelines.weights import read_weights

SECONDS, GIB = 30.0, 4.0
_SENTENCE = 1000  # letters of an error
_NO_MEMORY = re.compile(r"bad_alloc|(unable|failed|cannot|could not) (to )?allocate|out of memory", re.I)
READ, REFUSED, FIND = "read", "refused", "find"
_READERS: dict[str, tuple[Callable[[Path], Any], ...]] = {
    "volume": (read_case, read_volume, read_as_shown, look_through, read_label_image),
    "dicom": (read_case, read_volume, read_xray, read_colour, look_through, read_source),
    "picture": (read_case, read_xray, read_colour, read_label_image, look_through),
    "archive": (look_through, read_case, read_xray, read_colour),
    "weights": (read_weights,),
}
_OF = {"dicom_series": "dicom", "dicom_file": "dicom", "nifti": "volume", "nrrd_meta_analyze": "volume",
       "zip": "archive", "tar": "archive", "weights": "weights"}  # fmt: skip


@dataclass
class Count:
    """What came of the inputs of one format; the longest answer in seconds, and the most memory in MiB above what the
    process had at its start."""

    read: int = 0
    refused: int = 0
    finds: int = 0
    slowest: float = 0.0
    memory: float = 0.0

    @property
    def inputs(self) -> int:
        return self.read + self.refused + self.finds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--number", type=int, default=10**9, help="inputs of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--minutes", type=float, default=10.0, help="of all formats together")
    parser.add_argument("--out", type=Path, default=Path("finds"), help="folder of finds")
    parser.add_argument("--replay", type=Path, help="folder of a find")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(Path(args.worker))
    elif args.replay:
        print(json.dumps(replayed(args.replay), indent=2))
    else:
        counts = fuzz(args.formats, args.number, args.out, first=args.first, seconds=60 * args.minutes)
        print(table(counts))
        sys.exit(any(each.finds for each in counts.values()))


def table(counts: dict[str, Count]) -> str:
    lines = ["| format | inputs | read | refused | finds | slowest, s | memory, MiB |", "|---|---|---|---|---|---|---|"]
    for name, each in counts.items():
        lines.append(f"| {name} | {each.inputs:,} | {each.read:,} | {each.refused:,} | {each.finds} | "
                     f"{each.slowest:.1f} | {each.memory:.0f} |")  # fmt: skip
    return "\n".join(lines)


def fuzz(
    formats: Sequence[str], number: int, out: Path, *, first: int = 0, seconds: float = 1e9, limit: float = SECONDS
) -> dict[str, Count]:
    """Try `number` inputs of each format, or as many as fit into `seconds`; finds are kept in `out`."""
    counts = {name: Count() for name in formats}
    end = time.monotonic() + seconds
    with _Worker(limit) as worker:
        for k in range(first, first + number):
            for name, count in counts.items():
                if time.monotonic() > end:
                    return counts
                told = worker.ask(name, k)
                count.slowest = max(count.slowest, told["seconds"])
                count.memory = max(count.memory, told.get("memory", 0.0))
                if told["what"] == FIND:
                    count.finds += 1
                    worker.keep(out / f"{name}-{k}", told)
                elif told["what"] == READ:
                    count.read += 1
                else:
                    count.refused += 1
    return counts


class _Worker:
    """A process that reads, started again where it ends or hangs."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, name: str, k: int) -> dict[str, Any]:
        if self.process is None:
            self._start()
        process = self.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        began = time.monotonic()
        process.stdin.write(f"{name} {k}\n")
        process.stdin.flush()
        ready = select.select([process.stdout], [], [], self.limit)[0]
        line = process.stdout.readline() if ready else ""
        if line:
            return {"format": name, "number": k, **json.loads(line)}
        how = "hangs" if not ready else f"ended with {process.wait(10)}"
        self._end()
        said = (self.folder / "stderr").read_text(errors="replace")[-3000:]
        return {
            "format": name,
            "number": k,
            "what": FIND,
            "seconds": time.monotonic() - began,
            "how": how,
            "trace": said,
        }

    def keep(self, folder: Path, told: dict[str, Any]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder / "input", folder)
        (folder / "find.json").write_text(json.dumps(told, indent=2) + "\n")

    def _start(self) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", str(self.folder)]
        environment = {**os.environ, "TMPDIR": str(self.folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with (self.folder / "stderr").open("w") as file:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True
            )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError((self.folder / "stderr").read_text(errors="replace"))

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def work(folder: Path) -> None:
    """Answer each line ``FORMAT NUMBER`` with a line of JSON."""
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    whole = [(kind, each) for kind in FORMATS for each in originals(kind)]
    for kind, each in whole:  # imports all there is
        for read in _READERS[_OF.get(kind, "picture")]:
            attempt(read, write(folder / "input", each.name, each.data, each.beside, each.folder))
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + int(GIB * 2**30),) * 2)
    start = _peak(anew=True)
    print("ready", file=answers)
    for line in sys.stdin:
        name, number = line.split()
        path, read = made(name, int(number), folder / "input")
        told = attempt(read, path)
        print(json.dumps({**told, "memory": _peak() - start}), file=answers)


def _peak(anew: bool = False) -> float:
    """The most memory that the process had since it was last measured anew, in MiB."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def made(name: str, number: int, folder: Path) -> tuple[Path, Callable[[Path], Any]]:
    """Write an input; what is to be read, and by which reader."""
    chance = Random(f"{name}-{number}")
    several = originals(name)
    one = chance.choice(several)
    data = mutated(name, one.data, [each.data for each in several], chance)
    readers = _READERS[_OF.get(name, "picture")]
    return write(folder, one.name, data, one.beside, one.folder), chance.choice(readers)


def write(folder: Path, name: str, data: bytes, beside: dict[str, bytes], whole: bool) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for other, content in {**beside, name: data}.items():
        (folder / other).write_bytes(content)
    return folder if whole else folder / name


def attempt(read: Callable[[Path], Any], path: Path) -> dict[str, Any]:
    """What came of reading: "read", "refused" or "find", with seconds and, of the latter, how."""
    began, how, trace, what = time.monotonic(), "", "", READ
    try:
        how = odd(read(path))
        what = FIND if how else READ
    except PipelinesError as error:
        what, how, trace = REFUSED, f"{type(error).__name__}: {error}"[:500], ""
        if _ran_out(error):
            what, how, trace = FIND, f"hides that memory ran out: {how}", traceback.format_exc()
        elif len(str(error)) > _SENTENCE or not str(error).isprintable():
            what, how, trace = FIND, f"is no sentence: {how}", traceback.format_exc()[-6000:]
    except BaseException as error:
        what, how, trace = FIND, f"{type(error).__name__}: {error}"[:500], traceback.format_exc()[-6000:]
    reader = getattr(read, "__name__", str(read))
    return {"what": what, "reader": reader, "seconds": time.monotonic() - began, "how": how, "trace": trace}


def _ran_out(error: BaseException | None) -> bool:
    """Whether an error was made of one that says that there is no memory."""
    while error is not None:
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def odd(result: Any) -> str:
    """Why an answer is no image; "" where it is one."""
    array = getattr(result, "array", None)
    if array is None:
        return ""
    if not isinstance(array, np.ndarray) or not array.size or not np.isfinite(array).all():
        return f"an array of {getattr(array, 'shape', None)} that is empty or not finite"
    affine = getattr(result, "affine", None)
    if affine is not None and not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-6):
        return "an affine that cannot be inverted"
    return ""


def replayed(find: Path) -> dict[str, Any]:
    """Read a find again in this process, without a limit: the input itself, whatever the libraries are now."""
    told = json.loads((find / "find.json").read_text())
    by_name = {each.__name__: each for several in _READERS.values() for each in several}
    with tempfile.TemporaryDirectory() as folder:
        path, read = made(told["format"], told["number"], Path(folder) / "made")
        read = by_name.get(told.get("reader", ""), read)
        kept = Path(folder) / "input"
        shutil.copytree(find, kept)
        (kept / "find.json").unlink()
        return attempt(read, kept if path.name == "made" else kept / path.name)


if __name__ == "__main__":
    main()
