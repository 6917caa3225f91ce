"""The model card of a bundle: from a run to its page, and every shipped card in step with its record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from safetensors.torch import save_file

from pipelines.__main__ import main
from pipelines.comparison.runs import Store
from pipelines.errors import UnreadableFileError, UsageError
from pipelines.evaluation import write_evaluation
from pipelines.evaluation.report import flatten
from pipelines.model_card import CLAIM, record_run, render, write_card
from pipelines.networks import TinyUNet

BUNDLE = "made_bundle"
WORDS = {
    "evidence": "ten made cases",
    "intended_use": "Tests.",
    "out_of_scope": "all else",
    "limits": ["made, not measured"],
    "claim": {16: "nobody | at all", 21: "the case"},
}


class Project:
    """A folder with one bundle, and a store with a run of it."""

    def __init__(self, root: Path, uri: str) -> None:
        self.bundles = root / "bundles"
        self.bundle = self.bundles / BUNDLE
        (self.bundle / "configs").mkdir(parents=True)
        (self.bundle / "models").mkdir()
        (self.bundle / "docs").mkdir()
        metadata = {
            "intended_use": "Research only.", "task": "a task", "data_source": "made", "description": "a network",
        }  # fmt: skip
        (self.bundle / "configs" / "metadata.json").write_text(json.dumps(metadata))
        (self.bundle / "docs" / "model_card.yaml").write_text(yaml.safe_dump(WORDS))
        self.readme = self.bundle / "docs" / "README.md"
        self.readme.write_text("# Made\n")
        self.card = self.bundle / "docs" / "model_card.md"
        self.weights = self.bundle / "models" / "tiny_unet.safetensors"
        save_file(TinyUNet().state_dict(), self.weights)
        self.uri = uri
        self.client = MlflowClient(tracking_uri=self.uri)
        self.experiment = self.client.create_experiment(BUNDLE, (root / "artifacts").as_uri())
        self.folder = root / "evaluation"

    def run(
        self, status: str = "FINISHED", evaluated: bool = True, checkpoint: Path | None = None, **params: object
    ) -> str:
        tags = {"checkpoint": str(checkpoint or self.weights)}
        run = self.client.create_run(self.experiment, run_name="first", tags=tags)
        told = {
            "network": "tiny_unet", "parameters": 9235, "data_name": "made_|_data",
            "data_fingerprint": "sha256:" + "1" * 64,
            "data_split": '{"rule": "by patient", "seed": 3}', "data_training_cases": 30, "data_test_cases": 10,
            "epochs": 7, **params,
        }  # fmt: skip
        for name, value in told.items():
            self.client.log_param(run.info.run_id, name, value)
        if evaluated:
            rows = [
                {
                    "case": f"c{i}", "patient": f"p{i // 2}", "group": "ab"[i % 2],
                    "metrics": {"lesion_dice": i / 10},
                }
                for i in range(10)
            ]  # fmt: skip
            for name, value in flatten(write_evaluation(rows, self.folder, n_resamples=50)).items():
                self.client.log_metric(run.info.run_id, name, value)
            self.client.log_artifacts(run.info.run_id, str(self.folder), "evaluation")
        self.client.set_terminated(run.info.run_id, status)
        return str(run.info.run_id)

    def record(self, wanted: str = "first") -> dict:
        with Store(self.uri) as store:
            bundle, record = record_run(store, wanted, self.bundles)
        assert bundle == self.bundle
        return record


@pytest.fixture
def project(tmp_path: Path, new_store: Callable[[Path], str]) -> Project:
    return Project(tmp_path, new_store(tmp_path))


def test_a_run_becomes_a_card_on_a_page_of_its_own(project: Project) -> None:
    project.run()
    assert write_card(project.bundle, project.record()) == project.card
    assert project.readme.read_text() == "# Made\n", "the README is left alone"
    card = project.card.read_text()
    assert card.startswith(f"# Model card of {BUNDLE}\n")
    summary = json.loads((project.folder / "summary.json").read_text())["test_lesion_dice"]
    bounds = f"{summary['low']:.3f} to {summary['high']:.3f}"
    assert f"| `test_lesion_dice` | 0.450 | {bounds} | 10 |" in card
    assert "| group | number | `test_lesion_dice` |" in card
    assert "| b | 5 | 0.500 (" in card, "subgroups"
    assert "10 cases of 5 patients" in card
    assert "No temperature was fitted" in card
    assert "made, not measured" in card
    assert "| 16 | who annotated | nobody \\| at all |" in card, "the authors' words, and no table cell of their own"
    assert "| 25 | training | epochs 7 |" in card
    assert "| 21 | level at which the parts are disjoint | the case |" in card, "words count before rules"
    assert f"| 17 | {CLAIM[17]} | not stated |" in card
    assert "| network | tiny_unet, 9,235 parameters |" in card
    assert "other weights than the shipped ones" not in card
    assert card == render(project.bundle)


def test_figures_of_other_weights_than_the_shipped_ones_say_so(project: Project) -> None:
    project.run()
    save_file({key: value + 1.0 for key, value in TinyUNet().state_dict().items()}, project.weights)
    write_card(project.bundle, project.record())
    assert "other weights than the shipped ones" not in project.card.read_text()
    project.weights.rename(project.bundle / "trained.safetensors")
    save_file(TinyUNet().state_dict(), project.weights)
    project.run("FINISHED", checkpoint=project.bundle / "trained.safetensors")
    with Store(project.uri) as store:
        latest = store.runs()[0].run_id
    write_card(project.bundle, project.record(latest))
    assert "other weights than the shipped ones" in project.card.read_text()


def test_a_cross_validation_has_a_card_too(project: Project) -> None:
    """Its run has no checkpoint: it holds what networks of several runs said."""
    run = project.run()
    project.client.delete_tag(run, "checkpoint")
    project.client.set_tag(run, "folds", "5")
    record = project.record()
    assert record["data"]["cases"] == {"in 5 folds": 10}
    assert record["weights"]["measured"] is False
    assert record["calibration"] == {}


def test_by_command(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = project.run()
    monkeypatch.setenv("PIPELINES_BUNDLES", str(project.bundles))
    assert main(["card", run, "--tracking_uri", project.uri]) == 0
    assert "the model card is written" in capsys.readouterr().out
    (project.bundle / "docs" / "model_card.yaml").write_text(yaml.safe_dump({**WORDS, "limits": ["another limit"]}))
    assert main(["card", "--bundle", BUNDLE]) == 0
    assert "another limit" in project.card.read_text()
    assert main(["card", "--bundle", "no_such_bundle"]) == 2
    assert "there is no bundle no_such_bundle" in capsys.readouterr().err
    assert main(["card"]) == 2
    assert "a run or a bundle is due" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"status": "FAILED"}, "is FAILED"),
        ({"evaluated": False}, "has no evaluation"),
        ({"data_phantom": True}, "made on phantoms"),
    ],
)
def test_runs_that_no_card_can_be_made_of(project: Project, options: dict, word: str) -> None:
    project.run(**options)
    with pytest.raises(UsageError, match=word):
        project.record()


def test_faults_of_a_cards_files_are_named(project: Project) -> None:
    project.run()
    record = project.record()
    write_card(project.bundle, record)
    kept = {path: path.read_text() for path in (project.card, project.card.with_suffix(".json"))}
    words = project.bundle / "docs" / "model_card.yaml"
    words.write_text(yaml.safe_dump({name: each for name, each in WORDS.items() if name != "limits"}))
    with pytest.raises(UnreadableFileError, match="limits is missing"):
        write_card(project.bundle, {**record, "network": "another"})
    assert {path: path.read_text() for path in kept} == kept, "record and card stay in step"
    words.write_text(yaml.safe_dump({**WORDS, "claim": {2: "abstract"}}))
    with pytest.raises(UnreadableFileError, match="no item 2"):
        render(project.bundle)
    words.write_text(yaml.safe_dump(WORDS))
    (project.bundle / "docs" / "model_card.json").unlink()
    with pytest.raises(UnreadableFileError, match="cannot be read"):
        render(project.bundle)
