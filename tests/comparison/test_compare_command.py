"""``python -m pipelines compare`` as it is called, and what it says where there is nothing to compare."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from made_runs import Made

from pipelines.__main__ import main
from pipelines.files import held


def call(made: Made, *words: str) -> int:
    return main(["compare", "--no_timing", "--out", str(made.folder / "out"), "--tracking_uri", made.uri, *words])


def test_three_files_are_written_and_named(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.segmentation("one", np.linspace(0.5, 0.9, 12))
    made.run("two", {}, status="FAILED")
    assert call(made) == 0
    said = capsys.readouterr().out.splitlines()
    assert [Path(line).name for line in said[:3]] == ["comparison.md", "comparison.csv", "comparison.html"]
    assert all(Path(line).stat().st_size > 200 for line in said[:3])
    assert said[3] == "2 runs: 1 rows in 1 ranking, 1 in none"


def test_an_experiment_that_is_not_there(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.segmentation("one", [0.5, 0.9], experiment="lesions")
    assert call(made, "--experiment", "lesion") == 2
    assert "there is no experiment 'lesion'; the store has: lesions" in capsys.readouterr().err


def test_only_the_experiments_asked_for(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        made.segmentation("one", [0.5, 0.9], experiment=name)
    assert call(made, "--experiment", "a", "c") == 0
    assert capsys.readouterr().out.splitlines()[3].startswith("2 runs")


def test_a_metric_that_no_run_has(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.segmentation("one", [0.5, 0.9])
    assert call(made, "--metric", "dise") == 2
    assert "test_dise; the store has: lesion_dice, lesion_sensitivity" in capsys.readouterr().err


def test_an_empty_store(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(made) == 20
    assert "there are no runs; train something first" in capsys.readouterr().err
    assert not (made.folder / "out").exists()


def test_no_store_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--tracking_uri", f"sqlite:///{tmp_path}/none/mlflow.db"]) == 20
    assert "there is no tracking store" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.db").write_text("not a database, and long enough to be read as the head of one" * 20)
    assert main(["compare", "--tracking_uri", f"sqlite:///{tmp_path}/text.db"]) == 20
    assert "this is no MLflow store" in capsys.readouterr().err


def test_a_store_of_an_older_version_is_left_as_it_is(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    path = made.folder / "mlruns" / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0a8213491aaa'")
        connection.execute("DROP TABLE inputs")  # MLflow would migrate a store that lacks a table
        connection.commit()
    before = path.read_bytes()
    assert call(made) == 20
    error = capsys.readouterr().err
    assert "of another version of MLflow (schema 0a8213491aaa" in error
    assert "mlflow db upgrade" in error
    assert path.read_bytes() == before


def test_a_server_that_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    out = str(tmp_path / "out")
    assert main(["compare", "--out", out, "--tracking_uri", "http://user:word@127.0.0.1:9"]) == 20
    error = capsys.readouterr().err
    assert "the tracking store cannot be read" in error
    assert "see that the server runs" in error
    assert "word" not in error


def test_a_folder_is_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--tracking_uri", str(tmp_path)]) == 20
    assert "--tracking_uri: MLflow no longer keeps runs in a folder" in capsys.readouterr().err


def test_a_second_page_in_one_folder_is_refused(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    made.segmentation("one", [0.5, 0.9])
    with held(made.folder / "out", ".comparing.lock"):
        assert call(made) == 19
    assert "another call is writing here" in capsys.readouterr().err
