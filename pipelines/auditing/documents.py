"""JSON and YAML files with the line of each id, read so that no file can run code, hang or fill the memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipelines.auditing.findings import Finding

_LARGEST = 4_000_000  # bytes
_MOST = 200_000  # items, aliases followed
_DEEPEST = 60
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = "tag:yaml.org,2002:"
_PLAIN = {"map", "seq", "str", "int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs", "merge"}


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Attributes:
        file: below the bundle's folder, with slashes.
        data: what it holds; None where it cannot be read.
        text: as it is written.
        lines: the line of each id (``train#handlers#0``), from 1.
        faults: what is wrong with the file as such.
    """

    file: str
    data: Any
    text: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)

    def line(self, id: str) -> int:
        """The line of an id, or of the nearest one around it; 0 if there is none."""
        while id:
            if id in self.lines:
                return self.lines[id]
            id = id.rpartition("#")[0]
        return 0


def plain_id(key: object) -> str:
    """An id as it is compared: ``+train::handlers`` is ``train#handlers``."""
    return str(key).removeprefix("+").replace("::", "#")


def read_document(path: Path, file: str) -> Document:
    """Read a JSON or YAML file; what is wrong with it is in ``faults``."""
    try:
        if not path.is_file():  # a pipe or a device would be read for ever
            return _unreadable(file, "it is no file")
        if path.stat().st_size > _LARGEST:
            return _unreadable(file, f"the file is larger than {_LARGEST // 1_000_000} MB, which no config is")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        return _unreadable(file, f"the file cannot be read as text ({error})")
    return read_text(text, file)


def read_text(text: str, file: str) -> Document:
    """As ``read_document``, of a text."""
    faults: list[Finding] = []
    lines: dict[str, int] = {}
    is_json = file.lower().endswith(".json")
    try:
        node = _node(text.replace("\t", " ") if is_json else text)
        if node is not None:
            _walk(node, file, lines, faults)
    except yaml.YAMLError as error:
        if not is_json:
            mark = getattr(error, "problem_mark", None)
            what = f"it is no YAML ({getattr(error, 'problem', None) or error})"
            return _unreadable(file, what, 0 if mark is None else mark.line + 1, text)
        lines = {}  # long keys and the like: JSON that YAML has no word for
    except (_TooMuch, RecursionError) as error:
        return _unreadable(file, f"it cannot be followed ({error})", text=text)
    if any(fault.rule == "yaml-tag" for fault in faults):
        return Document(file, None, text, lines, faults)
    try:
        data = json.loads(text) if is_json else _construct(node)
    except json.JSONDecodeError as error:
        return _unreadable(file, f"it is no JSON ({error.msg})", error.lineno, text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return _unreadable(file, f"it cannot be read ({str(error).splitlines()[0]})", text=text)
    return Document(file, data, text, lines, faults)


def items(config: Any, id: str = "") -> Iterator[tuple[str, Any]]:
    """(id, value) of every item, nested ones too, with ids as MONAI writes them (``train#handlers#0``)."""
    yield id, config
    pairs = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in pairs:
        yield from items(value, f"{id}#{plain_id(key)}" if id else plain_id(key))


class _TooMuch(Exception):
    pass


def _unreadable(file: str, what: str, line: int = 0, text: str = "") -> Document:
    return Document(file, None, text, {}, [Finding("config-unreadable", file, line, what)])


def _node(text: str) -> yaml.Node | None:
    """What a text holds, before anything is made of it: no deeper than is sane, which the parser does not ask."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _TooMuch(f"more than {_DEEPEST} levels")
    return yaml.compose(text, Loader=_LOADER)


def _construct(node: yaml.Node | None) -> Any:
    if node is None:
        return None
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _walk(root: yaml.Node, file: str, lines: dict[str, int], faults: list[Finding]) -> None:
    """The lines of all ids; tags that are no plain values, and keys that are there twice."""
    waiting: list[tuple[str, yaml.Node, int]] = [("", root, 0)]
    seen = 0
    while waiting:
        id, node, depth = waiting.pop()
        seen += 1
        if seen > _MOST or depth > _DEEPEST:
            raise _TooMuch("aliases that repeat one another, or far too many values")
        if not (node.tag.startswith(_PLAIN_TAGS) and node.tag.removeprefix(_PLAIN_TAGS) in _PLAIN):
            faults.append(
                Finding("yaml-tag", file, node.start_mark.line + 1, f"{id or 'the file'} has the tag {node.tag}")
            )
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                word = plain_id(key.value) if isinstance(key, yaml.ScalarNode) else "?"
                inner = f"{id}#{word}" if id else word
                line = key.start_mark.line + 1
                raw = str(key.value)
                if raw in keys and word != "<<":
                    faults.append(Finding("duplicate-key", file, line, f"{inner} is written twice"))
                keys.add(raw)
                lines[inner] = line
                waiting.append((inner, value, depth + 1))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                inner = f"{id}#{number}" if id else str(number)
                lines[inner] = value.start_mark.line + 1
                waiting.append((inner, value, depth + 1))
