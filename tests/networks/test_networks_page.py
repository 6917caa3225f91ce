"""docs/reference/networks.md names every network, with the parameters that it has."""

from __future__ import annotations

import re
from pathlib import Path

from test_contract import NETWORKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "networks.md"
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
