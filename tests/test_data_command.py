from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pipelines import data_command
from pipelines.data_command import add_parser
from pipelines.datasets import covid_ct, dicom_layout, load_datalist
from pipelines.errors import UnreadableFileError


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args([str(word) for word in words])
    return args.func(args)


def test_phantoms_and_prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--cases", 3, "--size", 64, "--slices", 8)
    assert run("data", "phantom", "covid_ct", "--out", tmp_path / "raw", *small, "--raw", "--format", "dicom") == 0
    assert (tmp_path / "raw" / "series" / "phantom_000" / "0001.dcm").is_file()
    prepare = ("data", "prepare", "covid_ct", "--raw", tmp_path / "raw", "--out", tmp_path / "out")
    assert run(*prepare, "--seed", 2, "--folds", 3) == 0
    assert "1 training, 1 validation, 1 test cases" in capsys.readouterr().out
    assert load_datalist(tmp_path / "out", "datalist_fold2.json")["split"]["seed"] == 2
    assert run("data", "phantom", "covid_ct", "--out", tmp_path / "prepared", *small) == 0
    assert load_datalist(tmp_path / "prepared")["phantom"] is True


def test_faults_reach_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError):
        run("data", "prepare", "covid_ct", "--raw", tmp_path / "absent", "--out", tmp_path / "out")
    with pytest.raises(SystemExit):
        run("data", "prepare", "other", "--raw", tmp_path, "--out", tmp_path / "out")


def test_the_choices_are_those_of_the_datasets_room():
    assert data_command.DATASETS == (covid_ct.NAME,)
    assert tuple(covid_ct.PHANTOM_FORMATS) == data_command.PHANTOM_FORMATS
    assert tuple(dicom_layout.MASK_VALUES) == data_command.MASK_VALUES
