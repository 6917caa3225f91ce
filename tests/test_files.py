"""Files are whole or not there, and their names are harmless."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest
import torch

from pipelines.errors import OutputError
from pipelines.files import FolderLock, held, held_beside, make_folder, safe_name, table, text, write_file


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a.txt"
    write_file(path, text("old"), durable=durable)

    def full(file) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"No space left on device.*free some"):
        write_file(path, full, durable=durable, how="free some")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        make_folder(tmp_path / "file" / "below")


def test_a_table_runs_nothing_in_a_spreadsheet() -> None:
    said = table(["=a", "b"], [["-1+1", -1.5], [None, float("nan")], ["a,b", 2]])
    assert said.splitlines() == ["'=a,b", "'-1+1,-1.5", ",", '"a,b",2']


@pytest.mark.parametrize("name", ["=cmd", "../../etc", "<b>", os.fsdecode(b"caf\xe9"), "a b", "", "x" * 300, ".hidden"])
def test_safe_names_are_safe_and_stay_apart(name: str) -> None:
    safe = safe_name(name)
    assert safe.isascii()
    assert 0 < len(safe) <= 100
    assert safe[0] not in ".-=+@"
    assert not set(safe) & set("/\\<>|= ")
    assert safe != safe_name(name + "?")


def test_a_harmless_name_stays() -> None:
    assert safe_name("radiopaedia_10_85902_1") == "radiopaedia_10_85902_1"


def test_a_folder_has_one_writer_and_a_forked_process_does_not_hold_it_on(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, ".lock", option="ckpt_dir")
    with pytest.raises(OutputError, match=r"another call is writing here; .* choose another ckpt_dir"):
        FolderLock(tmp_path, ".lock", option="ckpt_dir")
    (here, there), (wait, go) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # as a worker that outlives the process that began it
        os.close(go)
        os.write(there, b"1")
        os.read(wait, 1)
        os._exit(0)
    try:
        os.read(here, 1)  # until it runs, and has let go
        lock._file.close()  # as the end of a process does: nobody has said that the folder is free
        FolderLock(tmp_path, ".lock").close()
    finally:
        for end in (here, there, wait, go):
            os.close(end)
        os.waitpid(child, 0)
    assert not (tmp_path / ".lock").exists()


def test_what_a_killed_process_left_half_written_is_removed_by_the_next_that_holds_the_folder(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        write_file(tmp_path / "last.pt", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    (tmp_path / f".other.txt.{os.getpid()}.unfinished").touch()  # of a process that lives
    (tmp_path / ".mine.unfinished").touch()
    assert len(list(tmp_path.iterdir())) == 3
    with held(tmp_path, ".lock"):
        pass
    left = sorted(each.name for each in tmp_path.iterdir())
    assert left == [".mine.unfinished", f".other.txt.{os.getpid()}.unfinished"]


def test_a_lock_is_no_way_to_write_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError, match="symbolic link"):
        FolderLock(tmp_path, ".lock")
    assert (tmp_path / "mine").read_text() == "mine"


def test_the_lock_of_what_is_replaced_lies_beside_it_and_the_error_names_what_is_written(tmp_path: Path) -> None:
    out = tmp_path / "sub" / "out"
    with held_beside(out):
        with pytest.raises(OutputError, match="another call is writing here") as error, held_beside(out):
            pass
        with held_beside(tmp_path / "sub" / "another"):
            pass
    assert error.value.where == str(out)
    assert list((tmp_path / "sub").iterdir()) == []


def test_a_full_disk_is_said_where_torch_says_something_else_of_it(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, data) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device") as error:
        write_file(tmp_path / "last.pt", lambda _: torch.save({"a": torch.zeros(9)}, Full()))
    assert isinstance(error.value.__cause__, OSError)
    with pytest.raises(RuntimeError, match="another fault"):
        write_file(tmp_path / "last.pt", lambda _: (_ for _ in ()).throw(RuntimeError("another fault")))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_made_to_be_held_goes_where_nothing_was_written(tmp_path: Path) -> None:
    new, old, filled = tmp_path / "new", tmp_path / "old", tmp_path / "filled"
    old.mkdir()
    for folder in (new, old, filled):
        with held(folder, ".lock"):
            if folder == filled:
                (folder / "a.txt").write_text("a")
    assert not new.exists()
    assert old.is_dir()
    assert [path.name for path in filled.iterdir()] == ["a.txt"]
