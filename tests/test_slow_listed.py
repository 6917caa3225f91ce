"""The lists of slow and of thorough tests name tests that are there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


@pytest.mark.parametrize("listed", ["slow.txt", "thorough.txt"])
def test_each_line_is_a_test(listed: str) -> None:
    known: dict[str, set[str]] = {}
    lines = (TESTS / listed).read_text(encoding="utf-8").splitlines()
    for line in (each for each in lines if not each.startswith("#")):
        file, name = line.split("::")
        path = TESTS / file
        if file not in known:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            known[file] = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        assert name.partition("[")[0] in known[file], f"{line}: take it out of tests/{listed}"
