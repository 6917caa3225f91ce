"""docs/reference/networks.md names every network, and every one of a bundle, with the parameters that it has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from test_contract import NETWORKS

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "reference" / "networks.md"
ROW = re.compile(r"^\| (\w+) \| .*\| (\d+) \| (\d+) \| ([\d,]+) \|$", re.MULTILINE)


def test_the_page_states_every_networks_parameters() -> None:
    stated = {
        name: (int(inputs), int(outputs), int(count.replace(",", "")))
        for name, inputs, outputs, count in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }
    counted = {
        name: (
            promise.in_channels,
            promise.out_channels,
            sum(parameter.numel() for parameter in promise.build().parameters()),
        )
        for name, promise in NETWORKS.items()
    }
    assert stated == counted


def test_the_page_states_the_parameters_of_the_bundles_networks() -> None:
    """As the metadata have them, which ``tests/bundles/test_bundle_files.py`` counts."""
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| ([\d,]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    stated = {(bundle, network): int(count.replace(",", "")) for bundle, network, count in rows}
    there = {
        path.parents[1].name: json.loads(path.read_text(encoding="utf-8"))
        for path in PROJECT.glob("bundles/*/configs/metadata.json")
    }
    assert stated == {
        (bundle, network): count
        for bundle, about in there.items()
        if "begun_by" not in about
        for network, count in about["network_parameters"].items()
    }
