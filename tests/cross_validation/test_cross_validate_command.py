"""`python -m pipelines cross-validate` on phantoms, a fold killed; `compare` and `card` of what it leaves."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from made_folds import BUNDLE, write_prepared
from safetensors.torch import load_file

from pipelines.__main__ import main
from pipelines.preparation.datalist import load_datalist

SMALL = ["--slice_size", "[32,32]", "--scales", "[1.0]", "--flips", "False"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> Path:
    """A bundle of one's own, phantoms that pass for patients in two folds, further phantoms, and a store."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(BUNDLE, folder / "bundles" / BUNDLE.name, ignore=shutil.ignore_patterns("*.pt"))
    drawn = ["--size", "48", "--slices", "8"]
    assert (
        main(["data", "phantom", "covid_ct", "--cases", "6", *drawn, "--folds", "2", "--out", str(folder / "d")]) == 0
    )
    assert main(["data", "phantom", "covid_ct", "--cases", "4", *drawn, "--seed", "9", "--out", str(folder / "e")]) == 0
    for path in (folder / "d").glob("datalist*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"phantom": False, "name": "covid_ct"}))
    new_store(folder)
    return folder


def command(place: Path, *words: str, epochs: int = 12) -> list[str]:
    bundles, store = str(place / "bundles"), f"sqlite:///{place / 'mlflow.db'}"
    line = ["cross-validate", BUNDLE.name, "--bundles", bundles, "--data", str(place / "d"), "--network", "tiny_unet"]
    line += ["--extra-training", str(place / "e"), "--out", str(place / "cv"), "--tracking_uri", store]
    return [*line, "--epochs", str(epochs), *SMALL, *words]


def kill_the_training_of(folder: Path, killed: list[int]) -> None:
    """Once it has written its first checkpoint."""
    until = time.monotonic() + 900  # another fold is trained before
    while not (folder / "last.pt").is_file() and time.monotonic() < until:
        time.sleep(0.02)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue
        if "monai.bundle" in words and str(folder) in words:
            os.kill(int(path.parent.name), signal.SIGKILL)
            killed.append(int(path.parent.name))


@pytest.mark.thorough
@pytest.mark.slow
def test_two_folds_one_of_which_is_killed(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folds = place / "cv" / "tiny_unet"
    killed: list[int] = []
    thread = threading.Thread(target=kill_the_training_of, args=(folds / "fold1", killed))
    thread.start()
    assert main(command(place)) == 2
    thread.join()
    assert killed
    out, err = capfd.readouterr()
    assert "fold 0: done, lesion_dice " in out
    assert "fold 1: it ended with -9" in err

    assert main(command(place)) == 0
    out, _ = capfd.readouterr()
    assert "fold 0: measured by an earlier call, kept" in out
    own = json.loads((place / "d" / "datalist_fold1.json").read_text())
    among = f"{len(own['validation'])} of them the fold's validation part"
    assert f"fold 1: training on 5 cases, {among} (going on from its checkpoint)" in out
    assert "resumed after epoch" in (folds / "fold1" / "train.log").read_text()
    assert "| metric | all cases | 95 % interval | number | fold 0 | fold 1 |" in out

    with (folds / "evaluation" / "cases.csv").open() as file:
        measured = [row["case"] for row in csv.DictReader(file)]
    assert sorted(measured) == [f"phantom_00{k}" for k in range(6)], "each case once"
    assert (folds / "evaluation" / "masks" / "phantom_000.nii.gz").is_file()
    for fold in range(2):
        content = load_datalist(folds / f"fold{fold}" / "data")
        cases = {name: [item["case"] for item in content[name]] for name in ("training", "validation", "test")}
        own = json.loads((place / "d" / f"datalist_fold{fold}.json").read_text())
        assert cases["test"] == [item["case"] for item in own["test"]]
        sides = [{item["patient"] for item in content[name]} for name in ("training", "test")]
        assert not sides[0] & sides[1]
        assert sum(case.startswith("extra0_") for case in cases["training"]) == 2
        assert not any(case.startswith("extra0_") for case in cases["test"]), "extra phantoms are never measured"

    line = ["--tracking_uri", f"sqlite:///{place / 'mlflow.db'}", "--bundles", str(place / "bundles")]
    assert main(["compare", "--out", str(place / "cmp"), "--no_timing", "--no_pictures", *line]) == 0
    run = json.loads((folds / "run.json").read_text())["run_id"]
    with (place / "cmp" / "comparison.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if run in row["run_ids"]]
    assert [row["network"] for row in rows] == ["tiny_unet"], "the folds together are a row"
    capfd.readouterr()
    assert main(["card", "tiny_unet-cross-validation", *line]) == 0
    record = json.loads((place / "bundles" / BUNDLE.name / "docs" / "model_card.json").read_text())
    assert record["evaluated"]["cases"] == 6
    assert record["knobs"]["epochs"] == "12"
    assert record["metrics"]["test_lesion_extent_label"]["n"] == 6


@pytest.mark.slow
def test_weights_to_ship_are_of_all_cases(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(command(place, "--ship", "--half", "--out", str(place / "shipped"), epochs=1)) == 0
    assert "tiny_unet.safetensors: 0.0" in capfd.readouterr().out
    weights = load_file(place / "bundles" / BUNDLE.name / "models" / "tiny_unet.safetensors")
    kinds = {(value.ndim > 1, value.dtype) for value in weights.values() if value.is_floating_point()}
    assert kinds == {(True, torch.float16), (False, torch.float32)}
    content = load_datalist(place / "shipped" / "tiny_unet" / "ship" / "data")
    trained = {item["case"] for item in content["training"]}
    assert {f"phantom_00{k}" for k in range(6)} < trained
    assert {item["case"][:7] for item in content["validation"] + content["test"]} == {"extra0_"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 2, "not a bundle with configs/train.yaml"),
        ([BUNDLE.name], 16, "there are no folds here; prepare the data with them: python -m pipelines data prepare"),
        ([BUNDLE.name, "--half"], 2, "--half is of the weights that --ship writes; give both"),
        ([BUNDLE.name, "--ship", "--folds", "0"], 2, "leave --folds out"),
        ([BUNDLE.name, "--epoch", "3"], 2, "'epoch' is no knob of the training"),
    ],
)
def test_faults_are_one_line(
    words: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = write_prepared(tmp_path / "plain", folds=0)
    bundles = ["--bundles", str(BUNDLE.parent)]
    line = ["cross-validate", words[0], "--data", str(plain), "--out", str(tmp_path / "cv"), *bundles, *words[1:]]
    assert main(line) == code
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
