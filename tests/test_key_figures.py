"""A report says which of its figures a list shows."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.key_figures import figures

VOLUMES = {"kidney": {"voxels": 10, "ml": 152.25, "share": 0.01}, "v. cava": {"voxels": 0, "ml": 0.0, "share": 0.0}}


def shown(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["title"], each["text"]) for each in figures(report)]


def test_a_report_names_its_figures_by_dotted_keys_or_by_their_parts() -> None:
    report = {
        "volumes": VOLUMES,
        "extent": 0.5,
        "figures": [
            {"key": ["volumes", "v. cava", "ml"], "title": "v. cava", "kind": "ml"},
            {"key": "volumes.kidney.share", "title": "kidney", "kind": "share"},
        ],
    }
    assert shown(report) == [("v. cava", "0 mL"), ("kidney", "1.0 %")]


def test_a_report_that_names_none_has_none() -> None:
    assert shown({"extent": 0.5, "lesion_ml": 3.0}) == []
    assert shown({"extent": 0.5, "figures": []}) == []


@pytest.mark.parametrize(
    "damaged",
    [
        "all",
        [None, 3, "extent"],
        [{"key": "extent"}],
        [{"key": "extent", "title": "", "kind": "share"}],
        [{"key": "extent", "title": "e", "kind": ["share"]}],
        [{"key": ["extent", 1], "title": "e", "kind": "share"}],
        [{"key": {"extent": 1}, "title": "e", "kind": "share"}],
        [{"key": "extent.more.of.it", "title": "e", "kind": "share"}],
        [{"key": "name", "title": "e", "kind": "share"}],
    ],
)
def test_a_list_that_somebody_spoilt_hides_figures_and_breaks_nothing(damaged: Any) -> None:
    assert shown({"name": "x", "extent": 0.5, "figures": damaged}) == []


def test_a_report_cannot_fill_the_list() -> None:
    many = [{"key": "extent", "title": f"e{number}", "kind": "share"} for number in range(1000)]
    assert len(shown({"extent": 0.5, "figures": many})) == 20
