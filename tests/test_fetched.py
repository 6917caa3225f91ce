"""Weights from an address: by https and by hash alone, whole or not there, and from the cache afterwards."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from pipelines import fetched
from pipelines.bundle import Project
from pipelines.errors import PipelinesError, UnreadableFileError, WeightsError
from pipelines.handlers import WeightsLoader
from pipelines.loading import chosen
from pipelines.networks import TinyUNet
from pipelines.prediction.opening import open_inference
from pipelines.transforms.temperature import Calibration, read_calibration
from pipelines.weights import load_weights, read_weights, save_weights, state_digest, weights_digest

ZEROS = "0" * 64


class _Files(SimpleHTTPRequestHandler):
    """Files of a folder; ``/away`` leads to another machine, ``/round`` to itself, ``/half`` is cut off, ``/on`` leads
    to the weights."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        to = {"/away.pt": "http://192.0.2.1/w.pt", "/round.pt": "/round.pt", "/on.safetensors": "/w.safetensors?key=1"}
        if self.path in to:
            self.send_response(302)
            self.send_header("Location", to[self.path])
            self.end_headers()
        elif self.path == "/half.pt":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    place = tmp_path / "served"
    place.mkdir()
    save_weights(TinyUNet(), place / "w.safetensors")
    return place


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    fetched._fetched.cache_clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder))) as made:
        made.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def address(server: ThreadingHTTPServer, name: str, sha256: str = "", more: str = "") -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}#sha256={sha256 or ZEROS}{more}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["w.safetensors", "on.safetensors"])
def test_it_is_fetched_once_and_then_from_the_cache(server, folder, tmp_path, name) -> None:
    given = address(server, name, digest(folder / "w.safetensors"))
    network = TinyUNet()
    load_weights(network, given)
    assert weights_digest(given) == state_digest(network.state_dict())
    asked = list(server.asked)
    server.shutdown()
    server.server_close()
    fetched._fetched.cache_clear()  # as in another process
    load_weights(TinyUNet(), given)
    assert server.asked == asked
    assert [path.name for path in kept(tmp_path)] == [name]


def test_what_is_damaged_in_the_cache_is_fetched_again(server, folder, tmp_path, caplog) -> None:
    given = address(server, "w.safetensors", digest(folder / "w.safetensors"))
    fetched.local(given).write_bytes(b"something else")
    fetched._fetched.cache_clear()
    with caplog.at_level(logging.WARNING):
        load_weights(TinyUNet(), given)
    assert "is damaged" in caplog.text


def test_a_calibration_comes_along_by_its_own_hash(server, folder, tmp_path) -> None:
    weights = folder / "w.safetensors"
    calibration = Calibration(1.5, 0.1, 0.1, 0.5, 0.5, 10, 1, weights_digest(weights), ("a", "b"), (0.5,))
    calibration.write(folder / "w.calibration.json")
    own = digest(folder / "w.calibration.json")
    given = address(server, weights.name, digest(weights), f"&calibration={own}")
    found = read_calibration(given)
    assert found is not None
    assert found.temperature == 1.5
    assert read_calibration(address(server, weights.name, digest(weights))) is None
    with pytest.raises(WeightsError, match="has the SHA-256"):
        read_calibration(address(server, weights.name, digest(weights), f"&calibration={ZEROS}"))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("w.safetensors", WeightsError, r"has the SHA-256 [0-9a-f]{64}, not 0{64}; do not use it"),
        ("gone.safetensors", UnreadableFileError, "could not be fetched .404"),
        ("half.pt", UnreadableFileError, "could not be fetched"),
        ("away.pt", WeightsError, "leads on to an address that is not https"),
        ("round.pt", UnreadableFileError, "leads on and on"),
    ],
)
def test_nothing_is_left_of_what_is_refused(server, tmp_path, name, kind, words) -> None:
    for _ in range(2):  # a refusal is not remembered either
        with pytest.raises(kind, match=words):
            read_weights(address(server, name))
    assert kept(tmp_path) == []


def test_it_is_bounded(server, tmp_path, folder, monkeypatch) -> None:
    monkeypatch.setattr(fetched, "MAX_BYTES", 1000)
    with pytest.raises(UnreadableFileError, match="larger than 1000 bytes"):
        read_weights(address(server, "w.safetensors", digest(folder / "w.safetensors")))
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://example.org/w.safetensors", "by their hash alone"),
        ("https://example.org/w.safetensors#sha256=12", "no SHA-256"),
        (f"https://example.org/w.safetensors#sha256={ZEROS}&md5=1", "there is more than"),
        (f"https://example.org/w.safetensors#sha256={ZEROS}&sha256={ZEROS}", "there is more than"),
        (f"http://example.org/w.safetensors#sha256={ZEROS}", "https alone"),
        (f"http://127.0.0.1.example.org/w.safetensors#sha256={ZEROS}", "https alone"),
        (f"ftp://example.org/w.safetensors#sha256={ZEROS}", "https alone"),
        (f"file:///etc/w.safetensors#sha256={ZEROS}", "https alone"),
        (f"https://me:secret@example.org/w.safetensors#sha256={ZEROS}", "name or password"),
        (f"https://example.org/w.zip#sha256={ZEROS}", "ends in .safetensors"),
        (f"https://example.org/#sha256={ZEROS}", "ends in .safetensors"),
        (f"https://[example/w.pt#sha256={ZEROS}", "is none"),
        ("https://example.org/w.pt#somewhere", "is none"),
    ],
)
def test_an_address_that_cannot_be_trusted_is_refused_unasked(given, words, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=words) as caught:
        read_weights(given)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_key_in_the_address_is_not_told(server, tmp_path, caplog) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(PipelinesError) as caught:
        read_weights(address(server, "w.safetensors?key=secret"))
    assert server.asked == ["/w.safetensors?key=secret"]
    assert "secret" not in str(caught.value) + "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("pipelines")
    )


def test_a_bundle_is_opened_with_it(server, folder, project) -> None:
    """As by ``python -m monai.bundle run configs/inference.yaml --checkpoint ADDRESS``, and by ``predict``."""
    given = address(server, "w.safetensors", digest(folder / "w.safetensors"))
    bundle = project / "bundles" / "covid_ct_lesion_segmentation"
    workflow = open_inference(bundle, "tiny_unet", checkpoint=given, device=torch.device("cpu"))
    network = next(each.network for each in workflow.handlers if isinstance(each, WeightsLoader))
    assert state_digest(network.state_dict()) == weights_digest(folder / "w.safetensors")
    chosen_file = Path(chosen(Project(project, project / "bundles"), given, None)["checkpoint"])
    assert chosen_file == fetched.local(given)
    with pytest.raises(WeightsError, match="hash alone"):
        chosen(Project(project, project / "bundles"), given.partition("#")[0], None)


def test_workers_of_other_machines_see_it(server, folder, project, tmp_path) -> None:
    given = address(server, "w.safetensors", digest(folder / "w.safetensors"))
    where = chosen(Project(project, project / "bundles"), given, None, tmp_path / "out")["checkpoint"]
    assert Path(where).is_relative_to(tmp_path / "out")
    assert digest(Path(where)) == digest(folder / "w.safetensors")
