"""`python -m pipelines audit-synthetic` on phantoms and real pictures: trained once, measured on real ones, resumed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from made_audits import BUNDLES, GENERATORS

from pipelines.__main__ import main
from pipelines.comparison.runs import Store
from pipelines.readers import is_synthetic
from pipelines.synthetic_audit.trainings import MARK

ARMS = {"none", "classical", "generated 100 %"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> Path:
    folder = tmp_path_factory.mktemp("place")
    assert main(["data", "phantom", "chest_xray", "--cases", "30", "--out", str(folder / "data")]) == 0
    new_store(folder)
    return folder


def command(place: Path, *words: str, data: Path | None = None, epochs: int = 1) -> list[str]:
    line = ["audit-synthetic", "chest_xray_pneumonia_classification", "--bundles", str(BUNDLES)]
    line += ["--data", str(data or place / "data"), "--generators", *map(str, GENERATORS), "--networks", "chest_cnn"]
    line += ["--encoder", "chest_cnn=False", "--seeds", "0", "1", "--shares", "1", "--epochs", str(epochs)]
    return [*line, "--out", str(place / "out"), "--tracking_uri", f"sqlite:///{place / 'mlflow.db'}", *words]


def marked(place: Path) -> dict[str, str]:
    """Digest of each training's settings: its run."""
    with Store(f"sqlite:///{place / 'mlflow.db'}") as store:
        return {run.tags[MARK]: run.run_id for run in store.runs() if MARK in run.tags}


@pytest.mark.slow
@pytest.mark.thorough
def test_an_audit_of_phantoms(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = ["--batch_size", "8"]
    assert main(command(place, *small)) == 0
    out = capfd.readouterr().out
    assert "6 of 6: chest_cnn, generated 100 %, seed 1: measuring" in out
    assert "generated pictures could not be judged for chest_cnn" in out
    summary = json.loads((place / "out" / "summary.json").read_text())
    assert {each["arm"] for each in summary["arms"]} == ARMS
    assert summary["phantom"] is True
    assert summary["answer"] in out
    runs = marked(place)
    assert len(runs) == 6
    assert set(summary["runs"].values()) == set(runs.values())

    with Store(f"sqlite:///{place / 'mlflow.db'}") as store:
        every = {run.run_id: run for run in store.runs()}
        parent = every[json.loads((place / "out" / "run.json").read_text())["run_id"]]
        assert parent.status == "FINISHED"
        assert parent.children == 6
        test = {item["case"] for item in json.loads((place / "data" / "datalist.json").read_text())["test"]}
        for run_id in runs.values():
            assert every[run_id].status == "FINISHED"
            assert "test_accuracy" in every[run_id].metrics
            assert Path(every[run_id].tags["best_checkpoint"]).is_file(), "the weights that were measured are kept"
            path = store.file(every[run_id], "evaluation/pictures.csv")
            assert path is not None
            with path.open(newline="") as file:
                assert {row["case"] for row in csv.DictReader(file)} == test, "no generated picture is measured"
        shares = {every[run_id].params["synthetic_share"] for run_id in runs.values()}
        assert shares == {"0.0", "1.0"}
    generated = [
        json.loads(line)["file"] for line in (place / "out/generated/synthetic.jsonl").read_text().splitlines()
    ]
    assert all(is_synthetic(place / "out" / "generated" / file) for file in generated)

    assert main(command(place, *small)) == 0
    out = capfd.readouterr().out
    assert "6 of 6 trainings are in the store, and are not done again" in out
    assert "training on" not in out
    assert marked(place) == runs


@pytest.mark.thorough
@pytest.mark.slow
def test_an_audit_that_was_killed_goes_on(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = command(place, "--batch_size", "4", "--out", str(out), epochs=12)
    environment = os.environ | {"PYTHONPATH": str(BUNDLES.parent)}
    process = subprocess.Popen([sys.executable, "-m", "pipelines", *line], env=environment)
    until = time.monotonic() + 300
    while time.monotonic() < until and not list(out.glob("trainings/*classical*/last.pt")):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = [folder for folder in out.glob("trainings/*") if (folder / "last.pt").is_file()]
    assert [folder.name.split("-seed")[0] for folder in begun] == ["chest_cnn-classical"]
    until = time.monotonic() + 60
    with Store(f"sqlite:///{place / 'mlflow.db'}") as store:  # the training ends with the command
        while time.monotonic() < until and any(r.status == "RUNNING" and not r.vanished for r in store.runs()):
            time.sleep(0.2)
    capfd.readouterr()
    assert main(line) == 0
    said = capfd.readouterr().out
    assert "1 of 6 trainings are in the store" in said
    assert (
        "2 of 6: chest_cnn, classical, seed 0: training on 18 pictures, 12 epochs (going on from its checkpoint)"
        in said
    )
    assert "resumed after epoch" in (begun[0] / "train.log").read_text()


@pytest.mark.thorough
@pytest.mark.slow
def test_an_epoch_on_real_pictures(
    tmp_path: Path, shared_data: Path, new_store: Callable[[Path], str], capfd: pytest.CaptureFixture[str]
) -> None:
    source = shared_data / "chest_xray" / "train"
    if not source.is_dir():
        pytest.skip(f"the real chest X-rays are not here ({source})")
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (tmp_path / "raw" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[::14]:
            shutil.copy(path, tmp_path / "raw" / folder.name)
    new_store(tmp_path)
    raw = ["--raw", str(tmp_path / "raw"), "--test", "0.3", "--skip-bad"]
    assert main(["data", "prepare", "chest_xray", *raw, "--out", str(tmp_path / "real")]) == 0
    words = ["--training-patients", "60", "--test-patients", "40", "--batch_size", "16"]
    assert main(command(tmp_path, *words, data=tmp_path / "real", epochs=2)) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["answer"].startswith(
        "In balanced accuracy on real test pictures, against no augmentation, generated"
    )
    assert summary["phantom"] is False
    assert all(each["fault"] for each in summary["faults"])
    for each in summary["closeness"]["classes"].values():
        assert each["pictures"] >= 16
        assert each["fid"] > each["fid_real_against_real"] > 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--encoder", "chest_cnn="], 2, "--encoder names no weights"),
        (["--epochs", "0"], 2, "--epochs must be 1 or more, got 0"),
        (["--test-patients", "0"], 2, "--test-patients must be 1 or more, got 0"),
        (["--networks", "lenet"], 2, "there is no network 'lenet'"),
        (["--seeds", "1"], 2, "the seeds are 1; give two or more"),
        (["--generators", "/nowhere.safetensors"], 10, "there are no weights here"),
        (["--data", "/nowhere"], 16, "there is no such datalist"),
    ],
)
def test_faults_are_one_line(
    place: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture
) -> None:
    line = [word for word in command(place) if word not in ("--encoder", "chest_cnn=False")]
    assert main([*line, *words]) == code
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_bundle_that_generates_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["audit-synthetic", "chest_xray_gan", *command(place)[2:]]
    assert main(line) == 2
    assert "generates pictures and judges none" in capsys.readouterr().err
