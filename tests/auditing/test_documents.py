"""Configs that would hang, crash or fill the memory are a finding."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from foreign_bundles import write

from pipelines.auditing.audit import audit
from pipelines.auditing.documents import read_document, read_text

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "aliases of aliases": ("a.yaml", BOMB),
    "an alias of itself": ("a.yaml", "a: &a [*a]\n"),
    "deep": ("a.yaml", "[" * 100_000),
    "deep JSON": ("a.json", "[" * 100_000),
    "no YAML": ("a.yaml", "a: [1\nb: }"),
    "two documents": ("a.yaml", "a: 1\n---\nb: 2\n"),
    "a set as a key": ("a.yaml", "{[1, 2]: 3}\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_unreadable_and_no_more(name: str) -> None:
    file, text = HOSTILE[name]
    document = read_text(text, file)
    assert document.data is None
    assert [each.rule for each in document.faults] == ["config-unreadable"]


def test_a_pipe_in_the_place_of_a_config_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path / "configs" / "metadata.json", "{}")
    os.mkfifo(tmp_path / "configs" / "train.yaml")
    os.mkfifo(tmp_path / "LICENSE")
    (tmp_path / "configs" / "endless.json").symlink_to("/dev/zero")
    (tmp_path / "models").mkdir()
    os.mkfifo(tmp_path / "models" / "model.pt")
    found = {(each.rule, each.file) for each in audit(tmp_path).findings}
    assert {("config-unreadable", "configs/train.yaml"), ("config-unreadable", "configs/endless.json")} <= found


def test_lines_are_those_of_the_keys(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "a:\n  b: 1\n  c:\n  - 2\n  - d: 3\n+e#f: 4\n")
    document = read_document(tmp_path / "a.yaml", "a.yaml")
    assert {id: document.line(id) for id in ("a", "a#b", "a#c#1", "a#c#1#d", "e#f", "a#c#9", "z")} == {
        "a": 1, "a#b": 2, "a#c#1": 5, "a#c#1#d": 5, "e#f": 6, "a#c#9": 3, "z": 0
    }  # fmt: skip
    tabs = read_text('{\n\t"a": {"b":1,\n\t"c": 1e-4}}', "a.json")
    assert (tabs.data, tabs.line("a#c")) == ({"a": {"b": 1, "c": 1e-4}}, 3)
