"""docs/reference/config-ids.md states ids that the bundles' configs have, with the values that they have there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "reference" / "config-ids.md"
SECTIONS = {
    part.splitlines()[0].strip(): part for part in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
}


def test_each_bundle_has_its_section() -> None:
    """But those that somebody has begun here for images of their own (``begun_by``)."""
    there = {
        path.parents[1].name: json.loads(path.read_text()) for path in PROJECT.glob("bundles/*/configs/*data.json")
    }
    assert {name for name, about in there.items() if "begun_by" not in about} <= set(SECTIONS)


def rows(section: str) -> Iterator[tuple[list[str], dict[str, list[str]]]]:
    """Ids, and what is said of them by config, of each row of the tables of train and inference."""
    heads: list[str] = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            heads = []
        elif not heads:
            heads = cells
        elif "train" in heads and not cells[0].startswith("---"):
            said = dict(zip(heads, cells, strict=False))
            same = {"inference": said["train"]} if said.get("inference") == "the same" else {}
            columns = {name: text for name, text in {**said, **same}.items() if name in ("train", "inference")}
            yield re.findall(r"`([\w.]+)`", cells[0]), {name: split(text) for name, text in columns.items()}


def split(cell: str) -> list[str]:
    """`0.0015, 0.01` are two values, `[256, 256]` is one."""
    return re.findall(r"\[[^\]]*\]|[^,`\s][^,`]*", cell)


@pytest.mark.parametrize("name", [name for name in SECTIONS if (PROJECT / "bundles" / name).is_dir()])
def test_the_page_states_what_the_configs_hold(name: str) -> None:
    folder = PROJECT / "bundles" / name / "configs"
    configs = {each: yaml.safe_load((folder / f"{each}.yaml").read_text()) for each in ("train", "inference")}
    overlays = [yaml.safe_load(path.read_text()) or {} for path in folder.rglob("*.yaml")]
    checked = 0
    for ids, said in rows(SECTIONS[name]):
        for number, each in enumerate(ids):
            assert any(each in config for config in overlays), f"no config of {name} has {each}"
            for config, values in said.items():
                held = configs[config].get(each)
                if len(values) != len(ids) or isinstance(held, str) or each not in configs[config]:
                    continue
                try:
                    value = yaml.safe_load(values[number])
                except yaml.YAMLError:
                    continue
                if not isinstance(value, str):
                    assert value == held, f"{config}.yaml of {name}: {each}"
                    checked += 1
    assert checked >= 3, "or this looks at nothing"
