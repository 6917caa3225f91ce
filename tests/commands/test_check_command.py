"""``pipelines check``: what it prints, writes, and exits with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "auditing"))

from foreign_bundles import zoo_bundle
from planted import put

from pipelines.__main__ import main
from pipelines.auditing.rules import RULES


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A bundle with an error and a warning."""
    bundle = zoo_bundle(tmp_path)
    put("configs/inference.json", '"data/organs"', '"/workspace/data"')(bundle)
    put("configs/inference.json", '"@inferer"', '"@infferer"')(bundle)
    return bundle


def test_a_line_a_finding(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(faulty)]) == 1
    first, second, counts, zoo, label = capsys.readouterr().out.splitlines()
    line = 1 + [text.strip() for text in (faulty / "configs/inference.json").read_text().splitlines()].index(
        '"inferer": "@infferer",'
    )
    assert first.startswith(
        f"configs/inference.json:{line}: error [undefined-id]: evaluator#inferer refers to infferer"
    )
    assert "warning [absolute-path]" in second
    assert second.endswith("; begin it with $@bundle_root + '/…'")
    assert counts == "organ_segmentation: 1 error, 1 warning in 10 files"
    assert (zoo, label) == ("  model zoo: nothing in the way", "  MONAI Label: nothing in the way")


def test_warnings_count_where_that_is_asked(faulty: Path) -> None:
    words = ["check", str(faulty), "--ignore", "undefined-id"]
    assert main(words) == 0
    assert main([*words, "--strict"]) == 1
    assert main([*words, "--strict", "--ignore", "absolute-path"]) == 0


def test_readiness_is_an_error_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = zoo_bundle(tmp_path)
    (bundle / "models" / "model.pt").unlink()
    assert main(["check", str(bundle)]) == 0
    assert "model zoo: not ready (1 found; --for zoo names them)" in capsys.readouterr().out
    assert main(["check", str(bundle), "--for", "zoo", "--for", "label"]) == 1
    said = capsys.readouterr().out
    assert "models/model.pt: error [zoo-files]" in said
    assert "models/model.pt: error [label-weights]" in said


def test_json_for_programs(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(faulty), "--format", "json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["counts"] == {"error": 1, "warning": 1, "note": 0}
    assert [each["rule"] for each in said["findings"]] == ["undefined-id", "absolute-path"]
    assert all(each["line"] > 1 and each["how"] for each in said["findings"])


def test_sarif_for_code_scanning(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.sarif"
    assert main(["check", str(faulty), "--format", "sarif", "--out", str(target)]) == 1
    assert capsys.readouterr().out.startswith("organ_segmentation: 1 error, 1 warning")
    said = json.loads(target.read_text())
    (run,) = said["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert (said["version"], said["$schema"].rpartition("/")[2]) == ("2.1.0", "sarif-schema-2.1.0.json")
    assert [each["level"] for each in run["results"]] == ["error", "warning"]
    for each in run["results"]:
        assert rules[each["ruleIndex"]]["id"] == each["ruleId"]
        (place,) = each["locations"]
        place = place["physicalLocation"]
        assert place["region"]["startLine"] > 1
        assert place["artifactLocation"] == {"uri": "configs/inference.json", "uriBaseId": "BUNDLE"}
    assert run["originalUriBaseIds"]["BUNDLE"]["uri"] == f"{faulty.as_uri()}/"


def test_every_rule_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--list-rules"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RULES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no bundle is named"),
        (["nothing_here"], "there is no bundle 'nothing_here'"),
        (["."], "this is no bundle"),
        (["BUNDLE", "--ignore", "no-rule"], "no rule or purpose 'no-rule'"),
        (["BUNDLE", "--sign", "key.pem"], "give both"),
        (["BUNDLE", "--out", "BUNDLE"], "cannot be written"),
        (["BUNDLE", "--public-key", "none.pub"], "the public key cannot be read"),
    ],
)
def test_calls_that_cannot_work(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = zoo_bundle(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert main(["check", *(str(bundle) if word == "BUNDLE" else word for word in words)]) > 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error


def test_names_of_files_are_harmless_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = zoo_bundle(tmp_path)
    (bundle / "models" / "\x1b[2Ja.pkl").write_bytes(b"cposix\nsystem\n.")
    assert main(["check", str(bundle)]) == 1
    assert "\x1b" not in capsys.readouterr().out
