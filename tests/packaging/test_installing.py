"""A package in an environment of its own: the wheel in it is installed, the bundle answers from elsewhere as it does
here, and can be packed again from there.

The environment sees the packages that are installed here: nothing is fetched, and what the project needs is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipelines import load_bundle
from pipelines.__main__ import main
from pipelines.packaging import package_bundle, verify_package

BUNDLE, NETWORK = "covid_ct_lesion_segmentation", "tiny_unet"


@pytest.mark.thorough
@pytest.mark.slow
def test_it_installs_and_answers_as_here(project: Path, tmp_path: Path) -> None:
    made = package_bundle(project / "bundles" / BUNDLE, tmp_path / "a.zip", network=NETWORK)
    with zipfile.ZipFile(made.path) as archive:
        archive.extractall(tmp_path / "there")
    (there,) = (tmp_path / "there").iterdir()
    work = tmp_path / "work"
    work.mkdir()
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIPELINES_", "MLFLOW_"))}

    def call(*words: str, cwd: Path = work) -> str:
        done = subprocess.run(words, cwd=cwd, env=ours, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    call(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    python = str(tmp_path / "venv" / "bin" / "python")
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "here.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    wheel = made.install.rpartition(" ")[2]
    install = (python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", wheel)
    call(*install, cwd=there)
    assert Path(call(python, "-c", "import pipelines; print(pipelines.__file__)").strip()).is_relative_to(site)

    words = ["--out", str(work / "data"), "--cases", "3", "--size", "64", "--slices", "7"]
    assert main(["data", "phantom", "covid_ct", *words]) == 0
    scan = next((work / "data" / "images").iterdir())
    use = made.use.replace("INPUT", str(scan)).replace("DIR", "out").replace("bundles/", f"{there}/bundles/")
    call(python, *use.split()[1:])
    expected = load_bundle(project / "bundles" / BUNDLE, NETWORK)(scan)
    report = json.loads(next((work / "out").glob("*_report.json")).read_text())
    assert report["lesion_ml"] == expected.report["lesion_ml"] > 0
    import nibabel as nib

    mask = np.asarray(nib.load(next((work / "out").glob("*_mask.nii.gz"))).dataobj)
    assert expected.mask is not None
    assert expected.mask.any()
    assert (mask == expected.mask).all()

    call(python, "-m", "pipelines", "package", f"{there}/bundles/{BUNDLE}", "--network", NETWORK, "--out", "b.zip")
    verify_package(work / "b.zip")
    first, second = members(made.path), members(work / "b.zip")
    assert first.keys() == second.keys()
    differ = {name for name in first if first[name] != second[name]}
    # its own setuptools is another one than here
    assert differ <= {f"{there.name}/constraints.txt", f"{there.name}/manifest.json"}


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
