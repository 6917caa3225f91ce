"""Every command whose output lies on a disk that is full, is full soon, or is read-only: one sentence that names the
place, the exit code of its kind, and no file that is half there.

The disk is a small tmpfs: as root, which may write to any folder, there is no other that cannot be written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.bundle import ALLOCATOR
from pipelines.warm import WarmPython

PROJECT = Path(__file__).resolve().parent.parent
sys.path.append(str(PROJECT / "benchmarks"))
from _left_behind import unreadable  # noqa: E402 - from where the benchmarks are

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
BUNDLE = PROJECT / "bundles" / "covid_ct_lesion_segmentation"
NETWORK = "tiny_unet"
SIZE = 16 << 20  # bytes of the disk
SOON = {"train": 48 << 10}  # bytes that are free where it is full soon; of other commands
SOON_ELSE = 8 << 10
STATES = ("full", "full soon", "read-only")


@dataclass(frozen=True)
class Made:
    """Phantoms, a training of them that was evaluated, and a store, in a folder."""

    folder: Path
    env: dict[str, str]
    python: str

    def words(self, command: str, run_name: str = "made") -> list[str]:
        raw, data, ckpt, out = (self.folder / name for name in ("raw", "data", "ckpt", "out"))
        ours = ["-m", "pipelines"]
        knobs = {"dataset_dir": data, "ckpt_dir": ckpt, "epochs": 1, "slice_size": "[64,64]", "workers": 0}
        given = [word for name, value in {**knobs, "run_name": run_name}.items() for word in (f"--{name}", str(value))]

        def bundle(*configs: str) -> list[str]:
            files = [str(BUNDLE / "configs" / f"{name}.yaml") for name in configs]
            return ["-m", "monai.bundle", "run", "--config_file", str(files), "--bundle_root", str(BUNDLE), *given]

        return {
            "prepare": [*ours, "data", "prepare", "covid_ct", "--raw", str(raw), "--out", str(out / "data")],
            "train": bundle("train", f"networks/{NETWORK}"),
            "evaluate": [*bundle("train", f"networks/{NETWORK}", "evaluate"), "--flips", "False", "--scales", "[1.0]"],
            "predict": [
                *ours, "predict", str(BUNDLE), str(raw / "few"), "--out", str(out), "--network", NETWORK, "--fast",
            ],
            "export": [*ours, "export", str(BUNDLE), "--network", NETWORK, "--to", "torchscript", "--out", str(out)],
            "promote": [*ours, "promote", "made"],
            "package": [*ours, "package", str(BUNDLE), "--network", NETWORK, "--out", str(out / "package.zip")],
        }[command]  # fmt: skip

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.python, *words], cwd=self.folder, env=self.env, text=True, capture_output=True)


class Disk:
    """A small disk, mounted over a folder, with what lay there."""

    def __init__(self, place: Path, aside: Path) -> None:
        self.place = place
        shutil.copytree(place, aside)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(place)], check=True)
        shutil.copytree(aside, place, dirs_exist_ok=True)

    def become(self, state: str, command: str) -> None:
        if state == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(self.place)], check=True)
            return
        free = os.statvfs(self.place)
        room = free.f_bavail * free.f_frsize - (SOON.get(command, SOON_ELSE) if state == "full soon" else 0)
        (self.place / "filler").write_bytes(bytes(room))

    def files(self) -> set[Path]:
        return {path for path in self.place.rglob("*") if path.is_file() and path.name != "filler"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm: WarmPython, new_store: Callable[[Path], str]) -> Made:
    folder = tmp_path_factory.mktemp("made")
    (folder / "store").mkdir()
    env = {**os.environ, **ALLOCATOR, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    env["MLFLOW_TRACKING_URI"] = new_store(folder / "store")
    made = Made(folder, env, warm.python)
    raw = str(folder / "raw")
    phantom = ["-m", "pipelines", "data", "phantom", "covid_ct", "--raw", "--out", raw]
    prepare = ["-m", "pipelines", "data", "prepare", "covid_ct", "--raw", raw, "--out", str(folder / "data")]
    for words in ([*phantom, "--cases", "8", "--size", "64", "--slices", "8"], prepare):
        done = made.run(words)
        assert done.returncode == 0, done.stderr
    (folder / "raw" / "few").mkdir()
    for volume in sorted((folder / "raw").rglob("ct_scans/*.nii.gz"))[:4]:
        shutil.copy(volume, folder / "raw" / "few")
    for command in ("train", "evaluate"):
        done = made.run(made.words(command))
        assert done.returncode == 0, done.stderr
    (folder / "out").mkdir()
    return made


@pytest.fixture
def disk(made: Made, tmp_path: Path) -> Iterator[Callable[[str], Disk]]:
    mounted: list[Path] = []

    def mount(name: str) -> Disk:
        disk = Disk(made.folder / name, tmp_path / name)
        mounted.append(disk.place)
        return disk

    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("a small disk is mounted by root alone")
    probe = tmp_path / "probe"
    probe.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(probe)], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a disk")
    subprocess.run(["umount", str(probe)], check=True)
    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("command", ["prepare", "train", "evaluate", "predict", "export", "promote", "package"])
def test_a_disk_that_cannot_be_written_is_said_in_a_sentence_and_nothing_is_half_written(
    command: str, state: str, made: Made, disk: Callable[[str], Disk]
) -> None:
    place = disk({"train": "ckpt", "evaluate": "ckpt", "promote": "store"}.get(command, "out"))
    before = place.files()
    place.become(state, command)
    done = made.run(made.words(command, "made" if command == "promote" else "again"))
    said = done.stderr.strip().splitlines()
    bundle = command in ("train", "evaluate")  # MONAI prints its trace: the sentence is the last line, the code is 1
    registry = command == "promote" and state != "read-only"  # where the lock beside the store says it first
    assert done.returncode == (1 if bundle else 20 if registry else 19), done.stderr[-2000:]
    assert said[-1].startswith("error: "), done.stderr[-2000:]
    assert str(place.place) in said[-1]
    assert "No space left" in said[-1] or "Read-only" in said[-1] or "disk is full" in said[-1], said[-1]
    assert bundle or "Traceback" not in done.stderr + done.stdout
    after = place.files()
    assert not [path for path in after if unreadable(path)]
    new = [path for path in after - before if path.name != "manifest.jsonl"]  # of predict: without a line yet
    assert not [path for path in new if path.name.startswith(".") or path.stat().st_size == 0]
    if command in ("prepare", "export", "package"):
        assert after == before
