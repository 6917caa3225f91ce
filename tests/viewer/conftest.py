"""A folder as ``predict`` leaves it, and a client that has the token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from written_folders import HOST, TOKEN, refused_case, write_ct_case, write_manifest, write_skin_case

from pipelines.viewer import make_app, read_folder


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """A volume (in a folder below), a picture and a refused case."""
    folder, images = tmp_path / "out", tmp_path / "images"
    entries = [
        write_ct_case(folder, images, "ward/scan"),
        write_skin_case(folder, images, "mole"),
        refused_case(images),
    ]
    write_manifest(folder, entries)
    return folder


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Makes a client of the app over folders; its paths begin behind the token."""
    clients = []

    def make(*folders: Path) -> TestClient:
        cache = tmp_path / f"cache{len(clients)}"
        cache.mkdir()
        app = make_app([read_folder(folder) for folder in folders], TOKEN, [HOST], cache)
        clients.append(TestClient(app, base_url=f"http://{HOST}/{TOKEN}/"))
        return clients[-1]

    yield make
    for each in clients:
        each.close()
