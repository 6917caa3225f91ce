from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pipelines import data_command
from pipelines.data_command import add_parser
from pipelines.errors import UnreadableFileError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.tasks.chest_xray import prepare as chest_xray
from pipelines.tasks.dermoscopy import phantoms as skin_phantoms
from pipelines.tasks.dermoscopy import prepare as skin_lesions
from pipelines.tasks.lung_ct import dicom_layout
from pipelines.tasks.lung_ct import prepare as covid_ct

PROJECT = Path(__file__).resolve().parent.parent


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


def test_skin_phantoms_and_prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--cases", 8, "--size", 80, "--seed", 1)
    assert run("data", "phantom", "isic2016", "--out", tmp_path / "raw", *small, "--raw") == 0
    assert (tmp_path / "raw" / "ISBI2016_ISIC_Part1_Test_Data").is_dir()
    for name in ("isic2016", "skin_lesions"):
        prepare = ("data", "prepare", name, "--raw", tmp_path / "raw", "--out", tmp_path / name)
        assert run(*prepare, "--seed", 2, "--folds", 3) == 0
        assert "5 training, 1 validation, 2 test cases" in capsys.readouterr().out
        assert load_datalist(tmp_path / name, "datalist_fold2.json")["name"] == f"{name}_phantom"
    assert run("data", "phantom", "isic2016", "--out", tmp_path / "prepared", *small) == 0
    assert load_datalist(tmp_path / "prepared")["labels"] == {"0": "background", "1": "lesion"}


def test_chest_xray_phantoms_and_prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--cases", 12, "--size", 48, "--seed", 1)
    assert run("data", "phantom", "chest_xray", "--out", tmp_path / "raw", *small, "--raw") == 0
    assert "12 phantoms" in capsys.readouterr().out
    prepare = ("data", "prepare", "chest_xray", "--raw", tmp_path / "raw", "--out", tmp_path / "out")
    assert run(*prepare, "--seed", 2, "--folds", 3, "--validation", 0.4) == 0
    assert " 3 test cases" in capsys.readouterr().out
    content = load_datalist(tmp_path / "out", "datalist_fold2.json", classes={0: "normal", 1: "pneumonia"})
    assert (content["name"], content["split"]["seed"]) == ("chest_xray_phantom", 2)
    assert run("data", "phantom", "chest_xray", "--out", tmp_path / "prepared", *small) == 0
    assert load_datalist(tmp_path / "prepared")["phantom"] is True


@pytest.mark.parametrize("more", [("--format", "dicom"), ("--format", "both"), ("--slices", 8)])
def test_options_of_ct_are_refused_for_pictures(tmp_path: Path, more: tuple[object, ...]) -> None:
    for name in ("isic2016", "chest_xray"):
        with pytest.raises(UsageError, match=f"{name}: {more[0]} is for CT only"):
            run("data", "phantom", name, "--out", tmp_path / "out", *more)
    for name in ("ph2", "chest_xray"):
        with pytest.raises(UsageError, match=f"{name}: --mask-values is for CT only"):
            run("data", "prepare", name, "--raw", tmp_path, "--out", tmp_path / "out", "--mask-values", "lesion")
    assert list(tmp_path.iterdir()) == []


def test_faults_reach_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError):
        run("data", "prepare", "covid_ct", "--raw", tmp_path / "absent", "--out", tmp_path / "out")
    with pytest.raises(UnreadableFileError):
        run("data", "prepare", "ph2", "--raw", tmp_path / "absent", "--out", tmp_path / "out")
    for words in (("prepare", "other", "--raw", tmp_path), ("phantom", "ph2")):
        with pytest.raises(SystemExit):
            run("data", *words, "--out", tmp_path / "out")


def test_the_choices_are_those_of_the_datasets_room() -> None:
    assert (covid_ct.NAME, *skin_lesions.NAMES, chest_xray.NAME) == data_command.DATASETS
    assert data_command.PHANTOMS == (covid_ct.NAME, skin_phantoms.NAME, chest_xray.NAME)
    assert tuple(covid_ct.PHANTOM_FORMATS) == data_command.PHANTOM_FORMATS
    for name in data_command.DATASETS:
        assert (PROJECT / "data" / f"{name}.yaml").is_file()
    assert tuple(dicom_layout.MASK_VALUES) == data_command.MASK_VALUES
