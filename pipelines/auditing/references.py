"""Ids that configs refer to, by MONAI's own rules: ``@a#b``, ``@#sibling``, ``%macro``; nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.auditing.contents import Contents, Layers, at, has
from pipelines.auditing.documents import items
from pipelines.auditing.findings import Finding

REFERENCE = re.compile(r"@\w*(?:(?:#|::)\w*)*")  # as monai.bundle.ReferenceResolver.id_matcher, with both separators
_MACRO_FILE = re.compile(r"%.*\.(json|ya?ml)\b", re.IGNORECASE)
_DEEPEST = 20


def references(value: str, here: str = "") -> list[str]:
    """The ids that a text refers to: it is one reference, or an expression with any number.

    Args:
        value: the text.
        here: its own id, from which ``@#sibling`` and ``@##parent`` are meant.
    """
    found = REFERENCE.findall(value)
    if not value.startswith("$") and found != [value]:
        return []
    ids = [_absolute(each.replace("::", "#")[1:], here) for each in found]
    return [id for id in ids if id]


def macro(value: Any, here: str = "") -> str | None:
    """The id that a macro stands for; None for what is none, or reads another file."""
    if not isinstance(value, str) or not value.startswith("%") or _MACRO_FILE.search(value):
        return None
    return _absolute(value[1:].replace("::", "#"), here)


def resolved(config: Any, value: Any, depth: int = 0) -> Any:
    """A value with what its references and macros stand for in their place, as far as nothing needs evaluating."""
    if depth > _DEEPEST:
        return value
    if isinstance(value, dict):
        return {key: resolved(config, each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [resolved(config, each, depth + 1) for each in value]
    if not isinstance(value, str):
        return value
    id = macro(value)
    if id is None and value.startswith("@"):
        id = next(iter(references(value)), None)
    return resolved(config, at(config, id), depth + 1) if id and has(config, id) else value


def check_references(contents: Contents) -> Iterator[Finding]:
    """Ids that are referred to and not there, in the way of running each config that lacks the fewest."""
    for name, document in contents.documents.items():
        if not isinstance(document.data, dict):
            continue
        ways = [sorted(_broken(layers, contents.about)) for layers in contents.combinations(name)]
        best = min(ways, key=lambda way: (sum(file == document.file for file, *_ in way), len(way)))
        yield from (Finding("undefined-id", *each) for each in best)
        for id, value in items(document.data):
            if isinstance(value, str) and _MACRO_FILE.match(value):
                yield Finding("macro-of-a-file", document.file, document.line(id), f"{id} reads {value[1:]}")


def _broken(layers: Layers, about: dict[str, Any]) -> set[tuple[str, int, str]]:
    whole = layers.config | {"_meta_": about}
    found = set()
    for id, value in layers.items:
        if not isinstance(value, str):
            continue
        said = [each for each in references(value, id) if not _there(whole, each)]
        target = macro(value, id)
        if target is not None and not has(whole, target):
            said.append(target)
        found |= {(*layers.place(id), f"{id} refers to {each}, which is not defined") for each in said}
    return found


def _there(config: Any, id: str) -> bool:
    """Whether an id is there, macros on the way to it followed: they are copies of what they name."""
    place = config
    for key in id.split("#"):
        for _ in range(_DEEPEST):
            target = macro(place)
            if target is None or not has(config, target):
                break
            place = at(config, target)
        if isinstance(place, str) and place.startswith("%"):
            return True  # of another file, or broken: said elsewhere
        if not has(place, key):
            return False
        place = at(place, key)
    return True


def _absolute(id: str, here: str) -> str:
    up = len(id) - len(id.lstrip("#"))
    if not up:
        return id.rstrip("#")
    parts = here.split("#")[:-up] if here else []
    return "#".join([*parts, id.lstrip("#")])
