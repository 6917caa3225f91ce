"""Each benchmark says how it is called and is listed with what it needs; `make bench` calls those that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
BENCHMARKS = PROJECT / "benchmarks"
PROGRAMS = sorted(path for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


def test_each_says_how_it_is_called() -> None:
    heads = {path.name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in PROGRAMS}
    silent = [
        name
        for name, head in heads.items()
        if f"benchmarks/{name}" not in head and f"make {name.split('_')[-1][:-3]}" not in head
    ]
    assert silent == []


def test_the_list_has_each_and_no_other() -> None:
    listed = set(re.findall(r"`(\w+\.py)`", (BENCHMARKS / "README.md").read_text(encoding="utf-8")))
    assert listed >= {path.name for path in PROGRAMS} - {"every_quick_one.py"}
    assert listed <= {path.name for path in BENCHMARKS.glob("*.py")}


def test_what_make_bench_calls_has_the_options_that_it_gives() -> None:
    """Read, not run: what they import takes longer than all of this file."""
    tree = ast.parse((BENCHMARKS / "every_quick_one.py").read_text(encoding="utf-8"))
    (quick,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "QUICK"
    ]
    assert quick
    for name, words in quick.items():
        program = (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8")
        assert "add_json(parser)" in program, name
        assert "figures.write(args.json)" in program, name
        options = [word for word in words if word.startswith("--")]
        assert [each for each in options if f'add_argument("{each}"' not in program] == [], name
