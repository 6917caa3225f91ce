"""Paths that hold on one machine alone, and links that lead out of the bundle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from pipelines.auditing.contents import CONFIGS, Contents, texts_of
from pipelines.auditing.documents import items
from pipelines.auditing.findings import Finding
from pipelines.auditing.references import REFERENCE

_ABSOLUTE = re.compile(r"(/[\w.~-]|~/|[A-Za-z]:[\\/])")
PERSONAL = re.compile(r"(?<![\w.])/(?:home|Users|root)/\w[\w.-]*|[A-Za-z]:\\+Users\\+\w+")
_TEXTS = (".yaml", ".yml", ".json", ".md", ".txt", ".conf", ".ini", ".py")
_LOOKED_FOR = {
    "replace",
    "split",
    "rsplit",
    "endswith",
    "startswith",
    "strip",
    "lstrip",
    "rstrip",
    "partition",
    "rpartition",
}


def check_paths(contents: Contents) -> Iterator[Finding]:
    """All of these."""
    personal: set[tuple[str, int]] = set()
    for name, text in texts_of(contents, _TEXTS, (f"{CONFIGS}/", "docs/", "scripts/", "large_files", "LICENSE")):
        for number, line in enumerate(text.splitlines(), 1):
            found = PERSONAL.search(line)
            if found is not None:
                personal.add((name, number))
                yield Finding("personal-path", name, number, f"it names {found[0]}")
    for document in contents.documents.values():
        for id, value in items(document.data):
            at_line = document.line(id)
            if isinstance(value, str) and (document.file, at_line) not in personal:
                for said in _absolute(value):
                    yield Finding("absolute-path", document.file, at_line, f"{id} is {said}")
    inside = contents.folder.resolve()
    for name, path in contents.files.items():
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            yield Finding("linked-outside", name, 0, "the link leads out of the bundle")


def _absolute(value: str) -> list[str]:
    if not value.startswith("$"):
        return [value] if _ABSOLUTE.match(value) and "\n" not in value else []
    try:
        tree = ast.parse(REFERENCE.sub("_id_", value[1:]).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    added: set[int] = set()  # texts that stand behind another one, or are looked for in one
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp):
            added.add(id(node.right))
        elif isinstance(node, ast.JoinedStr):
            added |= {id(each) for each in node.values[1:]}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LOOKED_FOR:
            added |= {id(each) for each in node.args}
    loose = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in added)
    return [node.value for node in loose if isinstance(node.value, str) and _ABSOLUTE.match(node.value)]
