"""A run's weights become a version of its bundle's model, and are used from the registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import nibabel as nib
import pytest
import torch
from mlflow import MlflowClient

from pipelines.__main__ import main
from pipelines.comparison.runs import Store
from pipelines.datasets import make_lung_phantom
from pipelines.errors import TrackingError, UnreadableFileError, UsageError
from pipelines.networks import TinyUNet
from pipelines.promotion import fetch_checkpoint, find_run, promote

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"
BUNDLE = "covid_ct_lesion_segmentation"


class Runs:
    """A store, and runs of the CT bundle in it."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.uri = uri
        self.client = MlflowClient(tracking_uri=self.uri)
        self.experiment = self.client.create_experiment(BUNDLE, (folder / "artifacts").as_uri())

    def add(self, name: str, seed: int = 0, *, status: str = "FINISHED", tested: bool = True) -> str:
        torch.manual_seed(seed)
        checkpoint = self.folder / f"{name}{seed}" / "model.pt"
        checkpoint.parent.mkdir()
        torch.save(TinyUNet(out_channels=3).state_dict(), checkpoint)
        run = self.client.create_run(self.experiment, run_name=name, tags={"best_checkpoint": str(checkpoint)})
        self.client.log_param(run.info.run_id, "network", "tiny_unet")
        self.client.log_param(run.info.run_id, "slice_size", "[32, 32]")
        if tested:
            self.client.log_metric(run.info.run_id, "test_lesion_dice", 0.5)
        if status != "RUNNING":
            self.client.set_terminated(run.info.run_id, status)
        return str(run.info.run_id)


@pytest.fixture
def runs(tmp_path: Path, new_store: Callable[[Path], str]) -> Runs:
    return Runs(tmp_path, new_store(tmp_path))


def test_a_promoted_run_is_loaded_by_mlflow_and_used_by_predict(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.add("first")
    done = promote(runs.uri, "first", BUNDLES)
    assert (done.model, done.version, done.alias, done.before) == (BUNDLE, "1", "champion", None)
    version = runs.client.get_model_version_by_alias(BUNDLE, "champion")
    assert (version.run_id, version.tags["network"], version.tags["test_lesion_dice"]) == (run, "tiny_unet", "0.5000")
    assert runs.client.get_run(run).info.status == "FINISHED"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", runs.uri)
    mlflow.set_tracking_uri(runs.uri)
    loaded = mlflow.pytorch.load_model(done.uri)
    network = TinyUNet(out_channels=3).eval()
    network.load_state_dict(torch.load(tmp_path / "first0" / "model.pt"))
    picture = torch.rand(3, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(picture), network(picture))
    signature = mlflow.models.get_model_info(done.uri).signature
    assert signature.inputs.inputs[0].shape == (-1, 1, 32, 32)

    phantom = make_lung_phantom(1, size=48, slices=7)
    nib.save(nib.Nifti1Image(phantom.array, phantom.affine), tmp_path / "scan.nii")
    words = ["predict", BUNDLE, str(tmp_path / "scan.nii"), "--out", str(tmp_path / "out"), "--network", "tiny_unet"]
    assert main([*words, "--fast", "--checkpoint", done.uri]) == 0
    report = json.loads(next((tmp_path / "out").glob("*_report.json")).read_text())
    assert report["network"] == "tiny_unet"


def test_the_champion_before_is_named_and_a_run_keeps_its_version(runs: Runs) -> None:
    first, second = runs.add("one", 1), runs.add("two", 2)
    promote(runs.uri, first, BUNDLES)
    assert promote(runs.uri, second[:12], BUNDLES, "challenger").version == "2"
    done = promote(runs.uri, second, BUNDLES)
    assert (done.version, done.before) == ("2", ("1", first))
    aliases = runs.client.get_registered_model(BUNDLE).aliases
    assert {alias: str(at) for alias, at in aliases.items()} == {"champion": "2"}, "no challenger of itself"
    assert promote(runs.uri, first, BUNDLES).version == "1"


def test_what_cannot_be_promoted_is_said(runs: Runs, tmp_path: Path) -> None:
    runs.add("running", status="RUNNING")
    runs.add("failed", status="FAILED")
    runs.add("untested", tested=False)
    runs.add("twin", 1), runs.add("twin", 2)
    runs.add("lost")
    (tmp_path / "lost0" / "model.pt").unlink()
    for name, words in (
        ("running", "is RUNNING"), ("failed", "is FAILED"), ("untested", "never tested"), ("twin", "2 runs are called"),
        ("nobody", "there is no run 'nobody'"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            promote(runs.uri, name, BUNDLES)
    with pytest.raises(UnreadableFileError, match="is gone"):
        promote(runs.uri, "lost", BUNDLES)
    with pytest.raises(UsageError, match="no such bundle"):
        promote(runs.uri, runs.add("elsewhere"), tmp_path)
    with pytest.raises(TrackingError, match="has no models:/nothing@champion"):
        fetch_checkpoint(runs.uri, "models:/nothing@champion", tmp_path)
    assert not runs.client.search_registered_models()
    assert promote(runs.uri, "untested", BUNDLES, untested=True).version == "1"


def test_a_run_is_found_by_the_beginning_of_its_id(runs: Runs) -> None:
    run = runs.add("only")
    with Store(runs.uri) as store:
        assert find_run(store, run[:6]).name == "only"
        with pytest.raises(UsageError, match="there is no run"):
            find_run(store, run[:5])
