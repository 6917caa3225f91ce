"""A run's weights become a version of its bundle's model, and are used from the registry."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import mlflow
import nibabel as nib
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipelines import promotion
from pipelines.__main__ import main
from pipelines.bundle import Project
from pipelines.comparison.runs import Run, Store
from pipelines.errors import ConfigError, OutputError, TrackingError, UnreadableFileError, UsageError
from pipelines.files import held
from pipelines.networks import ChestCNN, TinyUNet
from pipelines.promotion import fetch_checkpoint, find_run, key_facts, promote, the_store
from pipelines.registered import DEFINITION, build, signature_of
from pipelines.tasks.lung_ct.phantom import make_lung_phantom

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
        network = TinyUNet(out_channels=3).to(memory_format=torch.channels_last)  # as trainings leave it
        torch.save(network.state_dict(), checkpoint)
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
    before = runs.client.get_run(run).info
    done = promote(runs.uri, "first", BUNDLES)
    assert (done.model, done.version, done.alias, done.before) == (BUNDLE, "1", "champion", None)
    version = runs.client.get_model_version_by_alias(BUNDLE, "champion")
    assert (version.run_id, version.tags["network"], version.tags["test_lesion_dice"]) == (run, "tiny_unet", "0.5000")
    after = runs.client.get_run(run).info
    assert (after.status, after.start_time, after.end_time) == ("FINISHED", before.start_time, before.end_time)

    network = TinyUNet(out_channels=3).eval()
    network.load_state_dict(torch.load(tmp_path / "first0" / "model.pt"))
    with the_store(runs.uri):
        exported = mlflow.pytorch.load_model(done.uri)
        used = mlflow.pyfunc.load_model(done.uri)
    picture = torch.rand(3, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(exported(picture), network(picture))
        for size in ((3, 1, 32, 32), (1, 1, 45, 70)):
            picture = torch.rand(size)
            torch.testing.assert_close(torch.from_numpy(used.predict(picture.numpy())), network(picture))
    (given,), (answer,) = used.metadata.signature.inputs.inputs, used.metadata.signature.outputs.inputs
    assert (given.name, given.shape, answer.shape) == (None, (-1, 1, -1, -1), (-1, 3, -1, -1))
    files = {path.name for path in (runs.folder / "artifacts").rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith((".pkl", ".pth", ".pt", ".py"))], "no code in the registry"

    phantom = make_lung_phantom(1, size=48, slices=7)
    nib.save(nib.Nifti1Image(phantom.array, phantom.affine), tmp_path / "scan.nii")
    words = ["predict", BUNDLE, str(tmp_path / "scan.nii"), "--out", str(tmp_path / "out"), "--network", "tiny_unet"]
    (tmp_path / "mlruns").mkdir()  # the default store, made a project's of its own
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipelines.__main__.find_project", lambda given: Project(tmp_path, BUNDLES))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mlflow.db").rename(tmp_path / "mlruns" / "mlflow.db")
    assert main([*words, "--fast", "--checkpoint", done.uri]) == 0
    assert not (tmp_path / "mlflow.db").exists(), "MLflow's own default store was made beside ours"
    assert not {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"} & os.environ.keys()
    report = json.loads(next((tmp_path / "out").glob("*_report.json")).read_text())
    assert report["network"] == "tiny_unet"


def test_a_version_says_first_how_good_it_is(runs: Runs) -> None:
    run = runs.add("told")
    figures = {"best_val_lesion_dice": 0.6, "test_lesion_dice_ci_low": 0.4, "test_lesion_dice_ci_high": 0.61}
    figures |= {f"test_lung_{name}": 0.9 for name in ("dice", "iou", "nsd", "hd95_mm")}
    figures |= {f"test_lesion_{name}": 0.7 for name in ("iou", "nsd", "hd95_mm")}
    for name, value in figures.items():
        runs.client.log_metric(run, name, value)
    runs.client.log_param(run, "data_name", "drawn")
    runs.client.log_param(run, "data_phantom", "True")
    promote(runs.uri, run, BUNDLES)
    version = runs.client.get_model_version_by_alias(BUNDLE, "champion")
    first = "0.5000 (95 % interval 0.4000 to 0.6100)"
    assert min(version.tags) == "key_metric"
    assert version.tags["key_metric"] == f"test_lesion_dice: {first}"
    assert version.tags["test_lesion_dice"] == first
    assert not [name for name in version.tags if "_ci_" in name]
    assert version.description.startswith(f"**test_lesion_dice: {first}**")
    assert "drawn (phantoms)" in version.description
    kept = [name for name in key_facts(_run(runs, run)) if name.startswith("test_")]
    assert kept[:4] == ["test_lesion_dice", "test_lesion_hd95_mm", "test_lesion_iou", "test_lesion_nsd"]
    assert "lesion" in runs.client.get_registered_model(BUNDLE).description


def _run(runs: Runs, run_id: str) -> Run:
    with Store(runs.uri) as store:
        return find_run(store, run_id)


def test_what_somebody_wrote_of_a_model_is_kept(runs: Runs) -> None:
    runs.client.create_registered_model(BUNDLE, description="ours")
    promote(runs.uri, runs.add("one", 1), BUNDLES)
    assert runs.client.get_registered_model(BUNDLE).description == "ours"


def test_the_registered_network_has_the_numbers_of_its_run(runs: Runs, tmp_path: Path) -> None:
    bundle = "chest_xray_pneumonia_classification"
    (tmp_path / "weights").mkdir()
    checkpoint = tmp_path / "weights" / "model.pt"
    torch.save(ChestCNN(as_two_classes=True).state_dict(), checkpoint)
    experiment = runs.client.create_experiment(bundle, (tmp_path / "others").as_uri())
    run = runs.client.create_run(experiment, run_name="dropped", tags={"best_checkpoint": str(checkpoint)}).info.run_id
    for name, value in {"network": "chest_cnn", "image_size": "[128, 128]", "dropout": "0.45"}.items():
        runs.client.log_param(run, name, value)
    runs.client.set_terminated(run)
    done = promote(runs.uri, run, BUNDLES, untested=True)
    definition = json.loads((fetch_checkpoint(runs.uri, done.uri, tmp_path / "got").parent / DEFINITION).read_text())
    assert definition == {"_target_": "pipelines.networks.ChestCNN", "dropout": 0.45, "as_two_classes": True}


def test_an_experiment_leads_to_no_config_outside_the_bundles(runs: Runs, tmp_path: Path) -> None:
    outside, mark = tmp_path / "elsewhere", tmp_path / "mark"
    shutil.copytree(BUNDLES / BUNDLE / "configs", outside / "configs")
    code = f"network_name: tiny_unet\nnetwork_def: {{_target_: BasicUNet, x: \"$open('{mark}', 'w')\"}}\n"
    (outside / "configs" / "networks" / "tiny_unet.yaml").write_text(code)
    runs.experiment = runs.client.create_experiment(str(outside), (tmp_path / "others").as_uri())
    with pytest.raises(UsageError, match="no bundle"):
        promote(runs.uri, runs.add("strange"), BUNDLES)
    assert not mark.exists()


def test_a_network_of_a_fixed_size_keeps_it() -> None:
    fixed = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    signature = signature_of(fixed, np.zeros((2, 1, 8, 8), np.float32))
    assert (signature.inputs.inputs[0].shape, signature.outputs.inputs[0].shape) == ((-1, 1, 8, 8), (-1, 2))
    pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    signature = signature_of(pooled, np.zeros((2, 3, 8, 8), np.float32))
    assert (signature.inputs.inputs[0].shape, signature.outputs.inputs[0].shape) == ((-1, 3, -1, -1), (-1, 3))


@pytest.mark.parametrize(
    "definition",
    [
        {"_target_": "subprocess.getoutput", "cmd": "touch stolen"},
        {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": "$__import__('os').system('touch stolen')"},
        {"_target_": "BasicUNet", "act": {"_target_": "os.system", "command": "touch stolen"}},
        {"_target_": "pipelines.files.nothing"},
        {"_target_": "monai.transforms.Compose"},
        {},
    ],
)
def test_a_definition_that_is_no_networks_is_refused(
    definition: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="not that of a network"):
        build(definition)
    assert not (tmp_path / "stolen").exists()


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="there is no tracking store"):
        fetch_checkpoint(f"sqlite:///{tmp_path / 'none.db'}", "models:/any@champion", tmp_path)
    assert list(tmp_path.iterdir()) == []


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
    runs.add("twice", 1), runs.add("twice", 2)
    runs.add("lost")
    (tmp_path / "lost0" / "model.pt").unlink()
    for name, words in (
        ("running", "is RUNNING"), ("failed", "is FAILED"), ("untested", "never tested"),
        ("twice", "2 runs are called"), ("nobody", "there is no run 'nobody'"),
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
    runs.client.set_tag(find_by_name(runs, "running"), "incomplete", "python -m pipelines sync HERE")
    with pytest.raises(UsageError, match="python -m pipelines sync HERE"):
        promote(runs.uri, "running", BUNDLES)
    assert promote(runs.uri, "untested", BUNDLES, untested=True).version == "1"


@pytest.mark.parametrize(
    ("place", "fault", "raised"),
    [
        ("torch.export.export", AssertionError("no graph of this\n..."), ConfigError),
        ("mlflow.MlflowClient._create_model_version", MlflowException("the registry is away"), TrackingError),
        ("mlflow.MlflowClient._create_model_version", KeyboardInterrupt("Ctrl-C"), KeyboardInterrupt),
    ],
)
def test_a_promotion_that_fails_leaves_no_empty_model(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, place: str, fault: BaseException, raised: type[BaseException]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise fault

    runs.add("one")
    with monkeypatch.context() as patch:
        patch.setattr(place, fails)
        with pytest.raises(raised, match=str(fault).partition("\n")[0]):
            promote(runs.uri, "one", BUNDLES)
    assert runs.client.search_registered_models() == []
    assert runs.client.search_logged_models([runs.experiment]) == []
    promote(runs.uri, "one", BUNDLES)
    with monkeypatch.context() as patch:
        patch.setattr(place, fails)
        with pytest.raises(raised):
            promote(runs.uri, runs.add("two"), BUNDLES)
    assert [str(each.version) for each in runs.client.search_model_versions()] == ["1"], "what was there stays"


def find_by_name(runs: Runs, name: str) -> str:
    return _run(runs, name).run_id


def test_a_run_is_found_by_the_beginning_of_its_id(runs: Runs) -> None:
    run = runs.add("only")
    with Store(runs.uri) as store:
        assert find_run(store, run[:6]).name == "only"
        with pytest.raises(UsageError, match="there is no run"):
            find_run(store, run[:5])


def test_two_promotions_in_one_store_refuse_each_other(runs: Runs) -> None:
    runs.add("one")
    with held(runs.folder, ".promoting.lock"), pytest.raises(OutputError, match="another call is writing here"):
        promote(runs.uri, "one", BUNDLES)
    assert runs.client.search_registered_models() == []


@pytest.mark.slow
def test_a_promotion_that_was_killed_is_completed_and_leaves_nothing_twice(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.add("one")

    class Killed(BaseException):
        """In the place of SIGKILL: nothing is tidied up."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_or_nothing", lambda *_: nullcontext())
        patch.setattr(promotion.Model, "log", kill)
        with pytest.raises(Killed):
            promote(runs.uri, run, BUNDLES)
    assert len(runs.client.search_logged_models([runs.experiment])) == 1, "a logged model without a version"
    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_describe_model", kill)
        with pytest.raises(Killed):
            promote(runs.uri, run, BUNDLES)
    (version,) = runs.client.search_model_versions(f"name = '{BUNDLE}'")
    assert version.tags == {}
    assert promote(runs.uri, run, BUNDLES).version == "1"
    (version,) = runs.client.search_model_versions(f"name = '{BUNDLE}'")
    (logged,) = runs.client.search_logged_models([runs.experiment])
    assert logged.model_id in version.source, "by which it is known that a logged model has a version"
    assert version.tags["network"] == "tiny_unet"
