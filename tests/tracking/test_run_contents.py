from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipelines.tracking.run_contents import commit, config_files_of


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--config_file", "['{0}/a.yaml', '{0}/b.yaml']", "--epochs", "3"],
        ["run", "--config_file={0}/a.yaml,{0}/b.yaml"],
        ["run", "--config-file", '["{0}/a.yaml","{0}/b.yaml","{0}/missing.yaml"]'],
    ],
)
def test_the_config_files_are_read_off_the_command(words: list[str], tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("")
    found = config_files_of([word.format(tmp_path) for word in words])
    assert found == [tmp_path / "a.yaml", tmp_path / "b.yaml"]


def test_no_config_file_in_another_command() -> None:
    assert config_files_of(["-q", "tests"]) == []


def test_the_commit_is_that_of_the_checkout() -> None:
    package = Path(__file__).parents[2]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=package, capture_output=True, text=True, check=False)
    if head.returncode:
        pytest.skip("this copy of the project is no git checkout")
    assert commit().get("git_commit") == head.stdout.strip()
