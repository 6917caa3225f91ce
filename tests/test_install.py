"""What ``make`` says when the environment cannot be made: with programs in the place of Python, pip and df."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
OFFLINE = "WARNING: Retrying after NewConnectionError('Failed to establish a new connection')"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def make(project: Path, folder: Path, python: Path) -> subprocess.CompletedProcess[str]:
    """``make`` of the environment ``folder/venv``."""
    goal = folder / "venv" / ".installed"
    words = ["make", f"PYTHON={python}", f"VENV={folder / 'venv'}", str(goal)]
    ours = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    environment = {**ours, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}  # not those of `make test`
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert goal.exists() == (done.returncode == 0)
    return done


@pytest.mark.parametrize(
    ("python", "what", "how"),
    [
        (None, "there is no ", "make PYTHON=python3.11"),
        ('case "$*" in *version_info*) exit 1;; --version) echo Python 3.8.10;; esac', "Python 3.8.10", "Python 3.11"),
        ('case "$*" in *ensurepip*) exit 1;; esac', "cannot make environments", "sudo apt install python3-venv"),
        ('case "$*" in *-m\\ venv*) exit 1;; esac', "cannot be made", "make VENV="),
    ],
    ids=["missing", "old", "no venv", "venv fails"],
)
def test_a_python_that_will_not_do(project, tmp_path, python, what, how) -> None:
    path = tmp_path / "python"
    if python is not None:
        program(path, python)
    done = make(project, tmp_path, path)
    first, second = done.stderr.splitlines()[:2]
    assert first.startswith("error: ")
    assert what in first
    assert how in second


def test_a_disk_with_little_room_is_told_before_anything_is_fetched(project, tmp_path) -> None:
    program(tmp_path / "bin" / "df", "echo head; echo /dev/disk 9 9 1900000 9% /")
    done = make(project, tmp_path, program(tmp_path / "python", "exit 0"))
    assert done.stderr.startswith(f"error: 1 GB are free at {tmp_path}, and 3 are needed\n")
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("said", "what", "how"),
    [
        (FULL, "the disk is full", "free some space"),
        (OFFLINE, "the package index cannot be reached", "HTTPS_PROXY"),
        ("ERROR: No matching distribution found for torch", "pip could not install .", "install.log"),
    ],
)
def test_a_pip_that_fails(project, tmp_path, said, what, how) -> None:
    program(tmp_path / "venv" / "bin" / "python", f'echo "{said}"; exit 1')
    done = make(project, tmp_path, program(tmp_path / "python", "exit 0"))
    *_, error, mend, end = done.stderr.splitlines()
    assert error == f"error: {what}"
    assert how in mend
    assert end.startswith("make: ***")
    assert (said in done.stderr) == said.startswith("ERROR")
    assert said in (tmp_path / "venv" / "install.log").read_text()


def test_an_install_that_succeeds_is_marked(project, tmp_path) -> None:
    program(tmp_path / "venv" / "bin" / "python", 'echo "$*"')
    done = make(project, tmp_path, program(tmp_path / "python", "exit 0"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "venv" / "install.log").read_text() == (
        "-m pip install --constraint constraints.txt --editable .\n"
    )
