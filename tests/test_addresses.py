"""A bundle, config or overlay given by an address is refused, and nothing is fetched or run from there."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

from pipelines import load_bundle
from pipelines.__main__ import main
from pipelines.bundle import named_bundle
from pipelines.errors import UsageError
from pipelines.warm import WarmPython

SKIN = "skin_lesion_segmentation"


class Server(ThreadingHTTPServer):
    """Counts who asks, and would give a config that runs code."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Asked(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"run: [\"$__import__('pathlib').Path('ran').touch()\"]\n")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


COMMANDS = {
    "predict": ["predict", "URL", "INPUT", "--out", "out"],
    "predict with an overlay": ["predict", SKIN, "INPUT", "--out", "out", "--overlay", "URL/calibrate.yaml"],
    "predict with a network": ["predict", SKIN, "INPUT", "--out", "out", "--network", "URL/tiny.yaml"],
    "predict of a list": ["predict", SKIN, "--datalist", "URL/list.json", "--out", "out"],
    "predict of an input": ["predict", SKIN, "URL/scan.nii.gz", "--out", "out"],
    "check": ["check", "URL"],
    "list": ["list", "URL"],
    "export": ["export", "URL", "--to", "onnx", "--out", "out"],
    "package": ["package", "URL", "--out", "out"],
    "promote": ["promote", "URL"],
    "compress": ["compress", "URL", "--data", "INPUT", "--out", "out"],
    "cross-validate": ["cross-validate", "URL", "--data", "INPUT"],
    "listen": ["listen", "URL", "--out", "out"],
    "new": ["new", "moles_segmentation", "--like", "URL", "--out", "out"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_address_is_refused_in_one_sentence(
    name: str, server: Server, project: Path, skin: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"INPUT": str(skin / "images" / "L00.jpg"), SKIN: str(project / "bundles" / SKIN)}
    words = [known.get(word, word).replace("URL", f"{server.address}/bundle") for word in COMMANDS[name]]
    assert main(words) in (2, 10, 20)  # 20: of a store that has no runs of it
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ")
    assert "; " in last
    assert server.asked == []
    assert {path.name for path in tmp_path.iterdir()} == {"skin"}


@pytest.mark.parametrize("scheme", ["https", "http", "file", "s3", "HTTPS"])
def test_a_bundle_by_any_scheme(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{scheme}://example.org/bundle"
    for word in (address, Path(address)):
        with pytest.raises(UsageError, match="is an address, and no bundle is fetched or run from one; download it"):
            named_bundle(word, tmp_path)
    with pytest.raises(UsageError, match="is an address"):
        load_bundle(address)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c:" / "bundle").mkdir(parents=True)
    assert named_bundle("c:/bundle", tmp_path) == Path("c:/bundle"), "a folder of such a name is one"


@pytest.mark.parametrize("laid_over", [True, False])
def test_a_config_by_an_address_is_no_file(laid_over: bool, server: Server, project: Path) -> None:
    first = [str(project / "bundles" / SKIN / "configs" / "inference.yaml")] if laid_over else []
    with pytest.raises(FileNotFoundError, match=r"calibrate\.yaml"):
        ConfigWorkflow(config_file=[*first, f"{server.address}/calibrate.yaml"], workflow_type="infer")
    assert server.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("laid_over", [True, False])
def test_the_last_line_of_monais_command_says_so(
    laid_over: bool, server: Server, project: Path, tmp_path: Path, warm: WarmPython
) -> None:
    """MONAI itself says it, before any file of ours is read."""
    config = project / "bundles" / SKIN / "configs" / "train.yaml"
    address = f"{server.address}/calibrate.yaml"
    files = f"['{config}','{address}']" if laid_over else address
    done = subprocess.run(
        [warm.python, "-m", "monai.bundle", "run", "--config_file", files],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"FileNotFoundError: Cannot find the config file: {Path(address)}."
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []
