"""A plain ``pip install .``, used in a folder outside the repository, with the default store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

BUNDLE = "covid_ct_lesion_segmentation"
TRAIN = """
import sys
from pathlib import Path
import pipelines
from pipelines.__main__ import main
from pipelines.bundle import find_project
from pipelines.viewer.server import STATIC
assert (STATIC / "vendor" / "niivue.umd.js").is_file() and (STATIC / "index.html").is_file()
assert Path(pipelines.__file__).is_relative_to(sys.argv[1]), pipelines.__file__
assert main("data phantom covid_ct --out data --cases 10 --size 48 --slices 7".split()) == 0
from monai.bundle import run
bundle = find_project().bundles / sys.argv[2]
configs = [str(bundle / "configs" / name) for name in ("train.yaml", "networks/tiny_unet.yaml", "evaluate.yaml")]
knobs = dict(bundle_root=str(bundle), dataset_dir="data", slice_size=[32, 32], epochs=1, flips=False, scales=[1.0])
run(config_file=configs[:2], run_name="first", device="cpu", **knobs)
run(config_file=configs, device="cpu", **knobs)
"""
USE = """
import sys
from pipelines.__main__ import main
model = f"models:/{sys.argv[1]}@champion"
assert main(["promote", "first"]) == 0
words = ["predict", sys.argv[1], "scan", "--out", "out", "--fast", "--network", "tiny_unet", "--checkpoint", model]
assert main(words) == 0
"""
PYFUNC = """
import json, sys
import mlflow, numpy as np
from pipelines.tracking import tracking_uri
mlflow.set_tracking_uri(tracking_uri())
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[1]}@champion")
for size in ((1, 1, 24, 40), (2, 1, 33, 31)):
    answer = model.predict(np.full(size, 0.25, np.float32))
    print(json.dumps([list(answer.shape), float(answer.mean())]))
"""


@pytest.mark.slow
def test_outside_the_repository(project: Path, tmp_path: Path) -> None:
    source, site, work = tmp_path / "source", tmp_path / "site", tmp_path / "work"
    for folder in (source, work):
        folder.mkdir()
    for name in ("pipelines", "bundles"):  # a copy: setuptools leaves build folders beside its sources
        left = shutil.ignore_patterns(
            "__pycache__", "eval", "skips.safetensors", "mobilenet_v2.safetensors", "two_views.safetensors"
        )
        shutil.copytree(project / name, source / name, ignore=left)
    shutil.copytree(project / "data", source / "data", ignore=lambda _, names: {n for n in names if n[-5:] != ".yaml"})
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(project / name, source)
    (source / "bundles" / BUNDLE / "models" / "tiny_unet").mkdir(exist_ok=True)
    (source / "bundles" / BUNDLE / "models" / "tiny_unet" / "last.pt").touch()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, cwd=tmp_path)
    installed = _files(site)
    shipped = {path.relative_to(site / "pipelines" / "bundles" / BUNDLE) for path in installed if BUNDLE in path.parts}
    assert {Path("configs/train.yaml"), Path("models/tiny_unet.safetensors"), Path("docs/README.md")} <= shipped
    assert Path("models/tiny_unet/last.pt") not in shipped
    rest = {str(path.relative_to(site / "pipelines")) for path in installed if path.is_relative_to(site / "pipelines")}
    assert {"viewer/static/index.html", "viewer/static/vendor/niivue.umd.js", "prediction/index.html.j2"} <= rest
    assert {"data_cards/covid_ct.yaml", "comparison/page.html.j2", "tasks/registry.py"} <= rest
    templates = {each.relative_to(project / "pipelines") for each in _files(project / "pipelines/starting/templates")}
    assert {str(each) for each in templates} <= rest

    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PIPELINES_"))}
    environment |= {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])

    def call(code: str, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=work, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    call(TRAIN, str(site), BUNDLE)
    (work / "scan").mkdir()
    shutil.copy(next((work / "data" / "images").iterdir()), work / "scan")
    said = call(USE, BUNDLE)
    assert list((work / "out").glob("*_mask.nii.gz"))
    line = next(line for line in said.splitlines() if line.startswith("serve it: "))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = f"{line.removeprefix('serve it: ')} --port {port}"
    with (tmp_path / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            serve, shell=True, cwd=work, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        expected = [json.loads(line) for line in call(PYFUNC, BUNDLE).splitlines()]
        assert [shape for shape, _ in expected] == [[1, 3, 24, 40], [2, 3, 33, 31]]
        for shape, mean in expected:
            size = [shape[0], 1, *shape[2:]]
            answer = _answer(server, f"http://127.0.0.1:{port}/invocations", _filled(size, 0.25), tmp_path)
            assert (_shape(answer), _mean(answer)) == (shape, pytest.approx(mean, abs=1e-6))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    assert {path.name for path in work.iterdir()} == {"data", "scan", "out", "mlruns", BUNDLE}, "a stray mlflow.db"
    assert _files(site) == installed, "nothing is written into site-packages"


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def _filled(size: list[int], value: float) -> list | float:
    return [_filled(size[1:], value) for _ in range(size[0])] if size else value


def _shape(nested: list | float) -> list[int]:
    return [len(nested), *_shape(nested[0])] if isinstance(nested, list) else []


def _mean(nested: list | float) -> float:
    return sum(map(_mean, nested)) / len(nested) if isinstance(nested, list) else nested


def _answer(server: subprocess.Popen[bytes], url: str, picture: list | float, folder: Path) -> list:
    request = urllib.request.Request(
        url, json.dumps({"inputs": picture}).encode(), {"Content-Type": "application/json"}
    )
    for _ in range(600):
        assert server.poll() is None, (folder / "serve.log").read_text()[-3000:]
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)["predictions"]
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode()[:2000])
        except OSError:
            time.sleep(0.2)
    pytest.fail("the server does not answer")
