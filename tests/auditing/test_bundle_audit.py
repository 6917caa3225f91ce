"""``pipelines check``: each planted fault is found, where it is, and nothing else; what is sound stays unmentioned.

Of our own bundles, and of those just begun, that is in tests/bundles/test_bundle_files.py."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign_bundles import yaml_bundle, zoo_bundle
from packaging.utils import canonicalize_name
from packaging.version import Version
from planted import FAULTS, put

from pipelines.auditing.audit import audit
from pipelines.auditing.rules import NOTE, RULES, rules_table
from pipelines.auditing.versions import known_holes


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_where_it_is(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    bundle = fault.begin(tmp_path)  # sound: see below
    fault.plant(bundle)
    purpose = RULES[fault.rule].purpose
    found = audit(bundle, purposes=[purpose] if purpose else [], look_at_readiness=False)
    counted = [each for each in found.findings if each.level != NOTE or fault.rule == each.rule]
    hits = [each for each in counted if each.rule == fault.rule and each.file == fault.file]
    hits = [each for each in hits if fault.says in each.what]
    assert hits, f"not found: {counted}"
    if fault.text:
        lines = (bundle / fault.file).read_text().splitlines()
        assert any(fault.text in lines[each.line - 1] for each in hits if each.line), hits
    assert {each.rule for each in counted} == {fault.rule}
    assert all(each.what and each.way_out for each in hits)


def test_every_rule_has_a_planted_fault() -> None:
    elsewhere = {"signature-wrong"}  # test_signing.py
    assert {fault.rule for fault in FAULTS.values()} == RULES.keys() - elsewhere


@pytest.mark.parametrize("begin", [zoo_bundle, yaml_bundle])
def test_a_sound_foreign_bundle_is_ready(begin: Callable[[Path], Path], tmp_path: Path) -> None:
    found = audit(begin(tmp_path), purposes=["zoo", "label"])
    assert [each for each in found.findings if each.rule != "own-code"] == []


def test_what_detection_does_to_boxes_is_no_drift(tmp_path: Path) -> None:
    """Boxes are prepared for training alone; classes are what the network scores, and not its channels."""
    bundle = yaml_bundle(tmp_path)
    boxes = "- {_target_: ConvertBoxToStandardModed, box_keys: box, mode: cccwhd}\n- _target_: ScaleIntensityd"
    put("configs/train.yaml", "- _target_: ScaleIntensityd", boxes)(bundle)
    put("configs/metadata.json", '"format": "classification"', '"format": "dict"')(bundle)
    put("configs/metadata.json", '"num_channels": 2', '"num_channels": 1')(bundle)
    put("configs/metadata.json", ',\n                    "1": "long"', "")(bundle)
    for name in ("train", "inference"):
        put(f"configs/{name}.yaml", "label_names: {0: round, 1: long}\n", "")(bundle)
    assert [each for each in audit(bundle).findings if each.level != NOTE] == []


def test_neither_torch_nor_monai_is_imported(tmp_path: Path) -> None:
    code = "import sys; from pipelines.__main__ import main; done = main(sys.argv[1:]); "
    code += "print(sorted({'torch', 'monai', 'numpy'} & sys.modules.keys())); sys.exit(done)"
    words = [sys.executable, "-c", code, "check", str(zoo_bundle(tmp_path))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_page_of_the_rules_is_theirs(project: Path) -> None:
    text = (project / "docs" / "reference" / "audit-rules.md").read_text(encoding="utf-8")
    shown = text.split("<!-- rules -->\n")[1].split("<!-- end of rules -->")[0]
    assert shown == rules_table(), "put there what pipelines.auditing.rules.rules_table() gives"


def test_known_holes_say_where_they_were_read() -> None:
    for package, holes in known_holes().items():
        assert package == canonicalize_name(package)
        for hole in holes:
            assert hole.keys() == {"fixed", "id", "runs_code", "what", "sources"}, hole
            assert isinstance(hole["fixed"], str), f"{hole}: YAML reads 5.4 as a number"
            assert all(source.startswith("https://") for source in hole["sources"]), hole
            Version(hole["fixed"])


def test_what_we_ask_for_has_no_known_hole(project: Path) -> None:
    """The floors of setup.cfg, and the versions of the constraints."""
    lines = (project / "setup.cfg").read_text().splitlines() + (project / "constraints.txt").read_text().splitlines()
    asked = (re.match(r"\s*([\w.-]+)(?:\[.*\])?(?:>=|==)([\w.]+)", line) for line in lines)
    low = [
        match[0]
        for match in asked
        if match
        and any(
            Version(match[2]) < Version(hole["fixed"]) for hole in known_holes().get(canonicalize_name(match[1]), ())
        )
    ]
    assert low == []
