"""``pipelines check``: what it prints, writes, and exits with."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

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


def check_sarif(said: dict[str, Any]) -> None:
    """What SARIF 2.1.0 demands of the properties that we write, by its sections (no package has its schema), and that
    we write no other: a property that its schema does not know makes a file invalid."""
    assert said.keys() == {"$schema", "version", "runs"}  # 3.13
    assert said["version"] == "2.1.0"
    assert urlsplit(said["$schema"]).scheme == "https"
    (run,) = said["runs"]
    assert run.keys() == {"tool", "originalUriBaseIds", "columnKind", "results"}  # 3.14
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")  # 3.14.17
    assert run["tool"].keys() == {"driver"}  # 3.18
    driver = run["tool"]["driver"]
    assert driver.keys() == {"name", "version", "rules"}  # 3.19
    assert driver["name"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)  # uniqueItems
    for rule in driver["rules"]:
        assert rule.keys() == {"id", "shortDescription", "help", "defaultConfiguration"}  # 3.49
        assert rule["shortDescription"].keys() == rule["help"].keys() == {"text"}  # 3.12
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"].keys() == {"level"}  # 3.50
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
    for base in run["originalUriBaseIds"].values():  # 3.14.14: absolute, without .. and query, with a slash at its end
        split = urlsplit(base["uri"])
        assert (split.scheme, split.query, split.fragment) == ("file", "", "")
        assert base["uri"].endswith("/")
        assert ".." not in split.path.split("/")
    assert isinstance(run["results"], list)  # 3.14.23: also where there is nothing
    for each in run["results"]:
        assert each.keys() == {"ruleId", "ruleIndex", "kind", "level", "message", "locations"}  # 3.27
        assert ids[each["ruleIndex"]] == each["ruleId"]  # 3.27.6
        assert each["kind"] == "fail"  # 3.27.9: what has a level other than none is one
        assert each["level"] in ("note", "warning", "error")
        assert each["message"].keys() == {"text"}
        assert each["message"]["text"].strip()
        for place in each["locations"]:
            assert place.keys() == {"physicalLocation"}  # 3.28
            physical = place["physicalLocation"]
            assert physical.keys() - {"region"} == {"artifactLocation"}  # 3.29
            assert physical["artifactLocation"].keys() == {"uri", "uriBaseId"}  # 3.4
            assert physical["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
            uri = physical["artifactLocation"]["uri"]
            split = urlsplit(uri)
            assert (split.scheme, split.netloc, split.query, split.fragment) == ("", "", "", ""), "a relative reference"
            assert not uri.startswith("/")
            assert ".." not in uri.split("/")
            assert uri
            assert uri.isascii()
            assert not set(uri) & set(' "<>\\^`{|}')  # RFC 3986
            assert re.fullmatch(r"(?:[^%]|%[0-9A-Fa-f]{2})*", uri)
            assert ":" not in uri.split("/")[0], "4.2: a first segment with a colon would be a scheme"
            if "region" in physical:
                assert physical["region"].keys() == {"startLine"}  # 3.30
                assert type(physical["region"]["startLine"]) is int
                assert physical["region"]["startLine"] >= 1


ODD = ["a b", "caf\xe9", "100%", "x:y", "https:", "q?a#b", "back\\slash", "<i>", os.fsdecode(b"caf\xe9")]


def test_sarif_is_what_its_specification_demands(
    faulty: Path, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ODD:
        (faulty / "models" / f"{name}.pkl").write_bytes(b"cposix\nsystem\n.")
        (faulty / f"{name}.pkl").write_bytes(b"cposix\nsystem\n.")
    bare = tmp_path / "nothing wrong"
    bare.mkdir()
    # a folder whose only fault is its own: it has no file
    folder = tmp_path / "odd folder #1"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text("[]")
    for bundle in (faulty, zoo_bundle(bare), folder, project / "bundles" / "skin_lesion_segmentation"):
        for more in ([], ["--for", "zoo", "--for", "label"]):
            target = tmp_path / "a.sarif"
            assert main(["check", str(bundle), "--format", "sarif", "--out", str(target), *more]) in (0, 1)
            said = json.loads(target.read_bytes())
            check_sarif(said)
            found = [
                each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
                for each in said["runs"][0]["results"]
            ]
            if bundle == faulty:
                names = {os.fsencode(f"{folder}{name}.pkl") for name in ODD for folder in ("", "models/")}
                assert names <= {unquote_to_bytes(uri).removeprefix(b"./") for uri in found}, "each leads to its file"
    capsys.readouterr()


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
