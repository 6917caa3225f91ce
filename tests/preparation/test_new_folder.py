from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from pipelines.errors import OutputError
from pipelines.preparation.new_folder import new_folder


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def never(_: Path) -> bool:
    return False


def always(_: Path) -> bool:
    return True


def test_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "out", never) as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "x").read_text() == "1"
    assert names(tmp_path / "a") == ["out"]


def test_a_fault_leaves_nothing_and_keeps_what_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("1")
    with pytest.raises(FileNotFoundError), new_folder(out, always, force=True) as folder:
        shutil.copy(tmp_path / "absent", folder / "new")
    assert names(tmp_path) == ["out"]
    assert names(out) == ["old"]


def test_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), new_folder(tmp_path / "out", never):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_replaces_only_its_own_and_only_when_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("1")
    with pytest.raises(OutputError, match="--force"), new_folder(out, always):
        pass
    with pytest.raises(OutputError, match="was not written by this command"), new_folder(out, never, force=True):
        pass
    assert names(out) == ["old"]
    with new_folder(out, always, force=True) as folder:
        (folder / "new").write_text("2")
    assert names(out) == ["new"]
    assert names(tmp_path) == ["out"]


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="no folder"), new_folder(tmp_path / "out", always, force=True):
        pass
    assert (tmp_path / "out").read_text() == "mine"


def test_second_run_that_was_slower_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_text("2")
    with pytest.raises(OutputError, match="exists"), new_folder(tmp_path / "out", never):
        other.rename(tmp_path / "out")
    assert names(tmp_path / "out") == ["x"]


def test_a_second_run_is_refused_before_it_does_its_work(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", never) as folder:
        (folder / "x").write_text("1")
        with pytest.raises(OutputError, match="another call is writing here"), new_folder(tmp_path / "out", never):
            raise AssertionError("two write at once")
    assert names(tmp_path / "out") == ["x"]
    assert names(tmp_path) == ["out"]


def test_killed_run_leaves_no_output_and_the_next_sweeps(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with new_folder(tmp_path / "out", never) as folder:
            (folder / "x").write_text("1")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert len(names(tmp_path)) == 2, "a folder aside, and the lock, which nobody holds"
    with new_folder(tmp_path / "out", never):
        pass
    assert names(tmp_path) == ["out"]
