"""The list of slow tests names tests that are there."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def test_each_line_is_a_test() -> None:
    known: dict[str, set[str]] = {}
    lines = (TESTS / "slow.txt").read_text(encoding="utf-8").splitlines()
    for line in (each for each in lines if not each.startswith("#")):
        file, name = line.split("::")
        path = TESTS / file
        if file not in known:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            known[file] = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        assert name.partition("[")[0] in known[file], f"{line}: take it out of tests/slow.txt"
