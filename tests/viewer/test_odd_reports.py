"""Names and reports that no predict of ours writes: one bad case does not hide the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from written_folders import write_manifest, write_skin_case

PATHS = ("", "/image.json", "/image", "/thumbnail", "/masks/0-mask/measures")


def asked(client, folder: Path) -> dict[str, list[int]]:
    """The list's statuses of all cases, and those of what the page asks of each."""
    asking = client(folder)
    answer = asking.get("cases")
    assert answer.status_code == 200
    names = [each["name"] for each in answer.json()["cases"]]
    return {
        name: [asking.get(f"cases/{number}{path}").status_code for path in PATHS] for number, name in enumerate(names)
    }


def test_a_name_that_is_not_utf8(predictions: Path, client, tmp_path: Path) -> None:
    entries = [json.loads(line) for line in (predictions / "manifest.jsonl").read_text().splitlines()]
    try:
        odd = write_skin_case(predictions, tmp_path / "images", "caf\udce9")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    write_manifest(predictions, [odd, *entries])
    found = asked(client, predictions)
    assert list(found) == ["caf\\xe9", "ward/scan", "mole", "broken.nii.gz"]
    assert found["caf\\xe9"] == [200] * 5
    assert client(predictions).get("cases/0").json()["input"].endswith("images/caf\\xe9.png")


@pytest.mark.parametrize("name", ["n" * 5000 + ".png", "a\0b.png", "a\ud800b.png", "x/" * 3000 + "y.png"])
@pytest.mark.parametrize("status", ["done", "refused"])
def test_an_inputs_name_that_no_file_can_have(predictions: Path, client, name: str, status: str) -> None:
    entries = [json.loads(line) for line in (predictions / "manifest.jsonl").read_text().splitlines()]
    write_manifest(predictions, [entries[1], {**entries[1], "input": f"/x/{name}", "status": status}])
    found = asked(client, predictions)
    asking = client(predictions, predictions)
    assert asking.get("cases").status_code == 200
    assert all(code in (200, 204, 404) for codes in found.values() for code in codes), found
    assert "no file can have" in asking.get("cases/1/image").json()["error"]


@pytest.mark.parametrize(
    "report",
    [
        '{"area_share": NaN}',
        '{"extent": 1' + "0" * 400 + "}",
        '{"extent": 1' + "0" * 5000 + "}",
        '{"notes": 5}',
        '{"network": ' + "[" * 900 + "]" * 900 + "}",
        '{"notes": {"a": NaN}, "network": -Infinity, "use": [NaN]}',
        '{"class": "a", "probabilities": {"a": Infinity, "b": 1' + "0" * 400 + "}}",
        '{"class": NaN, "severity": {"class": Infinity}, "doubt": NaN, "refer": NaN}',
        '{"labels": {"' + "9" * 5000 + '": "x"}}',
        '{"kind": "volume", "labels": {"1": "x"}, "shape": [1' + "0" * 400 + ", 1, 1]}",
        '{"kind": "volume", "labels": {"1": "x"}, "shape": [1, 1' + "0" * 400 + ", 1]}",
        '{"kind": "volume", "labels": {"1": "x"}, "shape": [NaN, "a", true], "spacing_mm": 4}',
        '{"size_px": {"width": NaN}}',
        '{"size_px": {"width": 30.0}}',
        '{"operating_point": {"positive": ["\\ud800"], "threshold": NaN}, "probabilities": {"\\ud800": 0.5}}',
    ],
)
def test_an_odd_report(predictions: Path, client, report: str) -> None:
    (predictions / "mole_report.json").write_text(report)
    found = asked(client, predictions)
    assert found["mole"][0] == 200
    assert found["mole"][3] == 200
    assert all(code in (200, 404, 422) for code in found["mole"]), found
    assert found["ward/scan"][0] == 200


@pytest.mark.parametrize("path", ["", "/image", "/overlay/{}", "/comparison/a/b/{}"])
def test_5000_digits_in_the_address(predictions: Path, client, path: str) -> None:
    digits = "9" * 5000
    asking = client(predictions)
    assert asking.get(f"cases/{digits}{path.format(digits)}").status_code == 404
    assert asking.get(f"cases/0{path.format(digits)}").status_code in (200, 404)
