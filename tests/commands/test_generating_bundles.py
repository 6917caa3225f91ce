"""Commands that are about judging pictures refuse a bundle that draws them, by name and with the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pipelines
from pipelines.__main__ import main
from pipelines.bundle import bundle_kind, bundles_in
from pipelines.errors import UsageError


@pytest.fixture
def bundles(project: Path, tmp_path: Path) -> Path:
    """A folder with a bundle that generates."""
    root = tmp_path / "bundles" / "squares"
    (root / "configs").mkdir(parents=True)
    about = json.loads(
        next(iter(bundles_in(project / "bundles").values())).joinpath("configs/metadata.json").read_text()
    )
    about |= {"kind": "generation", "network_parameters": {}}
    (root / "configs" / "metadata.json").write_text(json.dumps(about))
    (root / "configs" / "train.yaml").write_text("label_names: {0: small, 1: large}\n")
    return tmp_path / "bundles"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("predict", ["squares", "x.png", "--out", "out"]),
        ("label", ["squares", "--studies", "."]),
        ("compare", ["--experiment", "squares"]),
        ("cross-validate", ["squares", "--data", "."]),
        ("package", ["squares"]),
    ],
)
def test_they_refuse_it(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch, command: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, *words, "--bundles", str(bundles)]) == UsageError.exit_code
    error = capsys.readouterr().err
    assert f"squares generates pictures and judges none, so that `{command}` has nothing to do with it" in error
    assert "generate.yaml" in error


def test_python_does_too(bundles: Path) -> None:
    with pytest.raises(UsageError, match="generates pictures"):
        pipelines.load_bundle("squares", bundles=bundles)


def test_the_list_says_what_it_draws(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "squares", "--bundles", str(bundles)]) == 0
    assert "Generates pictures (small and large), for training only" in capsys.readouterr().out
    assert main(["list", "squares", "--json", "--bundles", str(bundles)]) == 0
    entry = json.loads(capsys.readouterr().out)["bundles"][0]
    assert (entry["kind"], entry["generates"]) == ("generation", ["small", "large"])


def test_the_kind_is_what_the_metadata_say(bundles: Path, project: Path, tmp_path: Path) -> None:
    assert bundle_kind(bundles / "squares") == "generation"
    assert bundle_kind(tmp_path) == ""
    kinds = {bundle_kind(path) for path in bundles_in(project / "bundles").values()}
    assert kinds >= {"segmentation", "classification", "generation"}
