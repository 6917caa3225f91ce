"""``pipelines ui --tensorboard``: which folders it shows under which names, and what it says where it cannot."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

import pipelines.tracking.tensorboard_page as page
from pipelines import browser
from pipelines.__main__ import main

SERVER = (
    "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])),"
    " http.server.BaseHTTPRequestHandler).serve_forever()"
)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def store(tmp_path: Path, new_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch) -> str:
    uri = new_store(tmp_path / "mlruns")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundles, none of them real."""
    (tmp_path / "bundles" / "moles" / "configs").mkdir(parents=True)
    (tmp_path / "bundles" / "moles" / "configs" / "metadata.json").write_text("{}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return tmp_path / "bundles"


def events(folder: Path) -> Path:
    (folder / "iterations").mkdir(parents=True)
    for place in (folder, folder / "iterations"):
        (place / "events.out.tfevents.1.here.1.0").write_bytes(b"")
    return folder


def run_with(store: str, experiment: str, folder: Path) -> None:
    client = MlflowClient(tracking_uri=store)
    found = client.get_experiment_by_name(experiment)
    id = found.experiment_id if found is not None else client.create_experiment(experiment)
    client.create_run(id, tags={"tensorboard": str(folder)})


def links(folder: Path) -> dict[str, Path]:
    return {str(each.relative_to(folder)): each.resolve() for each in folder.rglob("*") if each.is_symlink()}


def test_runs_are_called_after_their_experiment_and_shown_once(tmp_path: Path, store: str, project: Path) -> None:
    one, other = events(tmp_path / "a" / "net-1"), events(tmp_path / "b" / "net-1")
    local = events(project / "moles" / "models" / "net" / "tensorboard" / "net-2")
    for folder in (one, one, other, tmp_path / "another machine's", local):  # a resumed one has two runs
        run_with(store, "moles", folder)
    shown = page.EventLinks(tmp_path / "links", uri=store, bundles=project)
    assert shown.refresh() == 3
    found = links(tmp_path / "links")
    assert found.keys() == {"moles/net-1", "moles/net-1-2", "moles/net-2"}
    assert {found["moles/net-1"], found["moles/net-1-2"]} == {one, other}
    later = events(tmp_path / "c" / "net-3")
    run_with(store, "lungs", later)
    assert shown.refresh() == 4
    assert links(tmp_path / "links")["lungs/net-3"] == later


def test_a_store_that_cannot_be_asked_leaves_the_folders(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    local = events(project / "moles" / "models" / "net" / "tensorboard" / "net-2")
    (tmp_path / "broken.db").write_text("no database")
    shown = page.EventLinks(tmp_path / "links", uri=f"sqlite:///{tmp_path / 'broken.db'}", bundles=project)
    assert shown.refresh() == 1
    assert links(tmp_path / "links") == {"moles/net-2": local}
    assert "cannot be asked for runs" in caplog.text
    nowhere = page.EventLinks(tmp_path / "links2", uri=f"sqlite:///{tmp_path / 'none.db'}", bundles=project)
    assert nowhere.refresh() == 1
    assert not (tmp_path / "none.db").exists()


def test_it_opens_the_page_and_leaves_nothing(
    tmp_path: Path,
    port: int,
    store: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_with(store, "moles", events(tmp_path / "net-1"))
    asked: list[Path] = []

    def command(folder: Path, *, host: str, port: int) -> list[str]:
        assert host == "127.0.0.1"
        assert links(folder) == {"moles/net-1": tmp_path / "net-1"}
        asked.append(folder)
        return [sys.executable, "-c", SERVER, str(port)]

    monkeypatch.setattr(page, "page_command", command)
    monkeypatch.setenv("BROWSER", "some-browser")
    opened: list[str] = []

    def terminated(url: str) -> None:
        opened.append(url)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(webbrowser, "open", terminated)
    before = psutil.Process().children()
    with pytest.raises(SystemExit):
        main(["ui", "--tensorboard", "--port", str(port), "--bundles", str(project)])
    assert opened == [f"http://127.0.0.1:{port}/"]
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}/\n"
    assert not asked[0].exists()
    assert psutil.Process().children() == before


def test_the_two_pages_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch, store: str, project: Path) -> None:
    asked: list[int] = []
    monkeypatch.setattr(browser, "bound", lambda port: asked.append(port) or (_ for _ in ()).throw(KeyboardInterrupt))
    for words in (["ui"], ["ui", "--tensorboard"], ["ui", "--tensorboard", "--port", "7"]):
        assert main([*words, "--bundles", str(project)]) == 130
    assert asked == [5000, 6006, 7]


def test_what_is_wrong_is_said(
    tmp_path: Path, project: Path, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ui", "--bundles", str(project), "--tensorboard"]
    assert main([*words, str(tmp_path)]) == 2
    assert "no events for TensorBoard here" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(words) == 18
    assert "imaging-bundles[tensorboard]" in capsys.readouterr().err


def test_a_folder_alone(tmp_path: Path, project: Path) -> None:
    one, other = events(tmp_path / "runs" / "a" / "net-1"), events(tmp_path / "runs" / "net-2")
    shown = page.EventLinks(tmp_path / "links", only=page.checked_folder(tmp_path / "runs"))
    assert shown.refresh() == 2
    assert links(tmp_path / "links") == {"a/net-1": one, "net-2": other}
    single = page.EventLinks(tmp_path / "single", only=one)
    assert single.refresh() == 1
    assert links(tmp_path / "single") == {"net-1": one}
