"""The promises of the README as a user meets them: the demo, and a long scan in bounded memory."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipelines.networks import TinyUNet
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.weights import save_weights

GIB = 2**30


@pytest.mark.slow
def test_demo_ends_with_an_overlay_figures_and_a_comparison_of_three_tracked_runs(project, tmp_path):
    """Also that it is calm: a line a step, whatever MONAI, MLflow and alembic have to say."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    demo = tmp_path / "demo"
    command = [sys.executable, "-m", "pipelines", "demo", "--out", str(demo), "--epochs", "1"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) < 25
    for noise in ("INFO", "SECURITY", "alembic", "mlflow.", "WARNING", "\r"):
        assert noise not in done.stdout
    logs = {path.name: path.read_text() for path in sorted((demo / "logs").iterdir())}
    assert len(logs) == 11  # one of the start, and one a step
    assert list(logs)[2] == "02_segment.log"
    assert "INFO" in logs["04_train_basic_unet.log"]
    assert all(log.startswith(f"$ {sys.executable} -m ") for name, log in logs.items() if name != "00_start.log")
    (overlay, *_) = sorted((demo / "predictions").glob("*_overlay.png"))
    assert done.stdout.index(str(overlay)) < done.stdout.index("train basic_unet")
    assert overlay.stat().st_mtime < (demo / "basic_unet" / "run.json").stat().st_mtime
    summary = json.loads((demo / "basic_unet" / "evaluation" / "summary.json").read_text())
    assert 0 <= summary["test_lung_dice"]["estimate"] <= 1
    assert summary["test_lesion_sensitivity"]["n"] >= 7  # of fewer no paired test of three networks can say anything
    assert json.loads((demo / "basic_unet" / "run.json").read_text())["run_id"]
    with (demo / "comparison" / "comparison.csv").open(newline="") as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"basic_unet", "tiny_unet", "lesion_unet"}
    assert {row["section"] for row in rows.values()} == {"1"}
    assert all(float(row["inference_time_ratio"]) > 0 for row in rows.values())
    page = (demo / "comparison" / "comparison.html").read_text()
    assert "These data are phantoms" in page
    assert "Where they disagree most" in page or "no case on which these networks disagree" in page
    again = subprocess.run(
        [*command[:-4], "--out", str(project / "tests")], capture_output=True, text=True, check=False
    )
    assert again.returncode == 19
    assert "holds something else" in again.stderr


MEASURE = """
import resource, sys
from pipelines.__main__ import main
import pipelines.prediction
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code = main(sys.argv[1:])
print(code, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.thorough
@pytest.mark.slow
def test_600_slices_stay_under_1_gib_above_the_input(project, tmp_path):
    slices = make_lung_phantom(1, size=512, slices=8)
    volume = np.repeat(slices.array, 75, axis=2)
    affine = slices.affine.copy()
    affine[:3, 2] /= 75
    nib.save(nib.Nifti1Image(volume, affine), tmp_path / "long.nii")
    save_weights(TinyUNet(), tmp_path / "w.safetensors")
    command = ["predict", str(project / "bundles" / "covid_ct_lesion_segmentation"), str(tmp_path / "long.nii")]
    command += [
        "--out",
        str(tmp_path / "out"),
        "--network",
        "tiny_unet",
        "--checkpoint",
        str(tmp_path / "w.safetensors"),
    ]
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, *command, "--fast"], capture_output=True, text=True, check=True
    )
    code, above = output.stdout.split()[-2:]
    assert code == "0"
    assert nib.load(tmp_path / "out" / "long_mask.nii.gz").shape == (512, 512, 600)
    assert int(above) - volume.size * 4 < GIB
    assert Path(tmp_path / "out" / "long_overlay.png").is_file()
