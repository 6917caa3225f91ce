from __future__ import annotations

import argparse
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands.data import add_parser
from pipelines.errors import UnreadableFileError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.tasks.chest_xray import prepare as chest_xray
from pipelines.tasks.dermoscopy import phantoms as skin_phantoms
from pipelines.tasks.dermoscopy import prepare as skin_lesions
from pipelines.tasks.general import classes as general_classes
from pipelines.tasks.general import pairs as general_pairs
from pipelines.tasks.lung_ct import dicom_layout
from pipelines.tasks.lung_ct import prepare as covid_ct
from pipelines.tasks.registry import DATASETS

PROJECT = Path(__file__).resolve().parents[2]


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


def test_general_phantoms_and_prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--cases", 12, "--size", 32, "--seed", 1, "--raw")
    assert run("data", "phantom", "pairs", "--dims", 3, "--out", tmp_path / "volumes", *small) == 0
    prepare = ("data", "prepare", "pairs", "--raw", tmp_path / "volumes", "--out", tmp_path / "out", "--folds", 3)
    assert run(*prepare, "--labels", "background", "kidney", "cyst") == 0
    names = {0: "background", 1: "kidney", 2: "cyst"}
    assert load_datalist(tmp_path / "out", "datalist_fold2.json", labels=names)["name"] == "out_phantom"
    assert run("data", "phantom", "classes", "--classes", 3, "--out", tmp_path / "shapes", *small) == 0
    prepare = ("data", "prepare", "classes", "--raw", tmp_path / "shapes", "--out", tmp_path / "classes")
    assert run(*prepare, "--classes", "ring", "disc", "bar") == 0
    assert "6 training, 3 validation, 3 test cases" in capsys.readouterr().out
    assert load_datalist(tmp_path / "classes")["classes"] == {"0": "ring", "1": "disc", "2": "bar"}


@pytest.mark.parametrize("more", [("--format", "dicom"), ("--format", "both"), ("--slices", 8)])
def test_options_of_ct_are_refused_for_pictures(tmp_path: Path, more: tuple[object, ...]) -> None:
    for name in ("isic2016", "chest_xray"):
        with pytest.raises(UsageError, match=f"{name}: there is no {more[0]} for this dataset"):
            run("data", "phantom", name, "--out", tmp_path / "out", *more)
    for name in ("ph2", "chest_xray"):
        with pytest.raises(UsageError, match=f"{name}: there is no --mask-values for this dataset"):
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


def test_the_registry_says_what_the_tasks_know() -> None:
    names = (covid_ct.NAME, *skin_lesions.NAMES, chest_xray.NAME, general_pairs.NAME, general_classes.NAME)
    assert sorted(DATASETS) == sorted(names)
    assert {name for name, each in DATASETS.items() if each.phantom} == {
        covid_ct.NAME, skin_phantoms.NAME, chest_xray.NAME, general_pairs.NAME, general_classes.NAME,
    }  # fmt: skip
    ct = DATASETS[covid_ct.NAME]
    assert tuple(covid_ct.PHANTOM_FORMATS) == ct.phantom_options["--format"].choices
    assert tuple(dicom_layout.MASK_VALUES) == ct.prepare_options["--mask-values"].choices
    for name, each in DATASETS.items():
        assert (PROJECT / "data" / f"{name}.yaml").is_file()
        known = {option.argument for option in each.prepare_options.values()}
        assert known <= set(inspect.signature(each.preparer()).parameters)
        if each.phantom:
            known = {option.argument for option in each.phantom_options.values()}
            assert known <= set(inspect.signature(each.phantoms()).parameters)


@pytest.mark.parametrize(
    "words",
    [
        ["data", "--help"],
        ["list"],
        ["data", "phantom", "isic2016", "--cases", "4"],
        ["data", "phantom", "pairs", "--cases", "3"],
        ["data", "phantom", "classes", "--cases", "6"],
    ],
)
def test_what_prepares_and_lists_starts_without_torch(tmp_path: Path, words: list[str]) -> None:
    code = (
        "import sys; from pipelines.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'monai', 'mlflow'} & set(sys.modules)))"
    )
    words = [*words, "--size", "64", "--out", str(tmp_path / "out")] if "phantom" in words else words
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
